import numpy as np
import pytest
from PIL import Image

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.image_folder import ImageFolder
from latent_atlas.data.pictures import Pictures, UnreadableError, flat
from latent_atlas.data.reader import DataError
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write

HALF = Split(0.0, 0.4)


def save(path, array, mode=None, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **more)
    return path


def noise(seed, shape=(8, 8)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def folder(tmp_path, n=12, shape=(8, 8), name="Bilder für Zoë"):
    for k in range(n):
        save(tmp_path / name / ("a" if k % 2 else "b ä") / f"{k:02}.png", noise(k, shape))
    return tmp_path / name


def store(reader, tmp_path):
    card = write(reader.open(HALF), tmp_path / "out", name="own", split=HALF, reference_size=2)
    return card, DataModule(tmp_path / "out")


def test_pixels_labels_and_names_arrive_in_the_order_of_names(tmp_path):
    path = folder(tmp_path)
    card, dm = store(ImageFolder(str(path)), tmp_path)
    assert card["classes"] == ["a", "b ä"]
    assert dm.spec.x.shape == (1, 8, 8)
    ids = [f"a/{k:02}.png" for k in range(1, 12, 2)] + [f"b ä/{k:02}.png" for k in range(0, 12, 2)]
    import json

    assert json.loads((tmp_path / "out/ids.json").read_text()) == ids
    batch = dm.take(range(12))
    assert batch["labels"].tolist() == [0] * 6 + [1] * 6
    for row, name in enumerate(ids):
        np.testing.assert_array_equal(batch["image"][row, 0].numpy() * 255, noise(int(name[-6:-4])).astype(np.float32))


def test_every_mode_of_image(tmp_path):
    """Grey, RGB, RGBA, palette, 1 bit, 16 bits, float, CMYK: what arrives is what the mode means."""
    path, grey, colour = tmp_path / "modes", noise(0), noise(1, (8, 8, 3))
    alpha = np.dstack([colour, np.where(np.arange(8) < 4, 0, 255)[None].repeat(8, 0).astype(np.uint8)])
    palette = Image.fromarray(colour).quantize(256)
    save(path / "grey.png", grey)
    save(path / "rgb.png", colour)
    save(path / "rgba.png", alpha)
    palette.save(path / "palette.png")
    save(path / "bits.png", (grey > 127).astype(np.uint8) * 255, "1")
    save(path / "deep.png", grey.astype(np.uint16) * 257)
    save(path / "float.tiff", (grey / 255).astype(np.float32))
    save(path / "cmyk.tiff", colour, "CMYK")
    card, dm = store(ImageFolder(str(path)), tmp_path)
    assert card["excluded"] == []
    ids = ["bits", "cmyk", "deep", "float", "grey", "palette", "rgb", "rgba"]
    images = dict(zip(ids, np.rint(dm.take(range(8))["image"].permute(0, 2, 3, 1).numpy() * 255).astype(int), strict=True))
    for name in ("grey", "deep", "float"):
        np.testing.assert_array_equal(images[name], np.dstack([grey] * 3), err_msg=name)
    np.testing.assert_array_equal(images["rgb"], colour)
    np.testing.assert_array_equal(images["rgba"][:, 4:], colour[:, 4:])
    assert (images["rgba"][:, :4] == 255).all()  # transparent shows the white background
    np.testing.assert_array_equal(images["palette"], np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(images["bits"], np.dstack([(grey > 127) * 255] * 3))
    np.testing.assert_array_equal(images["cmyk"], colour)


def test_grey_stored_as_rgb_is_grey_and_channels_can_be_chosen(tmp_path):
    path = tmp_path / "grey"
    for k in range(6):
        save(path / f"{k}.png", np.dstack([noise(k)] * 3))
    assert store(ImageFolder(str(path)), tmp_path)[1].spec.x.shape == (1, 8, 8)
    save(path / "6.png", noise(7, (8, 8, 3)))
    assert store(ImageFolder(str(path)), tmp_path)[1].spec.x.shape == (3, 8, 8)
    assert store(ImageFolder(str(path), channels=1), tmp_path)[1].spec.x.shape == (1, 8, 8)
    with pytest.raises(DataError, match="1, 3 or auto"):
        ImageFolder(str(path), channels=4).open(HALF)


def odd_folder(tmp_path):
    path = folder(tmp_path)
    (path / "a/empty.png").write_bytes(b"")
    (path / "a/notes.txt").write_text("hello")
    whole = save(tmp_path / "whole.png", noise(99, (64, 64))).read_bytes()
    small = (path / "a/01.png").read_bytes()
    (path / "a/cut.png").write_bytes(small[:-30])
    (path / "a/.hidden").write_text("not counted")
    assert len(whole) > len(small)
    return path


def test_odd_files_are_listed_and_the_rest_goes_on(tmp_path):
    card, dm = store(ImageFolder(str(odd_folder(tmp_path))), tmp_path)
    reasons = {entry["item"]: entry["reason"] for entry in card["excluded"]}
    assert set(reasons) == {"a/empty.png", "a/notes.txt", "a/cut.png"}
    assert reasons["a/empty.png"] == "empty file"
    assert reasons["a/notes.txt"] == "not an image that Pillow reads"
    assert reasons["a/cut.png"].startswith("broken image")
    assert len(dm) == 12


def test_strict_makes_an_odd_file_fatal_by_name(tmp_path):
    path = odd_folder(tmp_path)
    with pytest.raises(DataError, match=r"2 of 15 files cannot be used, the first: a/empty.png: empty file; strict=true"):
        ImageFolder(str(path), strict=True).open(HALF)
    for name in ("empty.png", "notes.txt"):
        (path / "a" / name).unlink()
    with pytest.raises(DataError, match=r"a/cut.png: broken image"):  # a header that is whole, pixels that are not
        store(ImageFolder(str(path), strict=True), tmp_path)
    assert not (tmp_path / "out").exists()


def test_sizes(tmp_path):
    path = folder(tmp_path, 4)
    save(path / "a/wide.png", noise(5, (8, 20)))
    with pytest.raises(DataError, match=r"sizes differ, a/01.png is 8×8 and a/wide.png is 20×8; set reader.size"):
        ImageFolder(str(path)).open(HALF)
    for size, shape in ((6, (1, 6, 6)), ([5, 7], (1, 5, 7))):
        for fit in ("resize", "crop"):
            assert store(ImageFolder(str(path), size=size, fit=fit), tmp_path)[1].spec.x.shape == shape
    for size in ("big", 0, [1, 2, 3], [4.5, 2]):
        with pytest.raises(DataError, match="number of pixels"):
            ImageFolder(str(path), size=size)


def test_resizing_is_antialiased_and_cropping_keeps_the_middle(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (32, 16))  # one pixel wide: without antialiasing all black or all white
    small = Pictures((8, 8), 1).read(save(tmp_path / "s.png", stripes))
    assert np.abs(small.astype(int) - 128)[:, 1:-1].max() < 30
    wide = np.full((8, 24), 9, np.uint8)
    wide[:, 8:16] = 200
    np.testing.assert_array_equal(Pictures((8, 8), 1, "crop").read(save(tmp_path / "w.png", wide)), np.full((8, 8, 1), 200))


def test_rotation_in_the_metadata_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "turned/t.jpg", np.repeat(noise(0, (4, 1)), 12, 1), exif=exif)
    assert Pictures(None, 1).read(path).shape == (12, 4, 1)
    assert ImageFolder(str(path.parent)).open(HALF).fields["image"].field.shape == (1, 12, 4)


def test_floats_outside_the_unit_interval_are_refused():
    with pytest.raises(UnreadableError, match="lie outside 0 to 1"):
        flat(Image.fromarray(np.full((4, 4), 3.0, np.float32)))


def test_no_folder_no_images(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        ImageFolder(str(tmp_path / "none")).open(HALF)
    with pytest.raises(DataError, match="is not a folder"):
        ImageFolder(str(save(tmp_path / "one.png", noise(0)))).open(HALF)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in this folder"):
        ImageFolder(str(tmp_path / "empty")).open(HALF)
    (tmp_path / "empty/a.txt").write_text("x")
    with pytest.raises(DataError, match=r"no images in this folder; the first: a\.txt: not an image"):
        ImageFolder(str(tmp_path / "empty")).open(HALF)
    with pytest.raises(DataError, match="auto, folders or null"):
        ImageFolder(str(tmp_path), labels="name")


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder(tmp_path, name="my pictures")
    assert ImageFolder("~/my pictures").open(HALF).total == 12


def test_folder_labels(tmp_path):
    for part in ("train", "test"):
        for k in range(4):
            save(tmp_path / "parts" / part / f"class {k % 2}" / "deep" / f"{part}{k}.png", noise(k))
    assert store(ImageFolder(str(tmp_path / "parts")), tmp_path)[0]["classes"] == ["class 0", "class 1"]
    assert "labels" not in ImageFolder(str(tmp_path / "parts"), labels=None).open(HALF).fields
    save(tmp_path / "flat/1.png", noise(0))
    assert "labels" not in ImageFolder(str(tmp_path / "flat")).open(HALF).fields
    with pytest.raises(DataError, match="two or more folders"):
        ImageFolder(str(tmp_path / "flat"), labels="folders").open(HALF)


def test_table_of_labels_and_factors(tmp_path):
    path = folder(tmp_path)
    lines = [f"{'a' if k % 2 else 'b ä'}/{k:02}.png,{'odd' if k % 2 else 'even'},{k % 3},{k / 7}" for k in reversed(range(12))]
    (path / "truth.csv").write_text("file,label,third,angle\n" + "\n".join(lines))
    card, dm = store(ImageFolder(str(path), table=str(path / "truth.csv")), tmp_path)
    assert card["excluded"] == []
    assert card["classes"] == ["even", "odd"]
    assert card["factors"] == {"names": ["third", "angle"], "sizes": [3, 0], "values": {"third": [0, 1, 2]}}
    batch = dm.take(range(12))
    numbers = [*range(1, 12, 2), *range(0, 12, 2)]
    assert batch["labels"].tolist() == [k % 2 for k in numbers]
    np.testing.assert_allclose(batch["factors"].numpy(), [[k % 3, k / 7] for k in numbers], rtol=1e-6)


def test_table_rows_and_images_without_each_other(tmp_path):
    path = folder(tmp_path, 6)
    table = tmp_path / "labels.csv"
    table.write_text("name,label\n" + "\n".join(f"{k:02},{k % 2}" for k in [0, 1, 2, 3, 4, 77]))
    card, dm = store(ImageFolder(str(path), table=str(table)), tmp_path)
    assert {entry["item"]: entry["reason"] for entry in card["excluded"]} == {
        "77": "named in labels.csv, but no such image",
        "a/05.png": "not in labels.csv",
    }
    assert len(dm) == 5
    with pytest.raises(DataError, match=r"77: named in labels\.csv, but no such image; strict=true"):
        ImageFolder(str(path), table=str(table), strict=True).open(HALF)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nx1.png,0\nx2.png,1\n", r"none of its 2 names is an image in .* \(such as 'x1.png'\)"),
        ("file\n00.png\n", "at least one of labels or factors"),
        ("file,label\n00.png,0\n00,1\n", "rows 1 and 2 both name b ä/00.png"),
        ("file,label\n00.png,0\n01.png,\n", r"row 2, column 'label' is empty \(1 in all\)"),
        ("file,label\n00.png,0.5\n01.png,1\n", "labels such as 0.5 are not classes"),
        ("", "not a CSV table"),
    ],
)
def test_faults_of_a_table_are_named(tmp_path, text, message):
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        ImageFolder(str(folder(tmp_path, 4)), table=str(table)).open(HALF)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="does not exist"):
        ImageFolder(str(tmp_path / "Bilder für Zoë"), table=str(tmp_path / "none.csv")).open(HALF)


def test_a_folder_of_broken_images_is_one_line(tmp_path):
    for k in range(3):
        whole = save(tmp_path / f"b/{k}.png", noise(k))
        whole.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"the first: 0.png: broken image"):
        store(ImageFolder(str(tmp_path / "b")), tmp_path)
    assert not (tmp_path / "out").exists()
