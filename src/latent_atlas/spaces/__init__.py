"""Latent spaces and their priors (floor 1)."""
