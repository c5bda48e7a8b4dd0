"""Every metric over a stream equals itself at once, in batches of odd sizes and gathered from two processes."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from latent_atlas.metrics import (
    Streaming,
    StreamingFrechet,
    StreamingMSE,
    aggregate,
    clusters,
    collapse,
    dimension,
    disentanglement,
    fidelity,
    frechet,
    infomec,
    interventions,
    likelihood,
    neighbours,
    probes,
    reconstruction,
    separability,
    unsupervised,
)
from latent_atlas.metrics.result import TooFewSamples

N = 211
RNG = np.random.default_rng(0)
V = RNG.integers(0, 4, (2 * N, 2))
Z = np.hstack([V, V.sum(1, keepdims=True)]) + RNG.normal(0, 0.4, (2 * N, 3))
IMAGES = torch.rand(N, 1, 16, 16, generator=torch.Generator().manual_seed(0))
ARRAYS = {
    "codes": torch.from_numpy(Z[:N]),
    "factors": torch.from_numpy(V[:N]),
    "labels": torch.from_numpy(V[:N, 0]),
    "codes_train": torch.from_numpy(Z[N:]),
    "factors_train": torch.from_numpy(V[N:]),
    "labels_train": torch.from_numpy(V[N:, 0]),
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
}
FUNCTIONS = {
    function.__name__: (function, settings)
    for function, settings in (
        (reconstruction.mse, {}),
        (reconstruction.mae, {}),
        (reconstruction.psnr, {}),
        (reconstruction.ssim, {}),
        (reconstruction.ms_ssim, {}),
        (likelihood.distortion, {}),
        (likelihood.nll, {}),
        (likelihood.bits_per_dimension, {}),
        (frechet.fid, {}),
        (frechet.fid_recon, {}),
        (fidelity.kid, {}),
        (fidelity.precision, {"k": 5}),
        (fidelity.recall, {}),
        (fidelity.density, {}),
        (fidelity.coverage, {}),
        (fidelity.memorisation, {}),
        (fidelity.inception_score, {}),
        (fidelity.modes_hit, {}),
        (fidelity.modes_kl, {}),
        (disentanglement.mig, {}),
        (disentanglement.mig_sup, {}),
        (disentanglement.jemmig, {}),
        (disentanglement.modularity, {}),
        (separability.sap, {}),
        (separability.explicitness, {}),
        (interventions.irs, {}),
        (infomec.infom, {}),
        (unsupervised.total_correlation, {}),
        (clusters.class_component, {}),
        (clusters.silhouette, {}),
        (clusters.nmi, {}),
        (neighbours.knn_accuracy, {}),
        (neighbours.knn_factors, {}),
        (neighbours.trustworthiness, {}),
        (dimension.two_nn, {}),
        (aggregate.mmd, {}),
        (aggregate.energy_distance, {}),
        (aggregate.prior_holes, {}),
        (collapse.active_units, {}),
        (collapse.codebook_use, {"codebook_size": 12}),
        (collapse.codebook_perplexity, {}),
    )
}


def feed(metric, rows, sizes=(1, 40, 13, 97)):
    """Updates with batches of uneven sizes, the rest as the last one."""
    first = next(iter(rows.values()))
    edges = np.minimum(np.cumsum([0, *sizes, len(first)]), len(first))
    for start, stop in itertools.pairwise(edges.tolist()):
        if stop > start:
            metric.update(**{name: array[start:stop] for name, array in rows.items()})


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_stream_in_odd_batches_equals_one_shot(name):
    function, settings = FUNCTIONS[name]
    metric = Streaming(function, settings=settings)
    rows = {array: ARRAYS[array] for array in metric.arrays}
    feed(metric, rows)
    expected = function(**rows, **settings)
    assert float(metric.compute()) == expected.value
    assert metric.measured() == expected
    feed(metric, {array: part[:60] for array, part in rows.items()})  # and it goes on after a value was read
    doubled = {array: torch.cat([part, part[:60]]) for array, part in rows.items()}
    assert float(metric.compute()) == function(**doubled, **settings).value
    metric.reset()
    with pytest.raises(TooFewSamples, match="no rows of"):
        metric.compute()


def test_optional_arrays_are_streamed_where_named():
    names = ("codes", "codes_train", "labels", "labels_train")
    metric = Streaming(probes.probe, names, {"ladder": "knn"})
    rows = {name: ARRAYS[name] for name in names}
    feed(metric, rows)
    assert float(metric.compute()) == probes.probe(**rows, ladder="knn").value


def test_sides_may_come_in_streams_of_their_own_and_of_different_length():
    metric = Streaming(fidelity.kid, settings={"subsets": 0}, higher_is_better=False)
    feed(metric, {"features_real": ARRAYS["features_real"]})
    with pytest.raises(TooFewSamples, match="no rows of features_samples"):
        metric.compute()
    feed(metric, {"features_samples": ARRAYS["features_samples"][:150]})
    expected = fidelity.kid(ARRAYS["features_real"], ARRAYS["features_samples"][:150], subsets=0)
    assert float(metric.compute()) == expected.value
    assert metric.higher_is_better is False


def test_names_that_the_metric_does_not_know_are_refused():
    with pytest.raises(TypeError, match="mig takes codes, factors"):
        Streaming(disentanglement.mig, ("codes", "labels"))
    with pytest.raises(TypeError, match="knows no bin"):
        Streaming(disentanglement.mig, settings={"bin": 3})
    metric = Streaming(disentanglement.mig)
    for batch in ({}, {"codes": ARRAYS["codes"], "labels": ARRAYS["labels"]}):
        with pytest.raises(ValueError, match="batches are of codes, factors"):
            metric.update(**batch)


TWO = """
import json, sys
import numpy as np, torch, torch.distributed as dist
torch.set_num_threads(1)
rank, port, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
from latent_atlas.metrics import Streaming, StreamingFrechet, StreamingMSE
from latent_atlas.metrics import clusters, disentanglement, fidelity, neighbours, aggregate
arrays = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
half = slice(0, 130) if rank == 0 else slice(130, None)      # uneven shares
found = {}
kinds = disentanglement.mig, neighbours.knn_accuracy, clusters.silhouette, fidelity.kid, fidelity.precision, aggregate.mmd
for function in kinds:
    metric = Streaming(function)
    rows = {name: arrays[name][half] for name in metric.arrays}
    step = 50 if rank == 0 else 17                            # and different numbers of batches
    for start in range(0, len(next(iter(rows.values()))), step):
        metric.update(**{name: part[start : start + step] for name, part in rows.items()})
    found[function.__name__] = float(metric.compute())
mse = StreamingMSE()
mse.update(arrays["x"][half], arrays["recon"][half])
found["mse"] = float(mse.compute())
fid = StreamingFrechet(4)
for side, name in ((True, "features_real"), (False, "features_samples")):
    fid.update(arrays[name][half], real=side)
found["fid"] = float(fid.compute())
alone = Streaming(fidelity.kid)                               # one process holds all rows
if rank == 0:
    alone.update(features_real=arrays["features_real"], features_samples=arrays["features_samples"])
found["alone"] = float(alone.compute())
print(json.dumps(found))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    np.savez(tmp_path / "arrays.npz", **{name: array.numpy() for name, array in ARRAYS.items()})
    script = tmp_path / "two.py"
    script.write_text(TWO, encoding="utf-8")
    command = [sys.executable, str(script)]
    started = [
        subprocess.Popen(
            [*command, rank, port, str(tmp_path / "arrays.npz")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    answers = []
    for process in started:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err[-2000:]
        answers.append(json.loads(out.strip().splitlines()[-1]))
    assert answers[0] == answers[1]
    for name in ("mig", "knn_accuracy", "silhouette", "kid", "precision", "mmd"):
        function, _ = FUNCTIONS[name]
        metric = Streaming(function)
        assert answers[0][name] == function(**{array: ARRAYS[array] for array in metric.arrays}).value, name
    real, fake = ARRAYS["features_real"], ARRAYS["features_samples"]
    assert answers[0]["mse"] == pytest.approx(reconstruction.mse(ARRAYS["x"], ARRAYS["recon"]).value, rel=1e-12)
    assert answers[0]["fid"] == pytest.approx(frechet.frechet(real, fake), rel=1e-9)
    assert answers[0]["alone"] == fidelity.kid(real, fake).value


def test_the_classes_that_keep_sums_take_no_more_memory_with_more_rows():
    metric, error = StreamingFrechet(4), StreamingMSE()
    held = [sum(state.numel() for state in m.metric_state.values()) for m in (metric, error)]
    for _ in range(5):
        metric.update(ARRAYS["features_real"], real=True)
        metric.update(ARRAYS["features_samples"], real=False)
        error.update(ARRAYS["x"], ARRAYS["recon"])
    assert [sum(state.numel() for state in m.metric_state.values()) for m in (metric, error)] == held
    assert not metric.higher_is_better
    assert not error.higher_is_better
