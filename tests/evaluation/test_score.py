"""Scores of one's own arrays and folders: what stands in the file, and what a bad input leaves behind."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_codes import trees_in_one_process

from latent_atlas.evaluation.own_arrays import ScoreError, attempt, write_scores
from latent_atlas.evaluation.own_codes import score_codes
from latent_atlas.evaluation.own_features import score_features
from latent_atlas.metrics.result import Measured, NotApplicable

ROOT = Path(__file__).resolve().parents[2]
NAMED = {
    "mig", "sap", "sap_continuous", "dci_disentanglement", "dci_completeness", "dci_informativeness_train",
    "dci_informativeness_test", "modularity", "explicitness_train", "explicitness_test", "irs", "beta_vae_score",
    "factor_vae_score",
}  # fmt: skip
OF_FEATURES = {"fid", "kid"} | {f"{name}_k{k}" for name in ("precision", "recall", "density", "coverage") for k in (3, 5)}
RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 3, (600, 3)).astype(np.int16)
CODES = np.hstack([FACTORS + RNG.normal(0, 0.1, FACTORS.shape), RNG.normal(size=(600, 1))]).astype(np.float32)
PARITY = {
    "mus_train": CODES[:400], "factors_train": FACTORS[:400], "mus_test": CODES[400:], "factors_test": FACTORS[400:],
    "factor_sizes": np.array([3, 3, 3]),
}  # fmt: skip
TWO = {"real": RNG.normal(size=(120, 8)).astype(np.float32), "fake": RNG.normal(0.2, 1, (90, 8)).astype(np.float32)}


@pytest.fixture(autouse=True, scope="module")
def _trees():
    """For scores in this process; ``pipelines/score.py`` as a process starts its own."""
    with trees_in_one_process():
        yield


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def flat(found):
    """Asserts that a file is flat: numbers, pairs of numbers, words, and reasons."""
    for name, value in found.items():
        if name == "not_applicable":
            assert all(isinstance(reason, str) and reason for reason in value.values())
        elif name.endswith("_interval"):
            assert value[0] <= found[name.removesuffix("_interval")] <= value[1]
        else:
            assert isinstance(value, (int, float, str)), name
            assert isinstance(value, str) or math.isfinite(value), name
    assert not set(found["not_applicable"]) & set(found)
    return set(found)


OF_ATLAS = {
    "mig", "sap", "sap_continuous", "dci_disentanglement", "dci_completeness", "dci_informativeness_test", "modularity",
    "explicitness_test", "irs", "beta_vae_score", "factor_vae_score", "mig_sup", "jemmig", "infom", "infoe", "infoc",
}  # fmt: skip


def bounded(found):
    """Asserts that each score of factors stands with its interval and between its floor and its ceiling, by a named estimator."""
    for name in OF_ATLAS:
        assert found[f"{name}_floor"] < found[name], name
        assert found[name] <= found[f"{name}_ceiling"] + 0.05, name
        assert f"{name}_interval" in found, name
    assert found["mig_bins"] == 10
    # Skill over chance on both sides, so that trees that learned by heart are seen for what they are.
    assert found["dci_informativeness_test"] < found["dci_informativeness_train"] + 0.01


def score(*words):
    return subprocess.run([sys.executable, "pipelines/score.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_codes_by_the_parity_names_as_a_process(tmp_path):
    out = tmp_path / "deep er/scores.json"
    done = score(f"codes={saved(tmp_path / 'c.npz', **PARITY)}", "protocol=reference", f"out={out}")
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert flat(found) >= NAMED
    assert found["protocol"] == "reference"
    assert (found["n_train"], found["n"]) == (400, 200)
    assert found["mig"] > 0.8
    assert found["factor_vae_score"] > 0.9
    assert f"in {out}" in done.stdout


@pytest.mark.slow
def test_features_as_a_process_print_without_a_file(tmp_path):
    done = score(f"features={saved(tmp_path / 'f.npz', **TWO)}", "protocol=reference")
    assert done.returncode == 0, done.stderr
    assert flat(json.loads(done.stdout)) >= OF_FEATURES


def draw(folder, n, seed, radius=None):
    """Discs at random places of 8 × 8 px."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:8, :8]
    folder.mkdir(parents=True)
    for k in range(n):
        a, b, r = *rng.uniform(2, 6, 2), radius or rng.uniform(1.5, 3)
        image = np.where((x - a) ** 2 + (y - b) ** 2 < r * r, 220, 30) + rng.normal(0, 8, x.shape)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{k}.png")


@pytest.mark.slow
def test_folders_as_a_process_and_a_poor_folder_scores_worse(tmp_path):
    from latent_atlas.evaluation.own_features import score_folders

    draw(tmp_path / "real", 120, 0)
    draw(tmp_path / "good", 60, 1)
    draw(tmp_path / "poor", 60, 2, radius=0.8)
    (tmp_path / "good/broken.png").write_bytes(b"\x89PNG but no more")
    out = tmp_path / "scores.json"
    done = score(f"real={tmp_path / 'real'}", f"fake={tmp_path / 'good'}", "protocol=reference", f"out={out}")
    assert done.returncode == 0, done.stderr
    good = json.loads(out.read_text(encoding="utf-8"))
    assert flat(good) >= OF_FEATURES
    assert good["extractor"].startswith("domain_")
    assert (good["n_fake"], good["set_aside"], good["trained_on"]) == (60, 1, "self")
    poor = score_folders(tmp_path / "real", tmp_path / "poor", "reference")
    assert poor["extractor"] == good["extractor"]  # the same real images and seed
    assert poor["fid"] > 2 * good["fid"]
    assert poor["coverage_k5"] < good["coverage_k5"] - 0.2


@pytest.mark.parametrize("protocol", ["atlas", "reference"])
def test_codes_and_factors_alone(tmp_path, protocol):
    trees = {"atlas": None, "reference": "hist"}[protocol]
    found = score_codes(saved(tmp_path / "c.npz", codes=CODES, factors=FACTORS), protocol, estimator=trees)
    assert found["dci_disentanglement_estimator"] == trees or found["dci_disentanglement_estimator"] in ("lightgbm", "hist")
    if protocol == "atlas":
        bounded(found)
    assert flat(found) >= NAMED
    assert (found["n"], found["n_train"]) == (300, 300)
    assert ("infom" in found) == (protocol == "atlas")


def test_codes_without_factors_say_what_factors_would_add(tmp_path):
    found = score_codes(saved(tmp_path / "c.npz", codes=CODES), "reference")
    assert flat(found) >= {"total_correlation", "wasserstein_correlation", "dimension_information"}
    assert {name for name, reason in found["not_applicable"].items() if reason == "needs factors beside the codes"} >= NAMED


def test_one_dimension_and_constant_factors_are_reasons(tmp_path):
    found = score_codes(saved(tmp_path / "one.npz", codes=CODES[:, :1], factors=FACTORS), "reference", estimator="hist")
    flat(found)
    assert "two" in found["not_applicable"]["mig"]
    constant = score_codes(saved(tmp_path / "c.npz", codes=CODES, factors=np.zeros_like(FACTORS)), "reference", estimator="hist")
    assert flat(constant) & NAMED == set()
    assert "constant" in constant["not_applicable"]["sap"]


def test_the_seed_decides_and_repeats(tmp_path):
    path = saved(tmp_path / "f.npz", **TWO)
    assert score_features(path, "atlas", 3) == score_features(path, "atlas", 3)
    assert score_features(path, "atlas", 3)["kid"] != score_features(path, "atlas", 4)["kid"]  # other rows of the larger side


def test_atlas_compares_as_many_of_both_in_any_order(tmp_path):
    order = np.argsort(TWO["real"][:, 0])
    found = score_features(saved(tmp_path / "f.npz", **TWO))
    ordered = score_features(saved(tmp_path / "o.npz", real=TWO["real"][order], fake=TWO["fake"]))
    assert found["n"] == 90
    assert flat(found) >= OF_FEATURES
    assert found["fid_interval"][0] < found["fid"] < found["fid_interval"][1]
    assert found["ceiling_n"] == 60  # 120 real rows
    assert 0 < found["fid_ceiling"] < found["fid"] + 0.5
    assert {f"{name}_ceiling" for name in OF_FEATURES} <= set(found)
    for name in OF_FEATURES:  # the first 90 of ordered rows would be another distribution
        assert ordered[name] == pytest.approx(found[name], abs=0.25), name


def test_too_few_rows_are_a_reason_or_a_warning(tmp_path):
    path = saved(tmp_path / "f.npz", real=TWO["real"][:15], fake=TWO["fake"][:15])
    found = score_features(path)
    assert "15 samples are below 2·d = 16" in found["not_applicable"]["fid"]
    published = score_features(path, "reference")
    assert published["fid"] > 0
    assert "below 2·d = 16 features: most of the value is bias" in published["fid_warning"]
    assert "fid_warning" not in score_features(saved(tmp_path / "g.npz", **TWO), "reference")


def test_a_faulty_score_is_its_own_reason_and_no_nan_gets_out():
    def absent():
        raise NotApplicable("the reason")

    reasons = {}
    assert attempt(absent, {"a": ""}, reasons) == {}
    assert attempt(lambda: 1 / 0, {"b": ""}, reasons) == {}
    nan = Measured(float("nan"), (0.0, 1.0), parts={"train": 0.5})
    assert attempt(lambda: nan, {"c": "", "c_train": "train"}, reasons) == {"c_train": 0.5}
    assert attempt(lambda: Measured(1.0, (float("nan"), 2.0)), {"d": ""}, reasons) == {"d": 1.0}
    assert reasons == {"a": "the reason", "b": "failed: ZeroDivisionError: division by zero", "c": "the value is nan"}


@pytest.fixture
def command(monkeypatch):
    """pipelines/score.py in this process: its exit message for these words."""
    spec = importlib.util.spec_from_file_location("score_pipeline", ROOT / "pipelines/score.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["score.py", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            module.main()
        return stop.value.code

    return run


def spoiled(array, value=np.nan):
    array = array.astype(float)
    array[3, 1] = value
    return array


BAD_ARRAYS = {
    "no codes": ({"z": CODES}, "needed are codes"),
    "empty": ({}, "no arrays"),
    "one array missing": ({k: v for k, v in PARITY.items() if k != "mus_test"}, "mus_test missing beside mus_train"),
    "NaN": (PARITY | {"mus_test": spoiled(CODES[400:])}, "mus_test has 1 entries that are NaN or infinite"),
    "infinite": ({"codes": spoiled(CODES, np.inf)}, "codes has 1 entries that are NaN or infinite"),
    "a vector": ({"codes": CODES[:, 0]}, "codes is float32 of shape (600,)"),
    "a number": ({"codes": np.float64(3)}, "codes is float64 of shape ()"),
    "no columns": ({"codes": CODES[:, :0]}, "of shape (600, 0)"),
    "words": ({"codes": np.full((20, 2), "a")}, "codes is <U1"),
    "objects": ({"codes": np.array([[None, 1]] * 9, dtype=object)}, "not an .npz of plain arrays"),
    "few rows": ({"codes": CODES[:5]}, "codes has 5 rows; at least 8 are needed"),
    "fewer factors": ({"codes": CODES, "factors": FACTORS[:9]}, "factors has 9 rows, codes has 600"),
    "other width": (PARITY | {"mus_test": CODES[400:, :2]}, "mus_train has 4 columns, mus_test has 2"),
    "other factors": (PARITY | {"factors_test": FACTORS[400:, :2]}, "factors_train has 3 columns, factors_test has 2"),
    "sizes": (PARITY | {"factor_sizes": np.array([3, 3])}, "needed are 3 whole numbers"),
    "grid": (PARITY | {"grid_mus": CODES[:26]}, "not 4 columns for each combination"),
    "NaN in the grid": (PARITY | {"grid_mus": spoiled(CODES[:27])}, "grid_mus has 1 entries"),
}
BAD_FEATURES = {
    "no fake": ({"real": TWO["real"]}, "needed are real and fake"),
    "widths": (TWO | {"fake": TWO["fake"][:, :5]}, "real has 8 features, fake has 5"),
    "rows": (TWO | {"fake": TWO["fake"][:5]}, "fake has 5 rows; at least 6"),
    "NaN": (TWO | {"real": spoiled(TWO["real"])}, "real has 1 entries that are NaN"),
    "images": (TWO | {"real": np.zeros((20, 8, 8))}, "real is float64 of shape (20, 8, 8)"),
}


@pytest.mark.parametrize(
    ("word", "arrays", "message"),
    [(word, *case) for word, cases in (("codes", BAD_ARRAYS), ("features", BAD_FEATURES)) for case in cases.values()],
    ids=[*BAD_ARRAYS, *(f"features: {name}" for name in BAD_FEATURES)],
)
def test_bad_arrays_are_one_line_and_leave_the_old_file_alone(command, tmp_path, word, arrays, message):
    out = tmp_path / "scores.json"
    out.write_text("old", encoding="utf-8")
    said = command(f"{word}={saved(tmp_path / 'bad.npz', **arrays)}", f"out={out}")
    assert isinstance(said, str), "a message is printed and the exit is 1"
    assert message in said
    assert "\n" not in said
    assert said.startswith("score: ")
    assert out.read_text(encoding="utf-8") == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"bad.npz", "scores.json"}


def test_files_that_are_no_arrays_are_one_line(command, tmp_path):
    whole = saved(tmp_path / "whole.npz", codes=CODES).read_bytes()
    for name, content in (
        ("text.npz", b"these are words, no arrays"), ("empty.npz", b""), ("cut.npz", whole[:-300]),
        ("zip.npz", b"PK\x03\x04" + b"x" * 60),
        ("damaged.npz", whole[:200] + b"\0" * 500 + whole[700:]),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert "not an .npz of plain arrays" in command(f"codes={tmp_path / name}"), name
    np.save(tmp_path / "single.npy", CODES)
    assert "a single array without a name" in command(f"codes={tmp_path / 'single.npy'}")
    for missing in (tmp_path / "none.npz", tmp_path):
        assert "there is no such file" in command(f"features={missing}")


def test_bad_words_are_one_line(command, tmp_path):
    path = saved(tmp_path / "c.npz", codes=CODES)
    assert "protocol=paper: it is one of atlas, reference" in command(f"codes={path}", "protocol=paper")
    assert "protocol=paper" in command(f"features={saved(tmp_path / 'f.npz', **TWO)}", "protocol=paper")
    assert "dci=forest: it is one of" in command(f"codes={path}", "dci=forest")
    assert "seed=x: it is a whole number" in command(f"codes={path}", "seed=x")
    for words in ((), ("codes",), (f"codes={path}", f"features={path}"), (f"real={tmp_path}",), (f"codes={path}", "colour=red")):
        assert command(*words).startswith("usage: python pipelines/score.py")


def test_an_unwritable_file_is_said_before_the_work(command, tmp_path):
    path = saved(tmp_path / "c.npz", codes=CODES)
    (tmp_path / "file").write_text("old", encoding="utf-8")
    assert command(f"codes={path}", f"out={tmp_path}") == f"score: cannot write {tmp_path}: it is a folder"
    for out in (tmp_path / "file/a.json", tmp_path / "file/a/b.json"):
        assert command(f"codes={path}", f"out={out}") == f"score: cannot write {out}: {tmp_path / 'file'} takes no files"
    assert (tmp_path / "file").read_text(encoding="utf-8") == "old"
    with pytest.raises(ScoreError, match="cannot write"):  # and also where it turns out only in the end
        write_scores({"mig": 0.5}, tmp_path / "file/a.json")


def test_bad_folders_are_one_line(command, tmp_path):
    for name, n in (("real", 40), ("few", 3), ("none", 0)):
        draw(tmp_path / name, n, 0)
    for real, fake, message in (
        ("gone", "real", "gone"), ("real", "gone", "gone does not exist"), ("none", "real", "none"), ("real", "none", "none"),
        ("few", "real", "few"), ("real", "few", "at least 16 and 8 are needed"),
    ):  # fmt: skip
        said = command(f"real={tmp_path / real}", f"fake={tmp_path / fake}", f"out={tmp_path / 'out.json'}")
        assert isinstance(said, str)
        assert said.startswith("score: ")
        assert message in said
        assert "\n" not in said
    assert not (tmp_path / "out.json").exists()


def test_what_a_score_warns_of_stands_beside_it():
    told = attempt(lambda: Measured(0.5, parts={"warning": "not varied independently: a with b"}), {"irs": ""}, {})
    assert told == {"irs": 0.5, "irs_warning": "not varied independently: a with b"}
