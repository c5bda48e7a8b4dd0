"""Faults with their figures, near copies of training items, error by width."""

import json
import re

import made
import numpy as np
import pytest

from latent_atlas.report.build import build

COLLAPSE = {
    "name": "posterior collapse",
    "sentence": "6 of 10 dimensions carry less than 0.01 nats: posterior collapse; try a KL warm-up or a lower β.",
    "figures": {"dead": 6, "dimensions": 10},
    "remedy": "try a KL warm-up or a lower β",
}
HOLES = {
    "name": "holes",
    "sentence": "31 % of the prior lies in holes; draw from a density fitted to the codes, or raise β.",
    "figures": {"prior_holes": 0.31},
    "remedy": "draw from a density fitted to the codes, or raise β",
}


def page_of(root, evaluation=None, scores=None, pictures=None):
    """The text and the markup of a run's page whose evaluation has more fields, scores and pictures."""
    items = made.write_card(root)
    made.write_run(root, "digits-vae", "digits", "vae", "vae", items)
    folder = root / "evaluations" / "digits-vae"
    found = json.loads((folder / "evaluation.json").read_text()) | (evaluation or {})
    found["scores"] |= scores or {}
    (folder / "evaluation.json").write_text(json.dumps(found))
    if pictures:
        np.savez_compressed(folder / "pictures.npz", **dict(np.load(folder / "pictures.npz")), **pictures)
    build(made.section_of([("digits-vae", "digits", "vae", "vae", "", 0)]), root, root / "out")
    markup = (root / "out" / "digits-vae.html").read_text()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)), markup


def test_faults_stand_in_the_verdict_with_figures_and_remedy(tmp_path):
    verdict = COLLAPSE["sentence"] + " Keeps 75 % of the variance of held-out items."
    text, markup = page_of(tmp_path, {"verdict": verdict, "findings": [COLLAPSE, HOLES]})
    assert text.count(COLLAPSE["sentence"]) == 1  # said by the verdict, not again
    assert "Posterior collapse. dead 6 · dimensions 10" in text
    assert HOLES["sentence"] in text
    assert "prior holes 0.31" in text
    assert markup.index('class="faults"') < markup.index('id="keeps"')


@pytest.mark.parametrize("findings", [None, [], "broken", [{"name": "x"}, 3]])
def test_missing_and_damaged_findings_still_render(tmp_path, findings):
    assert 'class="faults"' not in page_of(tmp_path, {"findings": findings})[1]


def test_a_fault_without_figures_is_its_sentence(tmp_path):
    text, _ = page_of(tmp_path, {"findings": [{"sentence": "Odd.", "figures": [1], "remedy": None}]})
    assert "Fault. Odd." in text


def by_width(**parts):
    whole = {
        "widths": [0, 1, 2, 5, 10],
        "errors": [0.07, 0.05, 0.03, 0.012, 0.0119],
        "pca_widths": list(range(65)),
        "pca_errors": [0.07 * 0.9**k for k in range(65)],
        "pca_same_error": 17,
        "data": 29,
    }
    entry = made.entry("mse", 5.0) | {"metric": "error_by_width", "title": "Dimensions needed", "kind": "robustness"}
    return {"error_by_width": entry | {"parts": whole | parts}}


def test_error_by_width_is_drawn_with_pca_in_grey(tmp_path):
    text, markup = page_of(tmp_path, scores=by_width())
    assert "5 of 10 dimensions give nearly the error of all of them; PCA needs 17 components for that error" in text
    assert "29 components hold 95 % of the variance" in text
    drawn = re.search(r'<section id="widths">(.*?)</section>', markup, flags=re.S)[1]
    assert 'stroke="var(--grey)"' in drawn
    assert "5 needed" in drawn
    assert len(re.findall("<polyline", drawn)) == 2


def test_pca_that_never_reaches_the_error_is_said(tmp_path):
    assert (
        "PCA does not reach that error with 64 components" in page_of(tmp_path, scores=by_width(pca_same_error=None, data=None))[0]
    )


@pytest.mark.parametrize("broken", [{"widths": None}, {"errors": [1.0]}, {"errors": [None] * 5}])
def test_damaged_curves_leave_the_section_out(tmp_path, broken):
    assert 'id="widths"' not in page_of(tmp_path, scores=by_width(**broken))[1]


def test_without_pca_the_models_curve_stands_alone(tmp_path):
    _, markup = page_of(tmp_path, scores=by_width(pca_widths=None, pca_errors=None, pca_same_error=None))
    assert len(re.findall("<polyline", re.search(r'<section id="widths">(.*?)</section>', markup, flags=re.S)[1])) == 1


def copies(value, interval, **fields):
    pairs = [[k, 100 + k, 1.0 + k] for k in range(8)]
    entry = made.entry("fid_domain_n128", value, interval=interval, extractor="domain") | {
        "metric": "memorisation",
        "title": "Memorisation",
    }
    parts = {"pairs": pairs, "threshold": 3.5}
    return {"memorisation": entry | {"ceiling": 0.01, "floor": 1.0, "parts": parts} | fields}


def images(count=8):
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8) for name in ("memorisation_samples", "memorisation_train")}


def test_near_copies_are_two_rows_with_a_finding(tmp_path):
    text, markup = page_of(tmp_path, scores=copies(0.42, [0.35, 0.49]), pictures=images())
    assert "vae hands out training items: 42% of its samples lie as near" in text
    assert "3 of these 8 among them" in text
    drawn = re.search(r'<section id="copies">(.*?)</section>', markup, flags=re.S)[1]
    assert drawn.count("<img") == 16
    assert "nearest training item of sample 1, distance 1" in drawn


def test_chance_is_no_copying(tmp_path):
    text, _ = page_of(tmp_path, scores=copies(0.012, [0.0, 0.02]), pictures=images())
    assert "Its samples are no copies: 1.2% of its samples" in text


def test_pictures_without_the_score_and_the_score_without_pictures(tmp_path):
    assert 'id="copies"' in page_of(tmp_path / "a", pictures=images(5))[1]
    assert 'id="copies"' not in page_of(tmp_path / "b", scores=copies(0.42, [0.35, 0.49]))[1]
    assert 'id="copies"' in page_of(tmp_path / "c", scores=copies(0.42, None, parts={"pairs": [[1]]}), pictures=images())[1]
