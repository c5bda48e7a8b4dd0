import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_atlas.data.combinations import FactorTable, combination_digests
from latent_atlas.data.dsprites import Dsprites
from latent_atlas.data.prepare import prepare
from latent_atlas.data.reader import DataError
from latent_atlas.data.splits import Split, digests
from latent_atlas.data.store import write

NAMES = ("a", "b", "c")
ROOT = Path(__file__).resolve().parents[2]


def table(rows, values=None):
    return FactorTable(NAMES, (6, 7, 50), rows, values or {})


def drawn(n=5000, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.integers(0, size, n) for size in (6, 7, 50)], axis=1)
    return rows, digests(np.arange(n)[:, None])


def pairs(rows, chosen):
    return set(map(tuple, rows[:, chosen].tolist()))


@settings(max_examples=20, deadline=None)
@given(test=st.floats(0.2, 0.6), val=st.floats(0.0, 0.3), seed=st.integers(0, 20))
def test_no_combination_of_test_is_seen_before(test, val, seed):
    rows, hashes = drawn(seed=seed)
    parts = Split(val, test, ("a", "b")).assign(hashes, table(rows))
    assert not pairs(rows[parts == 2], [0, 1]) & pairs(rows[parts != 2], [0, 1])
    assert set(rows[parts == 2][:, 2]) & set(rows[parts == 0][:, 2])  # a factor that is not chosen lies on both sides


def test_fractions_are_those_asked_for():
    rows, hashes = drawn(20_000)
    parts = Split(0.1, 0.2, ("a", "c")).assign(hashes, table(rows))
    assert np.mean(parts == 2) == pytest.approx(0.2, abs=0.06)
    assert np.mean(parts == 1) == pytest.approx(0.1, abs=0.02)


def test_more_items_and_another_order_of_factors_move_none():
    rows, hashes = drawn()
    split = Split(0.1, 0.3, ("a", "b"))
    parts = split.assign(hashes, table(rows))
    np.testing.assert_array_equal(split.assign(hashes[:900], table(rows[:900])), parts[:900])
    np.testing.assert_array_equal(Split(0.1, 0.3, ("b", "a")).assign(hashes, table(rows)), parts)


def test_codes_may_shift_where_values_are_known():
    rows, hashes = drawn()
    values = {"a": list("uvwxyz")}
    shifted = rows + np.array([1, 0, 0])
    found = combination_digests(table(rows, values), ["a"], hashes)
    more = FactorTable(NAMES, (7, 7, 50), shifted, {"a": list("tuvwxyz")})
    np.testing.assert_array_equal(combination_digests(more, ["a"], hashes), found)


def test_combinations_that_share_a_content_go_together():
    rows, hashes = drawn()
    first = {value: np.flatnonzero(rows[:, 0] == value)[0] for value in range(6)}
    hashes[first[1]] = hashes[first[0]]
    hashes[first[2]] = hashes[first[1]]
    found = combination_digests(table(rows), ["a"], hashes)
    assert len(np.unique(found[np.isin(rows[:, 0], [0, 1, 2])])) == 1
    assert len(np.unique(found)) == 4


def test_dsprites_holds_out_what_looks_the_same_together(tmp_path):
    reader, split = Dsprites(resolution=16, sizes=(3, 3, 8, 4, 4)), Split(0.1, 0.3, ("shape", "scale", "orientation"))
    card = write(reader.open(split), tmp_path / "d", name="d", split=split, reference_size=10)
    assert card["split"]["combinations"] == ["shape", "scale", "orientation"]
    parts, factors, images = (np.load(tmp_path / "d" / f"{name}.npy") for name in ("split", "factors", "image"))
    assert not pairs(factors[parts == 2], [0, 1, 2]) & pairs(factors[parts != 2], [0, 1, 2])
    seen = {row.tobytes() for row in images[parts != 2]}
    assert not any(row.tobytes() in seen for row in images[parts == 2])


def write_table(path, n=400):
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "colour", "shape", "weight"])
        writer.writerows(
            [f"{rng.normal():.5f}", rng.choice(["red", "blue", "green"]), rng.choice(["dot", "bar", "arc"]), f"{rng.random():.5f}"]
            for _ in range(n)
        )
    return path


def section(path, combinations):
    reader = {"_target_": "latent_atlas.data.table.Table", "path": str(path), "factors": ["colour", "shape", "weight"]}
    split = {"val": 0.1, "test": 0.3, "combinations": combinations}
    return {"name": "own", "data": {"reader": reader, "split": split, "reference_size": 10}}


def test_a_table_is_scaled_by_the_items_that_are_trained_on(tmp_path):
    path = write_table(tmp_path / "t.csv")
    prepare(section(path, ["colour", "shape"]), tmp_path / "out")
    x, parts, factors = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("x", "split", "factors"))
    assert not pairs(factors[parts == 2], [0, 1]) & pairs(factors[parts != 2], [0, 1])
    assert x[parts == 0].mean() == pytest.approx(0, abs=1e-5)
    assert x[parts == 0].std() == pytest.approx(1, abs=1e-5)
    assert json.loads((tmp_path / "out/card.json").read_text())["split"]["combinations"] == ["colour", "shape"]


def test_arrays_too_and_their_vectors_are_scaled_by_what_is_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, 5, 500), rng.integers(0, 5, 500)], 1)
    np.savez(tmp_path / "a.npz", x=rng.normal(3, 2, (500, 4)), factors=factors, factor_names=["a", "b"])
    reader = {"_target_": "latent_atlas.data.arrays.Arrays", "path": str(tmp_path / "a.npz")}
    data = {"reader": reader, "split": {"val": 0.1, "test": 0.3, "combinations": ["a", "b"]}, "reference_size": 10}
    prepare({"name": "own", "data": data}, tmp_path / "out")
    x, parts, found = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("x", "split", "factors"))
    assert not pairs(found[parts == 2], [0, 1]) & pairs(found[parts != 2], [0, 1])
    np.testing.assert_allclose(x[parts == 0].mean(0), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [(["weight"], "factor 'weight' is continuous"), (["colour", "age"], "no factor 'age'; there are colour, shape, weight")],
)
def test_what_has_no_combinations_is_named(tmp_path, chosen, message):
    with pytest.raises(DataError, match=message):
        prepare(section(write_table(tmp_path / "t.csv"), chosen), tmp_path / "out")


def test_a_set_without_factors_has_no_combinations(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 3)))
    reader = {"_target_": "latent_atlas.data.arrays.Arrays", "path": str(tmp_path / "x.npy")}
    data = {"reader": reader, "split": {"val": 0.1, "test": 0.2, "combinations": ["a"]}, "reference_size": 10}
    with pytest.raises(DataError, match="the data set has no factors"):
        prepare({"name": "own", "data": data}, tmp_path / "out")


def test_conf_composes_to_a_data_set_of_its_own():
    from latent_atlas.planning.compose import Composer

    with Composer(ROOT) as composer:
        data = composer.compose(["data=dsprites_combinations"])["data"]
    assert data["name"] == "dsprites_combinations"
    assert data["reader"]["resolution"] == 32
    assert Split(**data["split"]).combinations == ("shape", "scale", "orientation")
