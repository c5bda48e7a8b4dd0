"""pythae 0.1.2 training its AE, VAE, WAE_MMD and RAE_L2 by its own pipeline (runs in ``.venv.bench``).

Chadebec, Vincent and Allassonnière 2022, arXiv 2206.08309. The pipeline chooses the trainer (two optimizers and two backward passes
for RAE_L2), Adam by default; without validation data the trainer keeps the epoch of the least training loss. Its samplers:
``NormalSampler`` is the prior, ``GaussianMixtureSampler`` of one component the fitted Gaussian.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pythae.data.datasets import DatasetOutput
from pythae.models import AE, RAE_L2, VAE, WAE_MMD, AEConfig, RAE_L2_Config, VAEConfig, WAE_MMD_Config
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig, NormalSampler
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.coupled_optimizer_trainer import CoupledOptimizerTrainerConfig
from pythae.trainers.trainer_utils import set_seed
from quality_setting import BATCH, COMPONENTS, LATENT, LEARNING_RATE, RAE_CODE_WEIGHT, RAE_DECAY, SAMPLERS, WAE_WEIGHT
from serving import Answer, serve
from torch import Tensor, nn

FLAT = (64, 7, 7)
COMMON: dict[str, Any] = {"input_dim": (1, 28, 28), "latent_dim": LATENT}
MODELS = {
    "ae": (AE, AEConfig(**COMMON)),
    "vae": (VAE, VAEConfig(**COMMON, reconstruction_loss="mse")),
    "wae": (WAE_MMD, WAE_MMD_Config(**COMMON, kernel_choice="imq", reg_weight=WAE_WEIGHT)),
    "rae": (RAE_L2, RAE_L2_Config(**COMMON, embedding_weight=RAE_CODE_WEIGHT, reg_weight=RAE_DECAY)),
}


class Encoder(BaseEncoder):
    """The layers of ``nets/conv.py`` for 28 pixels, written as the package's examples are."""

    def __init__(self, variational: bool) -> None:
        BaseEncoder.__init__(self)
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(3136, 256), nn.ReLU()),
        )
        self.embedding = nn.Linear(256, LATENT)
        self.log_var = nn.Linear(256, LATENT) if variational else None

    def forward(self, x: Tensor) -> ModelOutput:
        h = self.layers(x)
        output = ModelOutput(embedding=self.embedding(h))
        if self.log_var is not None:
            output["log_covariance"] = self.log_var(h)
        return output


class Decoder(BaseDecoder):
    """Its decoder, with the sigmoid that keeps images in [0, 1]."""

    def __init__(self) -> None:
        BaseDecoder.__init__(self)
        self.layers = nn.Sequential(
            *(nn.Linear(LATENT, 256), nn.ReLU(), nn.Linear(256, 3136), nn.ReLU(), nn.Unflatten(1, FLAT)),
            *(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid()),
        )

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


def build(name: str) -> Any:
    kind, config = MODELS[name]
    return kind(config, encoder=Encoder(name == "vae"), decoder=Decoder())


def adopt(model: Any, state: dict[str, Tensor]) -> None:
    """The weights of our model of the same kind, whose flat layers have channels last and whose vae has one last layer for both."""
    channels, height, width = FLAT
    mine = {side: [tensor for name, tensor in state.items() if name.startswith(side)] for side in ("encoder.", "decoder.")}
    encoder, decoder = mine["encoder."], mine["decoder."]
    encoder[4] = encoder[4].unflatten(1, (height, width, channels)).permute(0, 3, 1, 2).flatten(1)
    for number in (2, 3):
        decoder[number] = decoder[number].unflatten(0, (height, width, channels)).movedim(2, 0).flatten(0, 2)
    heads = 1 if model.encoder.log_var is None else 2
    last = [part for pair in zip(encoder[6].chunk(heads), encoder[7].chunk(heads), strict=True) for part in pair]
    for parameter, tensor in zip(model.parameters(), _ordered(model, encoder[:6] + last, decoder), strict=True):
        assert parameter.shape == tensor.shape
        parameter.copy_(tensor)


def _ordered(model: Any, encoder: list[Tensor], decoder: list[Tensor]) -> list[Tensor]:
    """In the order of ``model.parameters()``, whichever of the two comes first there."""
    first = next(iter(model.state_dict()))
    return encoder + decoder if first.startswith("encoder") else decoder + encoder


class Side:
    """Trains a model at a time and answers with its images."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "images.npz") as file:
            self.train_images, self.test = (torch.from_numpy(file[name]).float().div_(255) for name in ("train", "test"))
        self.model: Any = None

    def train(self, model: str, seed: int, epochs: int, items: int) -> Answer:
        """All that a user calls: model, configuration, pipeline; it writes the model."""
        data = self.train_images[:items]
        with tempfile.TemporaryDirectory() as out:
            options = {"output_dir": out, "per_device_train_batch_size": BATCH, "num_epochs": epochs, "seed": seed}
            wall, cpu = time.perf_counter(), time.process_time()
            set_seed(seed)
            if model == "rae":
                rates = {"encoder_learning_rate": LEARNING_RATE, "decoder_learning_rate": LEARNING_RATE}
                config: Any = CoupledOptimizerTrainerConfig(**options, **rates)
            else:
                config = BaseTrainerConfig(**options, learning_rate=LEARNING_RATE)
            pipeline = TrainingPipeline(build(model), config)
            pipeline(data)
            answer = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        self.model = pipeline.trainer._best_model.eval()
        return answer | {"parameters": sum(p.numel() for p in self.model.parameters())}

    @torch.no_grad()
    def images(self, model: str, seed: int, path: str) -> Answer:
        """Reconstructions of the held-out items, and as many samples of each sampler."""
        set_seed(seed)
        found = {"reconstructions": torch.cat([self.model.predict(x).recon_x for x in self.test.split(500)])}
        for name in SAMPLERS[model]:
            if name == "prior":
                sampler: Any = NormalSampler(self.model)
            else:
                sampler = GaussianMixtureSampler(self.model, GaussianMixtureSamplerConfig(n_components=COMPONENTS[name]))
                sampler.fit(self.train_images)
            found[name] = sampler.sample(len(self.test), batch_size=500)
        np.savez(path, **{name: images.numpy() for name, images in found.items()})
        return {}

    @torch.no_grad()
    def loss(self, model: str, path: str, seed: int) -> Answer:
        """Its loss of our weights on the first held-out items, with what its optimizer adds."""
        net = build(model).eval()
        adopt(net, torch.load(path, weights_only=True))
        torch.manual_seed(seed)
        total = net(DatasetOutput(data=self.test[:BATCH])).loss
        if model == "rae":
            total = total + RAE_DECAY / 2 * sum(p.square().sum() for p in net.decoder.parameters())
        return {"loss": float(total)}


def main(folder: str) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    side = Side(Path(folder))
    serve({"train": side.train, "images": side.images, "loss": side.loss})


if __name__ == "__main__":
    main(*sys.argv[1:])
