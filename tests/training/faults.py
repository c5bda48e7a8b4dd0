"""Models that do harm at a given step of the real stage process: ``FAULT=<what>:<step>`` in its environment."""

import os
import signal

import torch
from zoo import TwoPlayers

from latent_atlas.models.vae import VAE


def strike(model):
    what, _, at = os.environ.get("FAULT", "").partition(":")
    if not what or int(model.step) != int(at):
        return
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
    else:
        raise ValueError(what)


class FaultyVAE(VAE):
    def loss(self, batch, player):
        strike(self)
        return super().loss(batch, player)


class FaultyGame(TwoPlayers):
    def loss(self, batch, player):
        if player == "generator":  # in the middle of a batch: the critic has moved already
            strike(self)
        return super().loss(batch, player)
