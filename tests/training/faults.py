"""Models that do harm at a given step of the real stage process: ``FAULT=<what>:<step>`` in its environment."""

import os
import signal

import torch
from zoo import TwoPlayers

from latent_atlas.models.vae import VAE


def strike(model):
    what, _, at = os.environ.get("FAULT", "").partition(":")
    if not what or int(model.step) != int(at):
        return None
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    elif what == "nan":
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] = float("nan")
    elif what == "full":
        # From here on no file may grow beyond this: a disk that runs full in the middle of a file.
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY))
    elif what == "gradient":
        return float("nan")
    else:
        raise ValueError(what)
    return None


class FaultyVAE(VAE):
    def loss(self, batch, player):
        factor = strike(self)
        losses = super().loss(batch, player)
        if factor is not None and losses.total.requires_grad:
            losses.total.register_hook(lambda gradient: gradient * factor)  # a good loss, and weights that are lost
        return losses


class FaultyGame(TwoPlayers):
    def loss(self, batch, player):
        if player == "generator":  # in the middle of a batch: the critic has moved already
            strike(self)
        return super().loss(batch, player)
