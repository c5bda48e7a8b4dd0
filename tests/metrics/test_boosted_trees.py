"""The process of the trees: without torch, and without LightGBM where it cannot be loaded."""

import numpy as np
import pytest
from toy_codes import factors, identity, noise

from latent_atlas.metrics.boosting import Task, boost
from latent_atlas.metrics.dci import _FITS, dci_disentanglement

pytestmark = pytest.mark.slow  # a process and LightGBM for each
V = factors(300, (2, 3))
Z = np.hstack([identity(V), noise(300, 1)])
HALVES = (Z[:150], V[:150], Z[150:], V[150:])


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Python files that the process of the trees finds before any other: name -> text."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    _FITS.clear()

    def write(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return tmp_path

    yield write
    _FITS.clear()


def test_trees_grow_where_torch_never_was(child):
    folder = child(
        sitecustomize="import atexit, pathlib, sys\n"
        "at = pathlib.Path(__file__).with_name('modules')\n"
        "atexit.register(lambda: at.write_text(' '.join(sys.modules)))\n"
    )
    dci_disentanglement(*HALVES, workers=1)
    loaded = set((folder / "modules").read_text().split())
    assert "lightgbm" in loaded
    assert "torch" not in loaded


def test_a_process_of_trees_in_which_torch_was_imported_is_a_fault(child):
    child(torch="class Tensor: ...\n", sitecustomize="import torch\n")
    with pytest.raises(RuntimeError, match="torch was imported"):
        dci_disentanglement(*HALVES, workers=1)


@pytest.mark.parametrize("error", ["ImportError('no such module')", "OSError('libomp.dylib: image not found')"])
def test_where_lightgbm_cannot_be_loaded_others_take_over_and_are_named(child, error):
    child(lightgbm=f"raise {error}\n")
    found = dci_disentanglement(*HALVES, workers=1)
    assert found.provenance["estimator"] == "hist"
    assert found.value > 0.9


def test_the_estimator_that_grew_the_trees_is_named_and_how_many_processes_do_not_matter():
    one, two = (boost(tasks(), workers=workers) for workers in (1, 2))
    assert one.estimator == two.estimator == "lightgbm"
    np.testing.assert_array_equal(one.importance, two.importance)
    np.testing.assert_array_equal(one.test, two.test)


def test_what_the_trees_say():
    found = boost(tasks())
    assert found.importance.argmax(0).tolist() == [0, 1]
    np.testing.assert_allclose(found.importance.sum(0), 1)
    np.testing.assert_allclose(found.test, 1, atol=0.07)
    assert found.items.tolist() == [150, 150]
    commonest = [np.bincount(V[150:, k]).argmax() for k in range(2)]
    np.testing.assert_allclose(found.chance, [(V[:150, k] == commonest[k]).mean() for k in range(2)])


def test_a_worker_that_fails_says_why():
    broken = tasks()
    broken[0].x_test[0] = np.nan
    with pytest.raises(RuntimeError, match=r"boosted trees \(sklearn\): .*NaN"):
        boost(broken, "sklearn")
    with pytest.raises(ValueError, match="one of lightgbm, sklearn, hist"):
        boost(tasks(), "forest")


def tasks():
    return [Task(Z[150:].copy(), V[150:, k], Z[:150].copy(), V[:150, k], False) for k in range(2)]
