import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from latent_atlas.data.inspect import inspect, reference_size, slug, split_for
from latent_atlas.data.prepare import prepare
from latent_atlas.data.reader import DataError

RNG = np.random.default_rng(0)


def picture(path, shape):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, shape, np.uint8)).save(path)


def prepared(found, tmp_path):
    """The suggested file must work as it is, through YAML."""
    conf = yaml.safe_load(yaml.safe_dump(found.conf))
    return prepare({"name": found.name, "data": conf}, tmp_path / "data" / found.name)


def test_a_folder_of_photographs(tmp_path):
    path = tmp_path / "Fotos Müller 2024"
    for k in range(40):
        picture(path / ("Äpfel" if k % 2 else "Birnen") / f"{k}.jpg", (80 + k % 3, 120, 3))
    (path / "Äpfel/notes.txt").write_text("x")
    found = inspect(path)
    assert (found.kind, found.name, found.n, found.shape, found.observation) == (
        "image_folder",
        "fotos_mueller_2024",
        40,
        (3, 64, 64),
        "image",
    )
    assert found.classes == ("Birnen", "Äpfel")
    assert found.set_aside == [("Äpfel/notes.txt", "not an image that Pillow reads")]
    assert found.conf["reader"]["fit"] == "crop"  # half as wide again as high
    assert found.conf["provides"] == {"observation": "image", "fields": ["labels"]}
    assert any("resized to 64×64" in note for note in found.notes)
    assert any("need 128 held-out items; of 40 about 8" in note for note in found.notes)
    card = prepared(found, tmp_path)
    assert card["spec"]["fields"]["image"]["shape"] == [3, 64, 64]
    assert sum(card["spec"]["sizes"].values()) == 40


@pytest.mark.parametrize(
    ("shapes", "size", "shape"),
    [
        ([(28, 28)], None, (1, 28, 28)),
        ([(8, 8)], None, (1, 8, 8)),
        ([(40, 40)], 32, (1, 32, 32)),
        ([(30, 30), (31, 31)], 28, (1, 28, 28)),
        ([(20, 20)], 28, (1, 28, 28)),
        ([(500, 400), (300, 200)], 64, (1, 64, 64)),
    ],
)
def test_the_size_follows_the_images(tmp_path, shapes, size, shape):
    for k in range(30):
        picture(tmp_path / "own" / f"{k}.png", shapes[k % len(shapes)])
    found = inspect(tmp_path / "own")
    assert found.conf["reader"]["size"] == size
    assert found.shape == shape
    prepared(found, tmp_path)


def test_a_table_in_the_folder_is_found(tmp_path):
    for k in range(30):
        picture(tmp_path / "own" / f"{k}.png", (8, 8))
    (tmp_path / "own/other.csv").write_text("a,b\n1,2\n")
    pd.DataFrame({"file": [f"{k}.png" for k in range(30)], "angle": np.arange(30) % 3}).to_csv(
        tmp_path / "own/truth.csv", index=False
    )
    found = inspect(tmp_path / "own")
    assert found.factors == {"angle": 3}
    assert found.conf["reader"]["table"] == str(tmp_path / "own/truth.csv")
    assert [item for item, _ in found.set_aside] == ["other.csv"]
    assert prepared(found, tmp_path)["factors"]["names"] == ["angle"]


def test_arrays(tmp_path):
    np.savez(tmp_path / "Meßwerte.npz", x=RNG.normal(size=(300, 5)), labels=np.arange(300) % 3)
    found = inspect(tmp_path / "Meßwerte.npz")
    assert (found.kind, found.name, found.n, found.shape, found.classes) == ("arrays", "messwerte", 300, (5,), ("0", "1", "2"))
    prepared(found, tmp_path)


def test_a_table(tmp_path, monkeypatch):
    frame = pd.DataFrame(
        {"id": range(200), "code": [f"c{k}" for k in range(200)], "mass": RNG.normal(size=200), "Species": ["a", "b"] * 100}
    )
    frame.loc[7, "mass"] = None
    frame.to_csv(tmp_path / "my table.csv", index=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = inspect("~/my table.csv")
    assert (found.kind, found.name, found.n, found.shape) == ("table", "my_table", 199, (1,))
    assert found.classes == ("a", "b")
    reader = found.conf["reader"]
    assert (reader["label"], reader["ignore"], reader["missing"]) == ("Species", ["id", "code"], "drop")
    assert len(found.set_aside) == 1
    assert sum("identifier" in note for note in found.notes) == 2
    prepared(found, tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Fotos Müller.2024", "fotos_mueller_2024"),
        ("café & más", "cafe_mas"),
        ("数据", "own_data"),
        ("x-1", "x_1"),
        ("Füße", "fuesse"),
    ],
)
def test_slug(tmp_path, name, expected):
    (tmp_path / name).mkdir()
    assert slug(tmp_path / name) == expected
    assert slug(tmp_path / f"{name}.csv") == expected


def test_the_reference_fits_into_test():
    rng = np.random.default_rng(0)
    for n in (100, 1000, 5000, 19_999, 100_000):
        split = split_for(n)
        held_out = rng.binomial(n, split.test, 1000)
        assert (held_out >= reference_size(n, split)).mean() > 0.95
    assert reference_size(1_000_000, split_for(1_000_000)) == 5000


def test_what_is_no_data(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("x")
    for name, message in (
        ("none", "does not exist"),
        ("empty", "no images in this folder"),
        ("a.txt", "own data is a folder of images"),
    ):
        with pytest.raises(DataError, match=message):
            inspect(tmp_path / name)
