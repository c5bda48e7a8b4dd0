"""Computes each array once and runs every metric whose arguments can be had (floor 5)."""
