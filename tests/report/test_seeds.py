"""One model over its seeds: t intervals, what cannot be told apart, UDR."""

import json
import re

import made
import numpy as np
import pytest

from latent_atlas.report import results, seeds
from latent_atlas.report.build import build
from latent_atlas.report.inputs import read_page
from latent_atlas.report.ranking import plain


def mse(value):
    return {"mse": made.entry("mse", value)}


def runs_of(values, root):
    """(page section) of {model: errors of its seeds}; the codes of the seeds of a model are the same dimensions, turned about."""
    items = made.write_card(root)
    rows = []
    for model, errors in values.items():
        for seed, error in enumerate(errors):
            run = f"digits-{model}-s{seed}"
            made.write_run(root, run, "digits", model, "vae", items, seed=seed, scores=mse(error), image=False)
            write_codes(root, run, seed)
            rows.append((run, "digits", model, "vae", f"s{seed}", seed))
    return made.section_of(rows)


def write_codes(root, run, seed, turned=True, index=None):
    base = np.random.default_rng(0).normal(size=(180, 10))
    rng = np.random.default_rng(seed)
    codes = base[:, rng.permutation(10)] * rng.choice([-1, 1], 10) if turned else rng.normal(size=(180, 10))
    kept = {"codes": codes, "index": np.arange(180) if index is None else index}
    np.savez(root / "evaluations" / run / "latents.npz", **kept)


def text_of(path):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8")))


def test_seeds_have_a_section_with_means_intervals_and_udr(tmp_path):
    section = runs_of({"a": (0.10, 0.11, 0.12), "b": (0.10, 0.12, 0.14), "c": (0.5, 0.51, 0.52), "d": (0.9,)}, tmp_path)
    build(section, tmp_path, tmp_path / "out")
    text = text_of(tmp_path / "out" / "digits.html")
    shown = re.search(r"Over seeds(.*?)Your data", text)[1]
    half = 4.302653 * 0.01 / 3**0.5
    assert f"0.11 ± {half:.2g}" in shown
    assert "a and b (at 3 seeds)" in shown
    assert "a and c" not in shown
    assert "cannot be told apart" in shown
    assert "One seed only, hence not here: d." in shown
    assert re.search(r"UDR ↑.* (0\.\d+) ± 0 chance 0\.\d+, with itself \1", shown)
    assert "cannot be told from b at 3 seeds" in text


def test_all_told_apart_is_said(tmp_path):
    build(runs_of({"a": (0.10, 0.101), "b": (0.5, 0.501)}, tmp_path), tmp_path, tmp_path / "out")
    assert "Squared error: a and b are told apart (at 2 seeds)." in text_of(tmp_path / "out" / "digits.html")


def test_one_seed_has_no_such_section(digits):
    assert "Over seeds" not in text_of(digits[2] / "digits.html")


def test_a_run_stands_beside_the_mean_of_its_seeds(tmp_path):
    build(runs_of({"a": (0.10, 0.12), "b": (0.5, 0.52)}, tmp_path), tmp_path, tmp_path / "out")
    assert "over 2 seeds 0.11 ± 0.13" in text_of(tmp_path / "out" / "digits-a-s0.html")


def test_a_page_keeps_the_agreement_of_seeds_as_json(tmp_path):
    section = runs_of({"a": (0.10, 0.11, 0.12), "b": (0.10, 0.12), "d": (0.9,)}, tmp_path)
    write_codes(tmp_path, "digits-a-s2", 2, turned=False)
    build(section, tmp_path, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "seeds.json").read_text())["digits"]
    assert set(found) == {"a", "b"}
    a = found["a"]
    assert a["interval"][0] < a["value"] < a["interval"][1]
    assert (a["status"], a["direction"], a["n"], a["seeds"]) == ("ok", "max", 180, 3)
    assert a["floor"] < a["ceiling"]
    assert a["interval_by"] == seeds.INTERVAL
    assert found["b"]["interval"] is None


def page_runs(section, root):
    return read_page(section, root).of("digits")


def test_udr_is_one_for_the_same_dimensions_and_small_for_others(tmp_path):
    section = runs_of({"a": (0.1, 0.1, 0.1)}, tmp_path)
    found = seeds.agreement(page_runs(section, tmp_path))
    assert found.value == pytest.approx(found.ceiling)  # chance correlations of 180 items keep both below 1
    assert found.value > found.floor + 0.5
    assert (found.n, found.seeds) == (180, 3)
    for seed in range(3):
        write_codes(tmp_path, f"digits-a-s{seed}", seed, turned=False)
    other = seeds.agreement(page_runs(section, tmp_path))
    assert other.value < 0.3


def test_udr_says_why_there_is_none(tmp_path):
    section = runs_of({"a": (0.1, 0.1)}, tmp_path)
    write_codes(tmp_path, "digits-a-s1", 1, index=np.arange(180) + 7)
    assert "different items" in seeds.agreement(page_runs(section, tmp_path)).reason
    (tmp_path / "evaluations" / "digits-a-s1" / "latents.npz").unlink()
    assert seeds.agreement(page_runs(section, tmp_path)).reason == "a seed has no codes"
    assert seeds.agreement(page_runs(section, tmp_path)[:1]).reason == "one seed"


def test_udr_leaves_out_dimensions_without_information(tmp_path):
    section = runs_of({"a": (0.1, 0.1)}, tmp_path)
    for seed in (0, 1):
        path = tmp_path / "evaluations" / f"digits-a-s{seed}" / "latents.npz"
        kept = dict(np.load(path))
        noise = np.random.default_rng(10 + seed).normal(size=(180, 6))
        kl = np.array([1.0] * 10 + [0.001] * 6)
        np.savez(path, codes=np.hstack([kept["codes"], noise]), index=kept["index"], kl_per_dimension=kl)
    found = seeds.agreement(page_runs(section, tmp_path))
    assert found.value == pytest.approx(found.ceiling)


def test_equal_seeds_keep_the_interval_of_the_items(tmp_path):
    items = made.write_card(tmp_path)
    for seed in (0, 1):
        scores = {"mse": made.entry("mse", 0.1, interval=[0.09, 0.11])}
        made.write_run(tmp_path, f"digits-pca-s{seed}", "digits", "pca", "classical", items, seed=seed, scores=scores, image=False)
    section = made.section_of([(f"digits-pca-s{seed}", "digits", "pca", "classical", f"s{seed}", seed) for seed in (0, 1)])
    build(section, tmp_path, tmp_path / "out")
    text = (tmp_path / "out" / "digits.html").read_text()
    assert "the same for 2 seeds; interval over items" in text


def test_results_name_the_agreement_of_seeds(tmp_path):
    section = runs_of({"a": (0.10, 0.11, 0.12), "d": (0.9,)}, tmp_path)
    text = results.write(section, tmp_path, tmp_path / "reports" / "RESULTS.md").read_text(encoding="utf-8")
    found = seeds.agreement([run for run in page_runs(section, tmp_path) if run.label == "a"])
    assert f"- a, 3 seeds: UDR ↑ {plain(found.value)} ± 0 (pairs from" in text
    assert f"chance {plain(found.floor)}, a seed with itself" in text
    assert "- d," not in text
