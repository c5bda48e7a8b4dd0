"""What can be done on a latent space and its maps once a model is trained (floor 4)."""
