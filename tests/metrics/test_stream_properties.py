"""Properties of every metric of conf/evaluation: how rows arrive and in which precision they come decides nothing."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_arrays import ARRAYS, FUNCTIONS, OWN, N, at_once, cut
from toy_codes import trees_in_one_process

from latent_atlas.metrics import Streaming, StreamingFrechet, StreamingMSE, frechet, reconstruction
from latent_atlas.metrics.result import Measured, NotApplicable

CUTS = st.lists(st.integers(1, N - 1), max_size=6, unique=True).map(sorted)


@pytest.fixture(autouse=True, scope="module")
def _trees():
    with trees_in_one_process():
        yield


def slices(cuts):
    return [slice(start, stop) for start, stop in zip([0, *cuts], [*cuts, N], strict=True)]


def same(found, expected):
    """Bit by bit, also of an array with parts."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(torch.equal(found[part], expected[part]) for part in expected)
    if isinstance(expected, SimpleNamespace):
        return torch.equal(found.kl, expected.kl) and torch.allclose(found.kl_per_dimension, expected.kl_per_dimension)
    return torch.equal(found, expected)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=5)
@given(data=st.data())
def test_however_each_array_is_cut_the_metric_is_given_all_of_it(name, data):
    """Equal arguments of one function are equal scores; ``test_streaming`` computes them."""
    function, arrays, given_settings = FUNCTIONS[name]
    metric, seen = Streaming(function, arrays, given_settings), {}
    metric.function = lambda **given: seen.update(given) or Measured(0.0)
    rows = {array: ARRAYS[array] for array in arrays} | OWN.get(name, {})
    batches = [(array, part) for array in data.draw(st.permutations(arrays)) for part in slices(data.draw(CUTS))]
    order = {array: [part for name, part in batches if name == array] for array in arrays}
    for array, _ in data.draw(st.permutations(batches)):  # sides in turn, in any order; each side in its own
        metric.update(**{array: cut(rows[array], order[array].pop(0))})
    metric.measured()
    for array in arrays:
        assert same(seen[array], at_once(rows[array])), array
    assert all(seen[word] is value for word, value in given_settings.items())


@settings(max_examples=10)
@given(cuts=CUTS)
def test_sums_of_a_stream_equal_one_shot_however_it_is_cut(cuts):
    error, distance = StreamingMSE(), StreamingFrechet(4)
    real, fake = ARRAYS["features_real"], ARRAYS["features_samples"]
    for part in slices(cuts):
        error.update(ARRAYS["x"][part], ARRAYS["recon"][part])
        distance.update(real[part], real=True)
        distance.update(fake[part], real=False)
    assert float(error.compute()) == pytest.approx(reconstruction.mse(ARRAYS["x"], ARRAYS["recon"]).value, rel=1e-12)
    assert float(distance.compute()) == pytest.approx(frechet.frechet(real, fake), rel=1e-9)


def precise(value, dtype):
    """An array whose numbers float32 holds, in this precision."""
    if isinstance(value, dict):
        return {part: precise(rows, dtype) for part, rows in value.items()}
    if isinstance(value, SimpleNamespace):
        return SimpleNamespace(kl=precise(value.kl, dtype), kl_per_dimension=precise(value.kl_per_dimension, dtype))
    return value.float().to(dtype) if value.is_floating_point() else value


# Half a minute of a flow's training magnifies rounding to 1e-3 of its distance.
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"fid_flow"}))
def test_float32_and_float64_of_the_same_numbers_agree(name):
    function, arrays, given_settings = FUNCTIONS[name]
    rows = {array: at_once(ARRAYS[array] if array not in OWN.get(name, {}) else OWN[name][array]) for array in arrays}
    found = []
    for dtype in (torch.float32, torch.float64):
        try:
            found.append(function(**{array: precise(part, dtype) for array, part in rows.items()}, **given_settings).value)
        except NotApplicable as reason:
            found.append(str(reason))
    assert found[0] == (found[1] if isinstance(found[1], str) else pytest.approx(found[1], rel=1e-4, abs=1e-5))


TWO = """
import sys, zlib
import torch, torch.distributed as dist
torch.set_num_threads(1)
rank, port = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
from toy_arrays import ARRAYS, FUNCTIONS, OWN, cut
from test_stream_properties import digest
from latent_atlas.metrics import Streaming
for name, (function, arrays, settings) in FUNCTIONS.items():
    metric = Streaming(function, arrays, settings)
    metric.function = digest
    step = 50 if rank == 0 else 17
    for start in range(*((0, 130) if rank == 0 else (130, 211)), step):
        rows = slice(start, min(start + step, 130 if rank == 0 else 211))
        metric.update(**{array: cut(OWN.get(name, ARRAYS).get(array, ARRAYS[array]), rows) for array in arrays})
    print(name, int(metric.compute()))
dist.destroy_process_group()
"""


def digest(**given):
    """A number that stands for the very bits of the arrays a metric would be given."""
    import zlib

    total = 0
    for _, value in sorted(given.items()):
        if isinstance(value, torch.Tensor | dict | SimpleNamespace):
            parts = vars(value) if isinstance(value, SimpleNamespace) else value if isinstance(value, dict) else {"": value}
            for part in parts.values():
                total = zlib.crc32(np.ascontiguousarray(part.numpy()).tobytes(), total)
    return Measured(float(total))


@pytest.mark.slow
def test_two_processes_give_every_metric_what_one_would():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    here = Path(__file__).resolve().parent
    env = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(here), str(here.parent)])}
    command = [sys.executable, "-c", TWO]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    started = [subprocess.Popen([*command, rank, port], **pipes) for rank in "01"]
    answers = []
    for process in started:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err[-2000:]
        answers.append(dict(line.split() for line in out.strip().splitlines()))
    expected = {}
    for name, (_, arrays, given_settings) in FUNCTIONS.items():
        rows = {array: at_once(OWN.get(name, ARRAYS).get(array, ARRAYS[array])) for array in arrays}
        expected[name] = str(int(digest(**rows, **given_settings).value))
    assert answers[0] == answers[1] == expected
