"""Every metric over a stream equals itself at once, in batches of odd sizes and gathered from two processes."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from toy_codes import trees_in_one_process

from latent_atlas.building import locate
from latent_atlas.evaluation.scoring import requirements
from latent_atlas.metrics import (
    Streaming,
    StreamingFrechet,
    StreamingMSE,
    disentanglement,
    fidelity,
    frechet,
    likelihood,
    probes,
    reconstruction,
)
from latent_atlas.metrics.result import NotApplicable, TooFewSamples
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


CONF = Path(__file__).resolve().parents[2] / "conf/evaluation/metric"
FUNCTIONS = {path.stem: _metric(path) for path in sorted(CONF.glob("*.yaml"))}


@pytest.fixture(autouse=True, scope="module")
def _trees():
    with trees_in_one_process():
        yield


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


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_stream_in_odd_batches_equals_one_shot(name):
    function, arrays, settings = FUNCTIONS[name]
    metric = Streaming(function, arrays, settings)
    assert len(arrays) > 0
    rows = {array: ARRAYS[array] for array in arrays} | OWN.get(name, {})
    feed(metric, rows)
    whole = {array: at_once(part) for array, part in rows.items()}
    if name == "lpips":  # no weights here, or images too small for them: the same reason either way
        for again in (lambda: function(**whole, **settings), metric.compute):
            with pytest.raises(NotApplicable):
                again()
        return
    expected = function(**whole, **settings)
    assert float(metric.compute()) == expected.value
    assert metric.measured() == expected
    if "posterior_log_density" not in arrays:  # of which a row is as long as there are items
        # And it goes on after a value was read.
        feed(metric, {array: cut(part, slice(60)) for array, part in rows.items()})
        twice = torch.cat([torch.arange(N), torch.arange(60)])
        doubled = {array: at_once(cut(part, twice)) for array, part in rows.items()}
        assert float(metric.compute()) == function(**doubled, **settings).value
    metric.reset()
    with pytest.raises(TooFewSamples, match="no rows of"):
        metric.compute()


def test_a_batch_s_mean_of_a_posterior_weighs_as_many_items_as_it_has():
    metric = Streaming(likelihood.active_dimensions)
    for kl, each in ((torch.ones(30), torch.tensor([0.02, 0.0])), (torch.ones(90), torch.tensor([0.0, 0.012]))):
        metric.update(posterior=SimpleNamespace(kl=kl, kl_per_dimension=each))
    assert float(metric.compute()) == 0  # 0.005 and 0.009 nats: below 0.01, where the mean of the means has 0.01 for one
    with pytest.raises(ValueError, match="nobody knows how many items"):
        metric.update(posterior=SimpleNamespace(kl=None, kl_per_dimension=torch.ones(2)))


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
from types import SimpleNamespace
from latent_atlas.metrics import clusters, disentanglement, fidelity, likelihood, neighbours, robustness, aggregate
arrays = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
def cut(name, rows):
    if name == "posterior":
        return SimpleNamespace(kl=arrays["kl"][rows], kl_per_dimension=arrays["kl_each"][rows])
    return {0.05: arrays["noisy"][rows], 0.1: arrays["noisier"][rows]} if name == "noisy_codes" else arrays[name][rows]
half = slice(0, 130) if rank == 0 else slice(130, None)      # uneven shares
found = {}
kinds = disentanglement.mig, neighbours.knn_accuracy, clusters.silhouette, fidelity.kid, fidelity.precision, aggregate.mmd
kinds += likelihood.nelbo, robustness.latent_shift
for function in kinds:
    metric = Streaming(function)
    at = range(211)[half]
    step = 50 if rank == 0 else 17                            # and different numbers of batches
    for start in range(0, len(at), step):
        metric.update(**{name: cut(name, list(at[start : start + step])) for name in metric.arrays})
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
    given = {name: array.numpy() for name, array in ARRAYS.items() if isinstance(array, torch.Tensor)}
    parts = {"kl": ARRAYS["posterior"].kl, "kl_each": ARRAYS["posterior"].kl_per_dimension}
    parts |= {"noisy": ARRAYS["noisy_codes"][0.05], "noisier": ARRAYS["noisy_codes"][0.1]}
    np.savez(tmp_path / "arrays.npz", **given, **parts)
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
    for name in ("mig", "knn_accuracy", "silhouette", "kid", "precision", "mmd", "nelbo", "latent_shift"):
        function, arrays, settings = FUNCTIONS[name]
        assert answers[0][name] == function(**{array: at_once(ARRAYS[array]) for array in arrays}, **settings).value, name
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
