"""pythae 0.1.2 training its VAE in its own published loop, out of the box (runs in ``.venv.bench``).

Chadebec, Vincent and Allassonnière 2022, arXiv 2206.08309. ``BaseTrainer.train`` with the package's defaults: its DataLoader
without workers, Adam, its progress bar; float32 (for a Bernoulli likelihood the package switches its mixed precision off).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from serving import Answer, Clock, serve
from torch import Tensor, nn

LATENT = 10


class Encoder(BaseEncoder):
    """The 64-pixel encoder of Locatello et al. 2019, written as the package's examples are."""

    def __init__(self) -> None:
        BaseEncoder.__init__(self)
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU()),
            *(nn.Conv2d(32, 64, 2, 2), nn.ReLU(), nn.Conv2d(64, 64, 2, 2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(1024, 256), nn.ReLU()),
        )
        self.embedding, self.log_var = nn.Linear(256, LATENT), nn.Linear(256, LATENT)

    def forward(self, x: Tensor) -> ModelOutput:
        h = self.layers(x)
        return ModelOutput(embedding=self.embedding(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    """Its decoder, with the sigmoid that the package's Bernoulli loss asks for."""

    def __init__(self) -> None:
        BaseDecoder.__init__(self)
        self.layers = nn.Sequential(
            *(nn.Linear(LATENT, 256), nn.ReLU(), nn.Linear(256, 1024), nn.ReLU(), nn.Unflatten(1, (64, 4, 4))),
            *(nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU()),
            *(nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid()),
        )

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


class Timer(TrainingCallback):
    """Marks the end of every step, through the package's own callback."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_step_end(self, training_config: BaseTrainerConfig, **_: object) -> None:
        self.clock.mark()


def images(folder: Path) -> Tensor:
    """The bench's data directory as (N, 1, 64, 64) of zeros and ones, training split."""
    spec = json.loads((folder / "card.json").read_text())["spec"]["fields"]["image"]
    rows = np.load(folder / "image.npy")[np.load(folder / "split.npy") == 0]
    return torch.from_numpy(np.unpackbits(rows, axis=1)).float().reshape(-1, *spec["shape"])


def main(folder: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    logging.disable(logging.INFO)
    data = images(Path(folder))

    def model() -> VAE:
        config = VAEConfig(input_dim=tuple(data.shape[1:]), latent_dim=LATENT, reconstruction_loss="bce")
        return VAE(config, encoder=Encoder(), decoder=Decoder())

    def round_(batch: int, precision: str, warm: int, steps: int) -> Answer:
        rows = data[: (warm + steps) * batch]
        clock = Clock(warm)
        with tempfile.TemporaryDirectory() as out:
            config = BaseTrainerConfig(output_dir=out, per_device_train_batch_size=batch, num_epochs=1, learning_rate=1e-3)
            trainer = BaseTrainer(model(), BaseDataset(rows, torch.zeros(len(rows))), None, config, [Timer(clock)])
            trainer.train()
        return clock.answer(batch)

    def about() -> Answer:
        malloc = {key: value for key, value in sorted(os.environ.items()) if key.startswith("MALLOC_")}
        return {"parameters": sum(p.numel() for p in model().parameters()), "torch": torch.__version__, "environment": malloc}

    serve({"round": round_, "about": about})


if __name__ == "__main__":
    main(*sys.argv[1:])
