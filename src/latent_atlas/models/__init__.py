"""Latent models, one module each; ``base`` holds the contract (floor 3). No Lightning here."""
