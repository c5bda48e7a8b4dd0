"""Only comparable numbers are ranked, and a winner says what it cannot be told from."""

import made
import pytest

from latent_atlas.report.inputs import read_page
from latent_atlas.report.ranking import USES, against, differing, groups, missing_reason, plain, winner

KEEP, GENERATE, STEER, FIND = USES


def page_of(root, runs, labels=None, factors=None):
    """runs: (name, model, family, tag, seed, scores)."""
    items = made.write_card(root, "d", factors=factors, labels=labels is not None)
    for name, model, family, _, seed, scores in runs:
        made.write_run(root, name, "d", model, family, items, seed=seed, scores=scores, labels=labels)
    section = made.section_of([(name, "d", model, family, tag, seed) for name, model, family, tag, seed, _ in runs], "d")
    return read_page(section, root)


def mse(value, half=None, **provenance):
    return {"mse": made.entry("mse", value, interval=[value - half, value + half] if half else None, **provenance)}


def test_different_provenance_is_never_ranked_together(tmp_path):
    fid = "fid_domain_n128"
    runs = [
        ("d-a", "a", "vae", "", 0, {fid: made.entry(fid, 5.0, hash="one")}),
        ("d-b", "b", "vae", "", 0, {fid: made.entry(fid, 1.0, hash="two")}),
        ("d-c", "c", "vae", "", 0, {fid: made.entry(fid, 4.0, hash="one")}),
    ]
    page = page_of(tmp_path, runs)
    found = groups(page.of("d"), fid)
    assert [[one.label for one in group.candidates] for group in found] == [["c", "a"], ["b"]]
    best = winner(page.of("d"), GENERATE, page.data["d"])
    assert best.best.label == "c"
    assert any("not ranked with b: hash differs (one, two)" in note for note in best.notes())


def test_the_differing_field_is_named():
    assert differing({"n": 1, "extractor": "a"}, {"n": 2, "extractor": "a"}) == "n differs (1, 2)"


def test_direction_decides_the_order(tmp_path):
    runs = [(f"d-{m}", m, "vae", "", 0, {"mig": made.entry("mig", value)}) for m, value in (("a", 0.1), ("b", 0.4), ("c", 0.2))]
    page = page_of(tmp_path, runs)
    assert [one.label for one in groups(page.of("d"), "mig")[0].candidates] == ["b", "c", "a"]


def test_overlapping_intervals_cannot_be_told_apart(tmp_path):
    runs = [
        ("d-a", "a", "vae", "", 0, mse(0.10, 0.02)),
        ("d-b", "b", "vae", "", 0, mse(0.11, 0.02)),
        ("d-c", "c", "vae", "", 0, mse(0.3, 0.02)),
    ]
    page = page_of(tmp_path, runs)
    found = winner(page.of("d"), KEEP, page.data["d"])
    assert found.indistinguishable() == ["b"]
    assert not found.group.separated()


def test_no_interval_is_said_and_never_bold(tmp_path):
    page = page_of(tmp_path, [("d-a", "a", "vae", "", 0, mse(0.1)), ("d-b", "b", "vae", "", 0, mse(0.2))])
    found = winner(page.of("d"), KEEP, page.data["d"])
    assert "one seed: no interval" in found.notes()
    assert not found.group.separated()


def test_seeds_are_one_candidate_with_a_t_interval(tmp_path):
    runs = [(f"d-a-s{seed}", "a", "vae", f"s{seed}", seed, mse(value)) for seed, value in ((1, 0.1), (2, 0.2), (3, 0.3))]
    runs.append(("d-b", "b", "vae", "", 0, mse(0.5)))
    page = page_of(tmp_path, runs)
    first = groups(page.of("d"), "mse")[0].candidates[0]
    assert first.value == pytest.approx(0.2)
    half = 4.302653 * 0.1 / 3**0.5  # Student's t of 2 degrees of freedom
    assert first.interval == pytest.approx((0.2 - half, 0.2 + half))
    assert first.source == "95 % t interval over 3 seeds"
    assert len(first.runs) == 3


def test_tags_other_than_seeds_are_models_of_their_own(tmp_path):
    runs = [("d-a", "a", "vae", "", 0, mse(0.1)), ("d-a-wide", "a", "vae", "wide", 0, mse(0.2))]
    page = page_of(tmp_path, runs)
    assert [one.label for one in groups(page.of("d"), "mse")[0].candidates] == ["a", "a · wide"]


def test_missing_labels_and_factors_are_the_reason(tmp_path):
    page = page_of(tmp_path, [("d-a", "a", "vae", "", 0, mse(0.1))])
    runs, data = page.of("d"), page.data["d"]
    assert missing_reason(runs, STEER, data).startswith("needs labels")
    assert missing_reason(runs, FIND, data).startswith("needs labels")


def test_against_pca(tmp_path):
    page = page_of(tmp_path, [("d-pca", "pca", "classical", "", 0, mse(0.2)), ("d-a", "a", "vae", "", 0, mse(0.1))])
    found = winner(page.of("d"), KEEP, page.data["d"])
    assert against(found.best, found.group.baseline, "") == "50% less than PCA"
    assert against(found.group.baseline, found.group.baseline, "") == "nothing beats the linear baseline"


def test_no_ratio_to_a_baseline_that_is_the_identity(tmp_path):
    """A code as wide as the data: PCA's error is rounding."""
    wide = {"mse": mse(0.1)["mse"] | {"floor": 0.2, "references": {"PCA": 2e-14}}}
    page = page_of(tmp_path, [("d-a", "a", "vae", "", 0, wide)])
    assert against(winner(page.of("d"), KEEP, page.data["d"]).best, None, "") == "PCA of this width is exact"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.01234, "0.0123"), (12345, "12,345"), (-0.5, "−0.5"), (1.5e-7, "1.50×10⁻⁷"), (999.6, "1,000")]
)
def test_numbers_for_reading(value, text):
    assert plain(value) == text
