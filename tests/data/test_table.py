import numpy as np
import pandas as pd
import pytest

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.reader import DataError
from latent_atlas.data.scaling import Scaling
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write
from latent_atlas.data.table import Table

THIRD = Split(0.1, 0.3)
N = 120


def frame(seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "Masse [g]": rng.normal(50, 9, N),
            "colour": rng.choice(["red", "grün", "blue"], N),
            "flag": rng.random(N) < 0.5,
            "count": rng.integers(0, 1000, N),
            "still": 7,
            "species": rng.choice(["cat", "dog"], N),
            "angle": rng.choice([0, 90, 180], N),
        }
    )


def save(tmp_path, table, suffix="csv"):
    path = tmp_path / f"own table.{suffix}"
    if suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    return str(path)


def store(reader, tmp_path, out="out"):
    card = write(reader.open(THIRD), tmp_path / out, name="own", split=THIRD, reference_size=4)
    return card, DataModule(tmp_path / out)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_columns_become_vectors_and_come_back(tmp_path, suffix):
    table = frame()
    card, dm = store(Table(save(tmp_path, table, suffix), label="species", factors=["angle"]), tmp_path)
    assert dm.spec.x.names == ("Masse [g]", "colour=blue", "colour=grün", "colour=red", "flag", "count", "still")
    assert card["classes"] == ["cat", "dog"]
    assert card["factors"] == {"names": ["angle"], "sizes": [3], "values": {"angle": [0, 90, 180]}}
    batch = dm.take(range(N))
    x = batch["x"].numpy()
    assert set(np.unique(x[:, 1:4])) == {0, 1}
    train = x[dm.rows("train")][:, [0, 4, 5]]
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-5)
    back = Scaling.from_dict(card["preprocessing"]["columns"]).inverse(x)
    for name in ("Masse [g]", "flag", "count", "still"):
        np.testing.assert_allclose(back[name], table[name].astype(float), rtol=1e-4, atol=1e-4)
    assert back["colour"].tolist() == table["colour"].tolist()
    assert [card["classes"][k] for k in batch["labels"]] == table["species"].tolist()
    np.testing.assert_array_equal(batch["factors"][:, 0] * 90, table["angle"])


def test_csv_and_parquet_are_the_same_data(tmp_path):
    table = frame()
    one = store(Table(save(tmp_path, table, "csv")), tmp_path, "one")[0]
    assert one["content_hash"] == store(Table(save(tmp_path, table, "parquet")), tmp_path, "two")[0]["content_hash"]


def test_added_rows_new_categories_and_duplicates_move_no_row(tmp_path):
    store(Table(save(tmp_path, frame())), tmp_path)
    before = np.load(tmp_path / "out/split.npy")
    more = frame(seed=1)
    more["colour"] = "another"
    store(Table(save(tmp_path, pd.concat([more, frame(), frame()]))), tmp_path)
    after = np.load(tmp_path / "out/split.npy")
    np.testing.assert_array_equal(after[N : 2 * N], before)
    np.testing.assert_array_equal(after[2 * N :], before)


def holed():
    table = frame()
    table.loc[11, "Masse [g]"] = np.nan
    table.loc[30, "colour"] = None
    table["Masse [g]"] = table["Masse [g]"].where(table.index != 50, np.inf)
    return table


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_empty_value_is_named_with_row_and_column_or_dropped(tmp_path, suffix):
    path = save(tmp_path, holed(), suffix)
    with pytest.raises(DataError, match=r"own table.*: row 12, column 'Masse \[g\]' is empty \(3 in all\); .* reader.missing=drop"):
        Table(path).open(THIRD)
    card, dm = store(Table(path, missing="drop"), tmp_path)
    assert [entry["item"] for entry in card["excluded"]] == ["row 12", "row 31", "row 51"]
    assert card["excluded"][1]["reason"] == "column 'colour' is empty or infinite"
    assert len(dm) == N - 3
    with pytest.raises(DataError, match="infinite"):
        Table(save(tmp_path, holed().iloc[40:], suffix)).open(THIRD)


def with_column(name, values):
    return frame().assign(**{name: values})


@pytest.mark.parametrize(
    ("table", "more", "message"),
    [
        (frame(), {"label": "breed"}, "no column 'breed'; it has Masse"),
        (frame(), {"factors": ["x"]}, "no column 'x'"),
        (
            with_column("id", [f"item {k}" for k in range(N)]),
            {},
            "column 'id' has 120 different texts, more than 64 .*reader.ignore",
        ),
        (with_column("size", [*map(str, range(N - 1)), "big"]), {}, "row 120, column 'size': 'big' is not a number"),
        (with_column("none", [np.nan] * N), {}, r"row 1, column 'none' is empty \(120 in all\)"),
        (with_column("none", [np.nan] * N), {"missing": "drop"}, "no row is left"),
        (frame(), {"label": "count"}, "look like identifiers, not classes"),
        (frame()[["species"]], {"label": "species"}, "no column is left to be observed"),
        (frame().iloc[:0], {}, "no rows"),
    ],
)
def test_faults_are_named_in_one_line(tmp_path, table, more, message):
    with pytest.raises(DataError, match=message) as caught:
        store(Table(save(tmp_path, table), **more), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_types_of_columns_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"column 'when' has type datetime64.*; columns are numbers or texts"):
        Table(save(tmp_path, with_column("when", pd.Timestamp("2020-01-01")), "parquet")).open(THIRD)


def test_files_that_are_no_tables(tmp_path):
    for name, data, message in (
        ("a.parquet", b"nonsense", "not a table that can be read"),
        ("b.csv", b"", "not a table that can be read"),
        ("c.csv", b"a,b\n1,2\n1,2,3,4\n", "not a table that can be read"),
        ("d.csv", b"\xff\xfe\x00\x81", "d.csv"),
        ("e.xlsx", b"x", "a table is a .csv, .tsv or .parquet file"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=message) as caught:
            Table(str(tmp_path / name)).open(THIRD)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="does not exist"):
        Table(str(tmp_path / "none.csv")).open(THIRD)
    with pytest.raises(DataError, match="error or drop"):
        Table("x.csv", missing="fill")
