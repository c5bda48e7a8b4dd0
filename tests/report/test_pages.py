"""What single parts of the pages say."""

import re

import made
import numpy as np
import pytest

from latent_atlas.report import charts, findings, run_page
from latent_atlas.report.build import build
from latent_atlas.report.inputs import DataSet, Run, read_page
from latent_atlas.report.markup import Markup, join, tag
from latent_atlas.report.run_page import kept_shape, space_map
from latent_atlas.report.winners import lines, winners


def plain_text(path):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8")))


def test_answer_plate_has_four_rows_and_a_next_step(digits):
    text = (digits[2] / "digits.html").read_text()
    assert len(re.findall(r'<article class="answer', text)) == 4
    assert "58% less than PCA" in text
    assert "needs labels" in text
    assert "<b>Next: </b>" in text
    assert "seed=0,1,2" in text


def test_numbers_carry_meaning_and_direction(digits):
    text = (digits[2] / "digits.html").read_text()
    for found in re.findall(r'<span class="num"[^>]*>', text):
        assert 'tabindex="0"' in found
        assert "better" in found


def test_tables_show_at_most_seven_columns(digits, tmp_path):
    items = made.write_card(tmp_path)
    scores = {f"k{i}": made.entry("mse", 1.0 + i) | {"kind": "many"} for i in range(9)}
    made.write_run(tmp_path, "digits-vae", "digits", "vae", "vae", items, scores=scores)
    build(made.section_of([("digits-vae", "digits", "vae", "vae", "", 0)]), tmp_path, tmp_path / "out")
    for page in (digits[2] / "digits.html", tmp_path / "out" / "digits.html"):
        for head in re.findall(r"<thead>(.*?)</thead>", page.read_text(), flags=re.S):
            assert head.count("<th") - head.count("<thead") <= 7


def test_one_score_from_two_origins_is_marked_and_says_what_differs(tmp_path):
    items = made.write_card(tmp_path)
    for model, likelihood in (("vae", "Gaussian"), ("beta_vae", "Bernoulli")):
        scores = {"nelbo": made.entry("nelbo", 10.0, likelihood=likelihood)}
        made.write_run(tmp_path, f"digits-{model}", "digits", model, "vae", items, scores=scores)
    section = made.section_of(
        [("digits-vae", "digits", "vae", "vae", "", 0), ("digits-beta_vae", "digits", "beta_vae", "vae", "", 0)]
    )
    build(section, tmp_path, tmp_path / "out")
    text = plain_text(tmp_path / "out" / "digits.html")
    assert "Negative ELBO, beta_vae: not ranked together with the others: likelihood differs (Gaussian, Bernoulli)" in text


def test_reasons_for_gaps_are_listed(digits):
    assert "images are 8×8: smaller than the window of 11" in plain_text(digits[2] / "digits.html")
    assert "images are 8×8: smaller than the window of 11" in plain_text(digits[2] / "digits-vae.html")


def test_a_verb_that_is_lacking_is_one_line(digits):
    assert "ae does not draw samples" in plain_text(digits[2] / "digits-ae.html")
    assert "Fitted in one pass" in plain_text(digits[2] / "digits-pca.html")


def test_receipt_gives_the_commands(digits):
    text = (digits[2] / "digits-vae.html").read_text()
    for command in (
        "dvc repro evaluate@digits-vae",
        'latent_atlas.load("digits-vae")',
        "python pipelines/encode.py run=digits-vae",
        "--run-id a1b2c3d4",
    ):
        assert command.replace('"', '"') in re.sub("&quot;", '"', text)


def test_collapse_board_counts_the_dead(digits):
    text = plain_text(digits[2] / "digits-vae.html")
    assert "7 of 10 dimensions carry something; 3 are dead" in text
    assert "no posterior, hence variance" in plain_text(digits[2] / "digits-ae.html")


def test_winners_and_console(digits):
    root, section, out = digits
    assert [found.use.name for found in winners(section, root)] == ["keep", "generate", "steer", "find"]
    printed = "\n".join(lines(read_page(section, root), out))
    for expected in ("digits-vae ", "58% less than PCA", "keep ", "needs labels", str(out / "digits.html"), "make mlflow"):
        assert expected in printed


def run_with(tmp_path, codes, **arrays):
    np.savez(tmp_path / "latents.npz", codes=codes, index=np.arange(len(codes)), **arrays)
    return Run("r", "d", "m", "vae", "", "core", 0, tmp_path, tmp_path)


def test_a_dimension_that_moves_one_factor_is_named(tmp_path):
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 10, (2000, 2))
    codes = np.stack([factors[:, 1] + 0.01 * rng.normal(size=2000), rng.normal(size=2000)], axis=1)
    run = run_with(tmp_path, codes, factors=factors)
    data = DataSet("d", tmp_path, {"factors": {"names": ["shape", "x"], "sizes": [10, 10]}})
    table, board = findings.factor_table(run), findings.board(run)
    assert table[0, 1] > 0.9
    assert table[0, 0] < 0.05
    assert "moves x and nothing else" in findings.caption(run, data, 0, board, table)
    assert "moves no known factor" in findings.caption(run, data, 1, board, table)


def test_a_dead_dimension_is_called_dead(tmp_path):
    codes = np.random.default_rng(0).normal(size=(50, 2))
    run = run_with(tmp_path, codes, kl_per_dimension=np.array([1.0, 0.001]))
    board = findings.board(run)
    assert board.active == 1
    assert board.is_kl
    assert "is dead" in findings.caption(run, DataSet("d", tmp_path), 1, board, None)


def test_the_kl_of_parts_that_are_no_dimensions_stands_beside_the_variances(tmp_path):
    codes = np.random.default_rng(0).normal(size=(50, 4))
    board = findings.board(run_with(tmp_path, codes, kl_per_dimension=np.array([3.5, 0.001])))
    assert not board.is_kl
    said = run_page.of_parts(board.parts)
    assert "the code's 2 parts, 3.5, 0.001 nats; 1 of them carry less than 0.01 nats" in said
    assert said in str(run_page.collapse(run_with(tmp_path, codes, kl_per_dimension=np.array([3.5, 0.001])))).replace("&#39;", "'")


def test_neighbours_are_the_nearest_and_counted_by_label(tmp_path):
    codes = np.array([[0.0], [0.1], [5.0], [0.2], [6.0]])
    run = run_with(tmp_path, codes, labels=np.array([1, 1, 0, 0, 0]))
    found = findings.neighbours(run, DataSet("d", tmp_path, {"witnesses": [0]}), count=2)
    assert found.items.tolist() == [0, 1, 3]
    assert "1 share its label" in findings.neighbour_caption(run, DataSet("d", tmp_path), found)


def test_front_members_are_those_nothing_beats():
    assert charts.front_members([(1, 3), (2, 2), (3, 3), (3, 1)]) == [True, True, False, True]


def test_plane_keeps_the_largest_variance():
    codes = np.random.default_rng(0).normal(size=(400, 4)) * np.array([5, 0.1, 3, 0.1])
    xy, held = findings.plane(codes)
    assert xy.shape == (400, 2)
    assert held > 0.99
    assert np.allclose(xy.var(axis=0), codes[:, [0, 2]].var(axis=0), rtol=0.05)


def test_markup_escapes_text_and_keeps_markup():
    made_of = tag("p", "a<b", tag("i", "c"), title='"x"')
    assert made_of == '<p title="&quot;x&quot;">a&lt;b<i>c</i></p>'
    assert isinstance(join([made_of]), Markup)


def test_packed_and_plain_items_are_the_same_pictures(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (10, 6, 5, 1), dtype=np.uint8)
    fields = {"image": {"kind": "image", "shape": [1, 6, 5], "size": 2}}
    for name, stored, packed in (("a", bits, False), ("b", np.packbits(bits.reshape(10, -1), axis=1), True)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "image.npy", stored)
        entry = {"file": "image.npy", "packed": packed, "shape": [6, 5, 1], "divisor": None}
        card = {"spec": {"observation": "image", "fields": fields}, "storage": {"image": entry}}
        assert np.array_equal(DataSet(name, tmp_path / name, card).items(np.array([3, 1])), bits[[3, 1]] * 255)


def test_levels_of_a_factor_have_the_cards_names(tmp_path):
    data = DataSet("d", tmp_path, {"factors": {"names": ["shape"], "values": {"shape": ["square", "heart"]}}})
    assert data.level_names("shape", np.array([0, 1])) == ["square", "heart"]
    assert data.level_names("unknown", np.array([0.25, 1])) == ["0.25", "1"]


def drawn_map(tmp_path, **latents):
    run = run_with(tmp_path, np.random.default_rng(0).normal(size=(60, 3)), **latents)
    return str(space_map(run, DataSet("d", tmp_path)))


def numbers_of(path):
    return np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), float)


def test_the_map_has_the_shape_of_its_space(tmp_path):
    turn = np.linspace(0, 2 * np.pi, 65)
    ellipse = np.stack([2 * np.cos(turn), np.sin(turn)], axis=1)
    xy = ellipse[:60] * np.linspace(0, 1, 60)[:, None]
    found = drawn_map(tmp_path, xy=xy, outline=ellipse)
    outline = numbers_of(re.search(r'd="(M[^"]*)" class="outline"', found)[1])
    dots = numbers_of(re.search(r'd="(M[^"]*)" stroke="[^"]*" class="dots"', found)[1])
    # the ellipse keeps its form, lies whole in the drawing, and holds every dot where the chart has it
    width, height = np.ptp(outline, axis=0)
    assert width == pytest.approx(2 * height, abs=0.2)
    box = [float(n) for n in re.search(r'viewBox="0 0 (\d+) (\d+)" role="img"', found).groups()]
    assert outline.min() > 0
    assert (outline.max(0) < box).all()
    scale = width / 4
    middle = (outline.max(0) + outline.min(0)) / 2
    np.testing.assert_allclose(dots, middle + xy * [scale, -scale], atol=1.1)
    assert "in the chart of their space" in found


def test_a_map_without_a_chart_is_the_plane_of_largest_variance(tmp_path):
    found = drawn_map(tmp_path)
    assert "on the plane of largest variance, which holds" in found
    assert 'class="outline"' not in found


@pytest.mark.parametrize(
    ("had", "has", "said"), [(1, 1, "and so do they"), (1, 0, "the code is torn"), (0, 0, ""), (2, 3, "knotted")]
)
def test_the_map_says_whether_the_code_kept_the_datas_loops(tmp_path, had, has, said):
    run = run_with(tmp_path, np.random.default_rng(0).normal(size=(60, 3)))
    vars(run)["scores"] = {"loops": made.entry("mse", float(has))}  # a cached property of a frozen run
    text = kept_shape(run, DataSet("d", tmp_path, {"shape": {"loops": had}}))
    assert said in text if said else text == ""
    assert kept_shape(run, DataSet("d", tmp_path)) == ""
