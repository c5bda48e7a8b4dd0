"""The plan's hashes change when behaviour can change, and not otherwise."""

import textwrap
from pathlib import Path

import pytest

from latent_atlas.planning import closure as closures
from latent_atlas.planning.closure import Closures, targets

FILES = {
    "pkg/__init__.py": "def __getattr__(name):\n    from pkg import lazy\n",
    "pkg/a.py": "import numpy\nfrom pkg.b import f\n",
    "pkg/b.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg import typed\n"
        'def f():\n    """Doc."""\n    from . import late\n    return 1\n'
    ),
    "pkg/late.py": "x = 1\n",
    "pkg/lazy.py": "x = 1\n",
    "pkg/typed.py": "x = 1\n",
    "pkg/sub/__init__.py": "",
    "pkg/sub/c.py": "from ..late import x\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_follows_imports_also_inside_functions_but_not_lazy_ones_of_a_package(tree):
    found = Closures(tree).of(["pkg.a.something"])
    assert sorted(found) == ["src/pkg/__init__.py", "src/pkg/a.py", "src/pkg/b.py", "src/pkg/late.py"]


def test_follows_relative_imports(tree):
    assert "src/pkg/late.py" in Closures(tree).of(["pkg.sub.c"])


@pytest.mark.parametrize(
    ("new", "same"),
    [
        (FILES["pkg/b.py"] + "# a comment\n\n", True),
        (FILES["pkg/b.py"].replace("Doc.", "Another docstring."), True),
        (FILES["pkg/b.py"].replace('    """Doc."""\n', ""), True),
        (FILES["pkg/b.py"].replace("return 1", "return 2"), False),
    ],
)
def test_comments_and_docstrings_do_not_count(tree, new, same):
    before = Closures(tree).of(["pkg.a"])
    path = tree / "src/pkg/b.py"
    path.write_text(new)
    after = Closures(tree).of(["pkg.a"])
    assert (before == after) is same
    assert {key for key in before if before[key] != after[key]} <= {"src/pkg/b.py"}


def test_observers_are_not_followed(tree, monkeypatch):
    monkeypatch.setattr(closures, "OBSERVERS", frozenset({"pkg.late"}))
    assert "src/pkg/late.py" not in Closures(tree).of(["pkg.a"])
    (tree / "src/pkg/b.py").write_text("from pkg.late import x\n")  # by an attribute, too
    assert sorted(Closures(tree).of(["pkg.a"])) == ["src/pkg/__init__.py", "src/pkg/a.py", "src/pkg/b.py"]


def test_scripts_are_hashed_without_their_comments(tree):
    script = tree / "stage.py"
    script.write_text("import pkg.late\n")
    before = Closures(tree).of([], ["stage.py"])
    assert sorted(before) == ["src/pkg/__init__.py", "src/pkg/late.py", "stage.py"]
    script.write_text(textwrap.dedent('"""Doc."""\n# why\nimport pkg.late\n'))
    assert Closures(tree).of([], ["stage.py"]) == before


def test_targets_of_a_configuration():
    assert sorted(targets({"_target_": "a.b", "x": [{"_target_": "c"}, 1], "y": {"z": {"_target_": "d.e"}}})) == ["a.b", "c", "d.e"]


def test_the_data_card_needs_no_metric_but_those_of_its_shape():
    """Editing a metric must not prepare data anew."""
    root = Path(__file__).resolve().parents[2]
    found = Closures(root).of(["latent_atlas.data.prepare"], ["pipelines/prepare.py"])
    metrics = {Path(path).stem for path in found if path.startswith("src/latent_atlas/metrics/")}
    assert metrics == {"__init__", "distances", "dimension", "homology", "result"}
