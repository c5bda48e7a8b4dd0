"""Figures and pages (floor 6)."""
