"""Noise schedules, solvers, guidance and the choice of the expert: pure functions."""
