"""``ae``, ``vae``, ``wae`` and ``rae`` through the real training path, set by conf to pythae's objectives."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality_setting import BATCH, COMPONENTS, LATENT, LEARNING_RATE, RAE_CODE_WEIGHT, RAE_DECAY, SAMPLERS, WAE_WEIGHT
from serving import Answer, serve
from setting import ROOT, trainer_conf

from latent_atlas.data.datamodule import DataModule
from latent_atlas.loading import load_folder
from latent_atlas.models.likelihoods import Gaussian
from latent_atlas.operations import samplers
from latent_atlas.planning.compose import Composer
from latent_atlas.training import fit
from latent_atlas.training.module import reseed, step_seed

OWN = {
    "ae": [],
    "vae": [],
    # the mean over seven kernels where pythae has their sum
    "wae": [f"model.net.penalty.weight={7 * WAE_WEIGHT}", "model.net.penalty.kernel=imq"],
    # the gradient of decay / 2 · |θ|² is Adam's weight_decay
    "rae": [
        "model.net.regularizer=l2",
        f"model.net.code_weight={RAE_CODE_WEIGHT}",
        f"model.net.decoder_weight={RAE_DECAY / 2}",
    ],
}


def conf(name: str) -> dict[str, Any]:
    """``conf/model/<name>.yaml`` with -log p(x | z) = the squares of an item (half of them for ``vae``) and a constant."""
    overrides = [
        f"model.net.latent_size={LATENT}",
        f"model.net.optimizer.lr={LEARNING_RATE}",
        "model.net.likelihood._target_=latent_atlas.models.likelihoods.GaussianHead",
        f"+model.net.likelihood.scale={1.0 if name == 'vae' else 0.5**0.5}",
        "+model.net.likelihood.learned=false",
    ]
    with Composer(ROOT) as composer:
        return composer.compose(["data=fashion_mnist", f"model={name}", *overrides, *OWN[name]])["model"]  # type: ignore[no-any-return]


class Side:
    """Trains a model at a time and answers with its images."""

    def __init__(self, folder: Path) -> None:
        self.data, self.out = folder / "data", Path(tempfile.mkdtemp(dir=folder)) / "model"
        self.confs = {name: conf(name) for name in SAMPLERS}
        module = DataModule(self.data)
        self.train_images = module.take(module.rows("train"))["image"]
        self.test = torch.from_numpy(np.load(folder / "images.npz")["test"]).float().div_(255)

    def train(self, model: str, seed: int, epochs: int, items: int) -> Answer:
        """All of ``fit.train``: it opens the data, builds, trains, validates and checkpoints as runs do, and writes the model."""
        trainer = trainer_conf(BATCH, "32-true", epochs * items // BATCH, 1)
        section = {"run": f"quality-{model}", "data": "fashion_mnist", "seed": seed, "model": self.confs[model], "trainer": trainer}
        wall, cpu = time.perf_counter(), time.process_time()
        fit.train(section, self.data, self.out, tracking={"enabled": False})
        answer = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        return answer | {"parameters": sum(p.numel() for p in load_folder(self.out).parameters())}

    @torch.no_grad()
    def images(self, model: str, seed: int, path: str) -> Answer:
        """Reconstructions of the held-out items, and as many samples of each sampler."""
        net, generator = load_folder(self.out), torch.Generator().manual_seed(seed)
        found = {"reconstructions": torch.cat([net.decode(net.encode(x).mode).mean for x in self.test.split(500)])}
        for name in SAMPLERS[model]:
            if name == "prior":
                z = net.space.sample(len(self.test), generator=generator)
                found[name] = torch.cat([net.decode(part).mean for part in z.split(500)])
            else:
                codes = torch.cat([net.encode(x).mode for x in self.train_images.split(500)])
                options = {"components": COMPONENTS[name]} if name == "mixture" else {}
                fitted = samplers.fit(name, codes, seed, **options)
                found[name] = samplers.decoded(net, fitted, len(self.test), generator)
        np.savez(path, **{name: images.contiguous().numpy() for name, images in found.items()})
        return {}

    @torch.no_grad()
    def loss(self, model: str, path: str) -> Answer:
        """The loss of the trained weights, which ``path`` gets, on the first held-out items, without the density's constant."""
        net = load_folder(self.out)
        torch.save({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, path)
        x = self.test[:BATCH]
        reseed(step_seed(0, 0), torch.device("cpu"))
        total = net.loss({"image": x}, "model").total
        constant = -Gaussian(x, net.head.log_scale).log_prob(x).mean()
        return {"loss": float(total - constant), "seed": step_seed(0, 0)}


def main(folder: str) -> None:
    side = Side(Path(folder))
    serve({"train": side.train, "images": side.images, "loss": side.loss})


if __name__ == "__main__":
    main(*sys.argv[1:])
