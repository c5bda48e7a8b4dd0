"""The fastest loop that we can write for the same training as ``vae``: same start, batches, noise; no framework around it.

Images lie in memory as float32 in the network's layout, the order of batches is known beforehand, and the loop holds nothing but
the step. ``weights`` proves that it is the same training: after 20 steps it has the weights that ``vae`` has.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from serving import Answer, Clock, serve
from setting import LEARNING_RATE, SEED, model_conf
from torch import Tensor

from latent_atlas.building import instantiate
from latent_atlas.data.datamodule import DataModule
from latent_atlas.models.vae import VAE
from latent_atlas.training.allocator import keep_memory
from latent_atlas.training.module import reseed, step_seed

CPU = torch.device("cpu")


class Loop:
    """One training of the bench's VAE."""

    def __init__(self, data: DataModule, images: Tensor, batch: int, precision: str, steps: int) -> None:
        self.images = images
        self.batches = [data.train_batch(step, SEED, batch)["index"] for step in range(steps)]
        self.seeds = [step_seed(SEED, step) for step in range(steps)]
        self.autocast: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        if precision == "bf16-mixed":
            self.autocast = lambda: torch.autocast("cpu", dtype=torch.bfloat16)  # type: ignore[assignment]
        reseed(step_seed(SEED, 0, "build"), CPU)
        self.model: VAE = instantiate(model_conf()["net"], spec=data.spec).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=True)

    def run(self, mark: Callable[[], None]) -> None:
        encoder, decoder, autocast, optimizer = self.model.encoder, self.model.decoder, self.autocast, self.optimizer
        default = torch.default_generator
        for rows, seed in zip(self.batches, self.seeds, strict=True):
            x = self.images[rows]
            default.manual_seed(seed)
            with autocast():
                mean, log_var = encoder(x).float().chunk(2, 1)
            log_var = log_var.clamp(-20.0, 20.0)
            noise = torch.empty_like(mean).normal_()
            with autocast():
                logits = decoder(mean + torch.exp(0.5 * log_var) * noise)
            distortion = F.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum")
            rate = 0.5 * (mean * mean + torch.exp(log_var) - 1.0 - log_var).sum()
            optimizer.zero_grad()
            ((distortion + rate) / len(x)).backward()
            optimizer.step()
            mark()


def main(folder: str, threads: str) -> None:
    keep_memory()
    torch.set_num_threads(int(threads))
    data = DataModule(Path(folder))
    images = data.take(range(len(data)))["image"]

    def round_(batch: int, precision: str, warm: int, steps: int) -> Answer:
        clock = Clock(warm)
        Loop(data, images, batch, precision, warm + steps).run(clock.mark)
        return clock.answer(batch)

    def weights(batch: int, steps: int, path: str) -> Answer:
        loop = Loop(data, images, batch, "32-true", steps)
        loop.run(lambda: None)
        torch.save({name: p.detach() for name, p in loop.model.named_parameters()}, path)
        return {"path": path}

    serve({"round": round_, "weights": weights})


if __name__ == "__main__":
    main(*sys.argv[1:])
