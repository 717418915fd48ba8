"""Bytes to named tensors: the formats and directories in which Wan models are published."""
