"""Every metric over a stream equals itself at once, in batches of odd sizes and gathered from two processes."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_arrays import ARRAYS, FUNCTIONS, OWN, N, at_once, cut, feed
from toy_codes import trees_in_one_process

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


@pytest.fixture(autouse=True, scope="module")
def _trees():
    with trees_in_one_process():
        yield


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
