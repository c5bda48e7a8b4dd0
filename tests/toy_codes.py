"""Codes whose worth is known, and every disentanglement metric as one function of codes and factors."""

import contextlib
import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from unittest import mock

import numpy as np

from latent_atlas.metrics import dci
from latent_atlas.metrics.boosting import Boosted, fit
from latent_atlas.metrics.disentanglement import jemmig, mig, mig_sup, modularity
from latent_atlas.metrics.infomec import infoc, infoe, infom
from latent_atlas.metrics.interventions import beta_vae_score, factor_vae_score, irs
from latent_atlas.metrics.separability import explicitness, sap
from latent_atlas.metrics.unsupervised import dimension_information, total_correlation, wasserstein_correlation

SIZES = (2, 3, 4)
N = 600  # items to score and as many to train on


def factors(n=2 * N, sizes=SIZES, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, n) for size in sizes], axis=1)


def noise(n=2 * N, d=3, seed=1):
    return np.random.default_rng(seed).normal(size=(n, d))


def identity(v, spread=0.05, seed=2):
    """One dimension for each factor, with unit variance."""
    z = v + spread * noise(*v.shape, seed)
    return z / z.std(0)


def rotated(z):
    """The first two dimensions turned by 45°."""
    turned = z.copy()
    turned[:, 0], turned[:, 1] = (z[:, 0] + z[:, 1]) / np.sqrt(2), (z[:, 0] - z[:, 1]) / np.sqrt(2)
    return turned


def mixed(z, seed=3):
    """All dimensions turned at random."""
    return z @ np.linalg.qr(noise(z.shape[1], z.shape[1], seed))[0]


def scored(metric, **settings):
    """A metric of the first half of the items."""

    def run(z, v, **more):
        half = len(z) // 2
        return metric(z[:half], v[:half], **settings, **more)

    return run


def trained(metric, **settings):
    """A metric of the first half, fitted to the second."""

    def run(z, v, **more):
        half = len(z) // 2
        return metric(z[:half], v[:half], z[half:], v[half:], **settings, **more)

    return run


def without_factors(metric):
    def run(z, v, **more):
        return metric(z[: len(z) // 2], **more)

    return run


VOTES = {"train": 1500, "evaluation": 800}
INFORMATION = {"mig": scored(mig), "mig_sup": scored(mig_sup), "jemmig": scored(jemmig), "modularity": scored(modularity),
               "infom": scored(infom), "infoc": scored(infoc)}  # fmt: skip
VOTED = {"beta_vae_score": scored(beta_vae_score, **VOTES), "factor_vae_score": scored(factor_vae_score, **VOTES)}
LINEAR = {"sap": trained(sap), "explicitness": trained(explicitness), "infoe": trained(infoe)}
TREES = {
    "dci_disentanglement": trained(dci.dci_disentanglement, workers=1),
    "dci_completeness": trained(dci.dci_completeness, workers=1),
    "dci_informativeness": trained(dci.dci_informativeness, workers=1),
}
UNSUPERVISED = {
    "total_correlation": without_factors(total_correlation),
    "wasserstein_correlation": without_factors(wasserstein_correlation),
    "dimension_information": without_factors(dimension_information),
}
SUPERVISED = INFORMATION | VOTED | LINEAR | TREES | {"irs": scored(irs)}
METRICS = SUPERVISED | UNSUPERVISED


@contextlib.contextmanager
def trees_in_one_process():
    """Every DCI grows its trees in one process without torch: a new one for each loads LightGBM for longer than it grows trees."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:

        def boost(tasks, estimator, workers, seed=0):
            rows = list(pool.map(fit, tasks, itertools.repeat(estimator), itertools.repeat(seed)))
            importance, train, test, chance = (
                np.array([row[k] for row in rows]) for k in ("importance", "train", "test", "chance")
            )
            return Boosted(importance.T, train, test, chance, rows[0]["estimator"], np.array([len(task.y_test) for task in tasks]))

        with mock.patch.object(dci, "boost", boost):
            yield
