"""Data sets, their specification, splits and the one DataModule (floor 1)."""
