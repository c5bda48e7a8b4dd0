"""The tables of scores: floors, ceilings, references, intervals, provenance; what older and damaged evaluations leave out."""

import json
import re

import made
import pytest

from latent_atlas.report import bar, entries
from latent_atlas.report.build import build
from latent_atlas.report.inputs import read_page
from latent_atlas.report.run_page import LIMIT


def full(key="mse", value=0.01, **fields):
    """A score as a new evaluation writes it."""
    found = made.entry(
        key, value, interval=[value * 0.9, value * 1.1], hash="9c" * 32, estimator="plain", bins=20, seed=0, protocol="atlas"
    )
    return found | {
        "floor": 0.07,
        "ceiling": 0.0,
        "floor_by": "mean item",
        "ceiling_by": "other real items",
        "interval_by": "normal, over items",
        "references": {"PCA": 0.02, "raw observations": 0.03},
        "paper": "Someone 2020",
        **fields,
    }


def text_of(path):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8")))


def pages(root, runs, **card):
    """(page of the data, pages of the runs) of {model: scores}."""
    items = made.write_card(root, **card)
    for model, scores in runs.items():
        made.write_run(root, f"digits-{model}", "digits", model, "vae", items, scores=scores, image=False)
    section = made.section_of([(f"digits-{model}", "digits", model, "vae", "", 0) for model in runs])
    build(section, root, root / "out")
    return root / "out" / "digits.html", [root / "out" / f"digits-{model}.html" for model in runs]


def test_a_row_has_everything_that_stands_beside_a_number(tmp_path):
    _, (run,) = pages(tmp_path, {"vae": {"mse": full()}})
    table = re.search(r'<table class="score-table">(.*?)</table>', run.read_text(), flags=re.S)[1]
    assert table.count("<th scope") - 1 <= 7
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", table))
    for expected in (
        "Squared error ↓",
        "What Squared error says, in squared units of the data.",
        "0.01 ± 0.001",
        "0.07 mean item",
        "0 other real items",
        "0.02 PCA",
        "0.03 raw observations",
        "N 180",
        "split test",
        "estimator plain",
        "bins 20",
        "seed of the draws 0",
        "protocol atlas",
        "95 %, normal, over items",
        "Someone 2020",
    ):
        assert expected in text, expected
    assert 'title="normal, over items"' in table  # the interval says where it came from
    assert "9c" * 32 in table  # the whole hash, behind the cut one
    assert "86% of the way from floor to ceiling" in table


def test_headline_scores_stand_open_and_the_others_are_folded_by_kind(tmp_path):
    scores = {"mse": full(), "psnr": full("psnr", 20.0, floor=None, ceiling=None), "mig": full("mig", 0.4)}
    for page in (lambda found: [found[0], *found[1]])(pages(tmp_path, {"vae": scores})):
        body = re.search(r'<section id="scores">(.*?)</section>', page.read_text(), flags=re.S)[1]
        opened, *folded = re.split(r'<details class="scores">', body)
        assert "Squared error" in opened
        assert "MIG" in opened
        assert "PSNR" not in opened
        assert any("<b>reconstruction</b>" in one and "PSNR" in one for one in folded)
        assert not any("Squared error" in re.sub(r"<details.*", "", one) for one in folded)


def test_floor_ceiling_and_references_are_grey_rows_of_the_data_page(tmp_path):
    data, _ = pages(tmp_path, {"vae": {"mse": full()}, "ae": {"mse": full(value=0.03, floor=0.08)}})
    grey = re.findall(r'<tr class="grey">(.*?)</tr>', data.read_text(), flags=re.S)
    rows = [re.sub(r"<[^>]+>", " ", one).split() for one in grey]
    assert rows[0] == ["ceiling", "0", "other", "real", "items"]
    assert rows[1][:4] == ["floor", "0.07", "to", "0.08"]  # of models of different width
    assert ["PCA,", "same", "width", "0.02"] in rows


def test_the_differing_field_is_said_and_the_number_marked(tmp_path):
    runs = {"a": {"mig": full("mig", 0.2)}, "b": {"mig": full("mig", 0.9)}, "c": {"mig": full("mig", 0.3)}}
    runs["b"]["mig"]["provenance"] |= {"n": 500}
    data, _ = pages(tmp_path, runs)
    text = text_of(data)
    assert "MIG, b: not ranked together with the others: n differs (180, 500)" in text
    assert "not ranked with b: n differs (180, 500)" in text  # beside the winner, too
    assert "<strong>0.9</strong>" not in data.read_text()


def test_the_protocol_is_part_of_the_key(tmp_path):
    runs = {"a": {"mig": full("mig", 0.2)}, "b": {"mig": full("mig", 0.9)}}
    runs["b"]["mig"]["provenance"] |= {"protocol": "reference"}
    assert "protocol differs (atlas, reference)" in text_of(pages(tmp_path, runs)[0])


def test_frechet_distances_of_different_n_are_not_ranked_together(tmp_path):
    fid = {"metric": "fid", "kind": "fidelity", "title": "FID (domain_3c9d12ab, N = 128)"}
    other = full("fid_domain_n128", 3.0, **(fid | {"title": "FID (domain_3c9d12ab, N = 500)"}))
    other["provenance"] |= {"n": 500}
    runs = {"a": {"fid_domain_n128": full("fid_domain_n128", 9.0, **fid)}, "b": {"fid_domain_n500": other}}
    text = text_of(pages(tmp_path, runs)[0])
    assert "FID (domain, N = 128) and FID (domain, N = 500): not ranked together: n differs (180, 500)" in text


def test_what_a_model_decides_is_no_part_of_the_key(tmp_path):
    runs = {"a": {"mig": full("mig", 0.2)}, "b": {"mig": full("mig", 0.9)}}
    for alive, scores in zip((3, 5), runs.values(), strict=True):
        del scores["mig"]["provenance"]["hash"]  # with an extractor they would be its own
        scores["mig"]["provenance"] |= {"dimensions": alive}
    assert "not ranked together" not in text_of(pages(tmp_path, runs)[0])


def test_bold_only_where_the_interval_separates(tmp_path):
    near, far = full(value=0.0100), full(value=0.0105)
    data, _ = pages(tmp_path, {"a": {"mse": near}, "b": {"mse": far}})
    assert "<strong>" not in data.read_text()
    data, _ = pages(tmp_path / "apart", {"a": {"mse": near}, "b": {"mse": full(value=0.05)}})
    assert "<strong>0.01</strong>" in data.read_text()


def test_missing_scores_are_grouped_by_reason(tmp_path):
    late = "left out at budget quick: it runs from standard on"
    scores = {
        "mse": full(),
        "mig": made.entry("mig", reason="needs factors"),
        "ssim": made.entry("ssim", reason=late),
        "psnr": made.entry("psnr", reason=late),
        "rate": made.entry("rate", reason="ValueError: the value is nan", status="failed"),
    }
    data, (run,) = pages(tmp_path, {"vae": scores})
    for page in (data, run):
        text = text_of(page)
        assert re.search(r"runs from standard: (SSIM, PSNR|PSNR, SSIM)", text)
        assert "failed (ValueError: the value is nan): Rate" in text
        assert "needs factors: MIG" in text
        assert "A table of factors beside the items would add 1 score: MIG." in text


def test_failed_scores_are_named_in_the_open(tmp_path):
    failed = made.entry("psnr", reason="ValueError: odd", status="failed")
    data, (_, run) = pages(tmp_path, {"a": {"mse": full()}, "b": {"mse": full(), "psnr": failed}})
    assert "1 score failed for b: PSNR." in text_of(data)
    assert "1 score failed: PSNR." in text_of(run)


def test_labels_that_are_there_are_not_asked_for(tmp_path):
    scores = {"mse": full(), "knn_accuracy": made.entry("knn_accuracy", reason="needs labels")}
    assert "would add" not in text_of(pages(tmp_path, {"vae": scores}, labels=True)[0])
    assert "Labels, one class for each item, would add 1 score" in text_of(pages(tmp_path / "x", {"vae": scores}, labels=False)[0])


def test_an_older_evaluation_still_renders(tmp_path):
    old = made.entry("mse", 0.01)
    for name in ("floor", "ceiling", "parts", "interval", "meaning"):
        del old[name]
    data, (run,) = pages(tmp_path, {"vae": {"mse": old}})
    assert "0.01" in text_of(run)
    assert "0.01" in text_of(data)


@pytest.mark.parametrize(
    "broken",
    [
        {"interval": [0.1]},
        {"interval": ["a", None]},
        {"floor": "high", "ceiling": True},
        {"references": [1, 2], "provenance": None, "parts": None},
        {"references": {"PCA": None, "raw": "x"}, "direction": "sideways", "unit": None, "kind": None, "title": None},
        {"interval_by": None, "floor_by": None, "paper": None, "meaning": None},
    ],
)
def test_damaged_fields_cost_themselves_alone(tmp_path, broken):
    data, (run,) = pages(tmp_path, {"vae": {"mse": full(**broken), "mig": full("mig", 0.4)}})
    assert "0.01" in text_of(run)
    assert "MIG" in text_of(data)


def test_a_value_that_is_no_number_is_a_gap(tmp_path):
    _, (run,) = pages(tmp_path, {"vae": {"mse": full(), "mig": full("mig", 0.4) | {"value": None}, "odd": "no entry"}})
    assert "no reason given: MIG" in text_of(run)
    assert not entries.ok({"status": "ok", "value": float("nan")})


def test_the_page_of_many_scores_keeps_to_its_size(tmp_path):
    scores = {f"k{i}": full(title=f"Score {i}", meaning="What it says. " * 8) for i in range(80)}
    _, (run,) = pages(tmp_path, {"vae": scores})
    assert run.stat().st_size <= LIMIT


def place(value, **fields):
    entry = full(value=value, **fields)
    return bar.words(entry, value, None)


def test_a_bar_never_flatters():
    assert place(0.035) == "50% of the way from floor to ceiling"
    assert place(0.07) == "no better than its floor"
    assert place(0.09) == "worse than its floor"
    assert bar.words(full(), 0.09, (0.08, 0.1)) == "worse than its floor"
    assert place(-0.01) == "beyond its ceiling"
    assert "says nothing" in place(0.5, floor=0.9, ceiling=0.8, direction="max")
    assert bar.bar(full(floor=0.9, ceiling=0.8, direction="max"), 0.5, None, "red") is None
    assert bar.bar(full(ceiling=None), 0.5, None, "red") is None
    assert bar.words(full(), 0.06, (0.05, 0.08)) == "cannot be told from its floor"
    assert bar.words(full(ceiling=0.01), 0.012, (0.009, 0.015)) == "cannot be told from its ceiling"
    assert 'fill="var(--paper)"' in bar.bar(full(), 0.08, None, "red")
    assert 'fill="red"' in bar.bar(full(), 0.01, None, "red")


def test_distances_over_orders_of_magnitude_are_logarithmic():
    distance = {"kind": "fidelity", "unit": "squared feature units", "floor": 1000.0, "ceiling": 10.0}
    assert bar.words(full(**distance), 100.0, None) == "50% of the way from floor to ceiling, on a logarithmic scale"
    assert 'class="rail log"' in bar.bar(full(**distance), 100.0, None, "red")
    assert "logarithmic" not in bar.words(full(**distance | {"ceiling": 1e-9}), 100.0, None)
    assert "logarithmic" not in bar.words(full(**distance | {"unit": "1", "floor": 1.0, "ceiling": 0.01}), 0.1, None)


def test_scores_are_read_once(tmp_path):
    items = made.write_card(tmp_path)
    made.write_run(tmp_path, "digits-vae", "digits", "vae", "vae", items)
    run = read_page(made.section_of([("digits-vae", "digits", "vae", "vae", "", 0)]), tmp_path).runs[0]
    assert run.scores is run.scores
    path = run.evaluation_folder / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scores": None}))
    again = read_page(made.section_of([("digits-vae", "digits", "vae", "vae", "", 0)]), tmp_path).runs[0]
    assert again.scores == {}
