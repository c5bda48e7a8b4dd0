"""The page as a whole: links, addresses, sizes, what happens to missing and broken inputs."""

import html.parser
import json
import re
import shutil
from urllib.parse import unquote, urldefrag

import made
import numpy as np
import pytest

from latent_atlas.report.build import build
from latent_atlas.report.inputs import ReportError
from latent_atlas.report.run_page import LIMIT

VOID = {"img", "meta", "link", "br", "hr", "input"}


class Reader(html.parser.HTMLParser):
    """Collects ids, addresses, pictures and headings, and checks that tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.pictures, self.open, self.names = [], [], [], [], set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]
        if tag == "img":
            self.pictures.append(attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def pages(out):
    found = {path.name: Reader(path.read_text(encoding="utf-8")) for path in out.glob("*.html")}
    assert found
    return found


def text_of(path):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8")))


def check_links(out):
    readers = pages(out)
    for name, reader in readers.items():
        assert reader.open == [], name
        assert len(reader.ids) == len(set(reader.ids)), name
        for link in reader.links:
            if link.startswith("data:"):
                continue
            assert not re.match(r"[a-z]+:|//", link), f"{name} leads out of the report: {link}"
            address, anchor = urldefrag(link)
            assert not address or (out / unquote(address)).is_file(), f"{name}: {link}"
            if anchor:
                assert anchor in (readers[unquote(address)] if address else reader).ids, f"{name}: {link}"


def test_every_link_resolves_and_none_leaves(digits):
    check_links(digits[2])


def test_files_are_the_plans_runs_and_data(digits):
    _, section, out = digits
    expected = {"index.html", "digits.html"} | {f"{entry['run']}.html" for entry in section["runs"]}
    assert {path.name for path in out.glob("*.html")} == expected


def test_no_network_in_styles_or_script(digits):
    for path in digits[2].rglob("*"):
        if path.suffix in (".css", ".js"):
            assert "http" not in path.read_text()
            assert "@import" not in path.read_text()


def test_run_pages_keep_to_their_size(digits):
    for entry in digits[1]["runs"]:
        assert (digits[2] / f"{entry['run']}.html").stat().st_size <= LIMIT


def test_large_pictures_are_cut_down_to_the_limit_and_it_is_said(tmp_path):
    rng = np.random.default_rng(0)
    items = rng.integers(0, 256, (400, 64, 64, 3), dtype=np.uint8)
    made.write_card(tmp_path, "photos", items=items)
    made.write_run(tmp_path, "photos-vae", "photos", "vae", "vae", items[:, :, :, :])
    section = made.section_of([("photos-vae", "photos", "vae", "vae", "", 0)], "photos")
    build(section, tmp_path, tmp_path / "out")
    page = tmp_path / "out" / "photos-vae.html"
    assert page.stat().st_size <= LIMIT
    assert re.search(r"The \d+ of 10 that carry most are drawn|Pictures here are shrunk", text_of(page))


def test_index_of_one_data_set_goes_on_and_stands_alone(digits):
    text = (digits[2] / "index.html").read_text()
    assert 'content="0; url=digits.html"' in text
    assert "assets/" not in text


def test_index_of_two_data_sets_stays(tmp_path):
    one, two = made.digits(tmp_path, made.MODELS[:2]), made.digits(tmp_path, made.MODELS[:3], name="other")
    build({"page": "core", "runs": one["runs"] + two["runs"]}, tmp_path, tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    assert "refresh" not in text
    assert "digits.html" in text
    assert "other.html" in text
    check_links(tmp_path / "out")


def test_pictures_grow_by_whole_pixels_and_have_words(digits):
    for reader in pages(digits[2]).values():
        for picture in reader.pictures:
            assert picture.get("alt")
            if picture["src"].startswith("data:"):
                assert int(picture["width"]) % 8 == 0
                assert int(picture["height"]) % 8 == 0


def test_no_section_is_empty(digits):
    for path in digits[2].glob("*.html"):
        for body in re.findall(r"<section.*?</h2>(.*?)</section>", path.read_text(), flags=re.S):
            assert len(re.sub(r"<[^>]+>", "", body).strip()) > 20


def test_missing_evaluation_is_named_with_its_command(tmp_path):
    section = made.digits(tmp_path, made.MODELS[:3])
    shutil.rmtree(tmp_path / "evaluations" / "digits-vae")
    build(section, tmp_path, tmp_path / "out")
    assert "dvc repro evaluate@digits-vae" in text_of(tmp_path / "out" / "digits.html")
    assert not (tmp_path / "out" / "digits-vae.html").exists()
    check_links(tmp_path / "out")


def test_nothing_evaluated_yet_is_still_a_page(tmp_path):
    section = made.section_of([("digits-vae", "digits", "vae", "vae", "", 0)])
    build(section, tmp_path, tmp_path / "out")
    assert "no run of this data set has been evaluated yet" in text_of(tmp_path / "out" / "digits.html")
    check_links(tmp_path / "out")


def test_folders_outside_the_plan_are_not_shown(tmp_path):
    section = made.digits(tmp_path, made.MODELS[:3])
    section["runs"] = section["runs"][:2]
    build(section, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out" / "digits-vae.html").exists()
    assert "vae" not in text_of(tmp_path / "out" / "digits.html")


@pytest.mark.parametrize("name", ["evaluation.json", "latents.npz", "pictures.npz"])
def test_broken_input_leaves_the_old_page(tmp_path, name):
    section = made.digits(tmp_path, made.MODELS[:2])
    out = tmp_path / "reports" / "digits"
    build(section, tmp_path, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    broken = tmp_path / "evaluations" / "digits-ae" / name
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(ReportError, match=rf"digits-ae/{name}.*dvc repro evaluate@digits-ae"):
        build(section, tmp_path, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in out.parent.iterdir()] == ["digits"]


def test_building_twice_gives_the_same_bytes(digits, tmp_path):
    root, section, out = digits
    build(section, root, tmp_path / "again")
    for path in out.rglob("*"):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(out)).read_bytes() == path.read_bytes()


def vectors(root):
    rng = np.random.default_rng(0)
    items = rng.normal(size=(400, 12)).astype(np.float32)
    made.write_card(root, "cells", kind="vector", labels=False, items=items)
    for model, family in made.MODELS[:3]:
        made.write_run(root, f"cells-{model}", "cells", model, family, items, image=False)
    return made.section_of([(f"cells-{model}", "cells", model, family, "", 0) for model, family in made.MODELS[:3]], "cells")


def test_vectors_make_a_page_without_images(tmp_path):
    build(vectors(tmp_path), tmp_path, tmp_path / "out")
    check_links(tmp_path / "out")
    readers = pages(tmp_path / "out")
    assert all(not reader.pictures for reader in readers.values())
    assert "needs labels" in text_of(tmp_path / "out" / "cells.html")
    assert "svg" in readers["cells-vae.html"].names
    # Neighbours are held-out items, drawn as profiles.
    assert 'class="profile"' in (tmp_path / "out" / "cells.html").read_text()


def test_hostile_names_are_text(tmp_path):
    section = made.digits(tmp_path, made.MODELS[:2])
    path = tmp_path / "data" / "digits" / "card.json"
    card = json.loads(path.read_text())
    card |= {"title": "<script>alert(1)</script>", "excluded": [{"item": 'a"><b>.png', "reason": "& odd"}]}
    path.write_text(json.dumps(card))
    build(section, tmp_path, tmp_path / "out")
    text = (tmp_path / "out" / "digits.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>.png" not in text
    check_links(tmp_path / "out")
