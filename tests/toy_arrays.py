"""Small arrays of every word of the vocabulary, every metric as evaluation would call it, and a stream of their rows."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import yaml

from latent_atlas.building import locate
from latent_atlas.evaluation.scoring import requirements
from latent_atlas.spaces.euclidean import Euclidean

N = 211
RNG = np.random.default_rng(0)
V = RNG.integers(0, 4, (2 * N, 2))
Z = np.hstack([V, V.sum(1, keepdims=True)]) + RNG.normal(0, 0.4, (2 * N, 3))
WEIGHT = torch.linspace(-1, 1, 3 * 256).reshape(3, 256)


def decode(codes):
    return (codes.float() @ WEIGHT).sigmoid().reshape(-1, 1, 16, 16)


IMAGES = (decode(torch.from_numpy(Z[:N])) + 0.1 * torch.rand(N, 1, 16, 16, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
ARRAYS = {
    "codes": torch.from_numpy(Z[:N]),
    "factors": torch.from_numpy(V[:N]),
    "labels": torch.from_numpy(V[:N, 0]),
    "codes_train": torch.from_numpy(Z[N:]),
    "factors_train": torch.from_numpy(V[N:]),
    "labels_train": torch.from_numpy(V[N:, 0]),
    "variances_train": torch.from_numpy(RNG.gamma(2, 0.1, (N, 3))),
    "draws": torch.from_numpy(Z[:N]),
    "prior": torch.from_numpy(RNG.normal(size=(N, 3))),
    "x": IMAGES,
    "recon": (IMAGES + 0.1 * torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1),
    "features_real": torch.from_numpy(RNG.normal(size=(N, 4))),
    "features_samples": torch.from_numpy(RNG.normal(0.3, 1.2, (N, 4))),
    "features_recon": torch.from_numpy(RNG.normal(0.1, 1.0, (N, 4))),
    "features_train": torch.from_numpy(RNG.normal(size=(N, 4))),
    "probabilities_real": torch.from_numpy(RNG.dirichlet(np.ones(5), N)),
    "probabilities_samples": torch.from_numpy(RNG.dirichlet(np.ones(5), N)),
    "log_prob": torch.from_numpy(RNG.normal(-9, 1, N)),
    "log_weights": torch.from_numpy(RNG.normal(-9, 1, (N, 8))),
    "indices": torch.from_numpy(RNG.integers(0, 12, (N, 2))),
    "features_other": torch.from_numpy(RNG.normal(size=(N, 4))),
    "x_train": torch.rand(N, 1, 16, 16, generator=torch.Generator().manual_seed(2)),
    "recon_train": torch.rand(N, 1, 16, 16, generator=torch.Generator().manual_seed(3)),
    "posterior_log_density": torch.from_numpy(RNG.normal(-9, 1, (N, N))),
    "noisy_codes": {sigma: torch.from_numpy(Z[:N] + sigma * RNG.normal(size=(N, 3))) for sigma in (0.05, 0.1)},
    "posterior": SimpleNamespace(
        kl=torch.from_numpy(RNG.gamma(2, 1, N)), kl_per_dimension=torch.from_numpy(RNG.gamma(1, 0.3, (N, 3)))
    ),
}
SPACE = Euclidean(3)
OF_THE_MODEL = {  # what is no array of items, but a setting
    "encode": lambda x: x.flatten(1).float() @ WEIGHT.T / 60,
    "decode": decode,
    "extract": lambda x: x.flatten(1)[:, :40:10],
    "space": SPACE,
    "codebook_size": 12,
}
NAMED = {  # what factors have to be for these two
    "tear": {"factor_names": ["angle"], "factor_sizes": [N]},
    "tree_correlation": {"factor_names": ["node", "another"]},
}
OWN = {"tear": {"factors": torch.arange(N).unsqueeze(1)}}
OPTIONAL = ("labels", "labels_train", "factors", "factors_train", "codes_train")  # that a probe has nothing to read without


def _metric(path):
    """(function, arrays, settings) of a metric's file, as evaluation would call it."""
    conf = yaml.safe_load(path.read_text(encoding="utf-8"))
    function, arguments = locate(conf["_target_"]), conf.get("arguments") or {}
    wanted = requirements(function, arguments)
    reads = path.stem.startswith("probe")
    optional = OPTIONAL if reads else ("variances_train",) if path.stem == "fid_riemannian" else ()
    arrays = [name for name, insists in wanted.items() if name in ARRAYS and (insists or name in optional)]
    given = {name: OF_THE_MODEL[name] for name in wanted if name in OF_THE_MODEL}
    return function, arrays, arguments | given | NAMED.get(path.stem, {})


CONF = Path(__file__).resolve().parents[1] / "conf/evaluation/metric"
FUNCTIONS = {path.stem: _metric(path) for path in sorted(CONF.glob("*.yaml"))}


def cut(value, rows):
    """Some rows of an array, also of one with parts."""
    if isinstance(value, dict):
        return {part: array[rows] for part, array in value.items()}
    if isinstance(value, SimpleNamespace):
        return SimpleNamespace(kl=value.kl[rows], kl_per_dimension=value.kl_per_dimension[rows])
    return value[rows]


def at_once(value):
    """As a metric takes it: of a posterior the mean over items."""
    if isinstance(value, SimpleNamespace):
        return SimpleNamespace(kl=value.kl, kl_per_dimension=value.kl_per_dimension.mean(0))
    return value


def feed(metric, rows, sizes=(1, 40, 13, 97)):
    """Updates with batches of uneven sizes, the rest as the last one."""
    first = next(array for array in rows.values() if isinstance(array, torch.Tensor | SimpleNamespace))
    n = len(getattr(first, "kl", first))
    edges = np.minimum(np.cumsum([0, *sizes, n]), n)
    for start, stop in itertools.pairwise(edges.tolist()):
        if stop > start:
            metric.update(**{name: cut(array, slice(start, stop)) for name, array in rows.items()})
