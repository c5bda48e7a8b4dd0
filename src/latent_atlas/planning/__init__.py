"""Composes every run with Hydra and writes what each stage depends on. Imports no torch."""
