"""What both sides of the quality bench are set to; standard library only, both environments import it."""

from __future__ import annotations

LATENT = 16
BATCH = 100  # divides the items: an epoch is as many updates on either side
LEARNING_RATE = 1e-3
# pythae's own objectives: squares summed over an item, halved for its vae, without a half for all others. Its defaults but for
# wae's weight, 3e-2 there: with that little, N(0, I) is no sampler of either side's codes. 10 is what Tolstikhin et al. 2018 use.
WAE_WEIGHT = 10.0
RAE_CODE_WEIGHT, RAE_DECAY = 1e-4, 1e-7
# Which samplers each model's images are drawn with: its prior, or what is fitted to the codes of all training items.
SAMPLERS = {"ae": ["gaussian", "mixture"], "vae": ["prior"], "wae": ["prior"], "rae": ["gaussian", "mixture"]}
COMPONENTS = {"gaussian": 1, "mixture": 10}
