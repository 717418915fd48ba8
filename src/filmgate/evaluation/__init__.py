"""Judging finished videos by their files, whoever made them."""
