"""The house keeps its floors: imports go down only, heavy libraries live in one place, starts are light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from drawn import write_data
from test_loading import trained

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src/latent_atlas"
MODULES = sorted(SRC.rglob("*.py"))
FLOORS = {
    "data": 1, "spaces": 1, "nets": 2, "models": 3, "metrics": 4, "operations": 4, "training": 5, "evaluation": 5,
    "report": 6, "explore": 6,
}  # fmt: skip
ONLY_IN = {
    "pytorch_lightning": ("training/",),
    "mlflow": ("training/tracking.py", "training/pyfunc.py"),
    "hydra": ("planning/", "training/sweep.py"),
    "dvc": (),
}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_go_down_only(path):
    floor = FLOORS.get(path.relative_to(SRC).parts[0])
    if floor is None:
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "latent_atlas" and len(parts) > 1 and parts[1] in FLOORS:
            assert FLOORS[parts[1]] <= floor, f"{path.relative_to(ROOT)} (floor {floor}) imports {name}"


@pytest.mark.parametrize("library", ONLY_IN)
def test_heavy_libraries_live_in_one_place(library):
    users = [path for path in MODULES if any(name.split(".")[0] == library for name in imports(path))]
    strangers = [str(path.relative_to(SRC)) for path in users if not str(path.relative_to(SRC)).startswith(ONLY_IN[library])]
    assert strangers == []


def test_packages_import_none_of_their_members():
    for path in SRC.rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {getattr(node, "module", None) or node.names[0].name for node in top}
        assert names <= {"__future__", "typing"}, f"{path}: every start would pay for {names}"


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sorted(m for m in sys.modules if '.' not in m))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_importing_the_package_alone_is_light():
    assert not loaded_by("import latent_atlas") & {"torch", "mlflow", "hydra", "pytorch_lightning", "dvc", "numpy"}


def test_loading_needs_no_pipeline_libraries(tmp_path):
    """A model is loaded and used, not just ``load`` imported."""
    trained(tmp_path / "run", write_data(tmp_path / "data", "image", n=20, shape=(1, 8, 8)))
    loaded = loaded_by(f"import latent_atlas; latent_atlas.load({str(tmp_path / 'run')!r}).sample(1)")
    assert "torch" in loaded
    assert not loaded & {"mlflow", "hydra", "omegaconf", "pytorch_lightning", "lightning", "dvc"}


def test_planning_needs_no_torch():
    """All of conf/pipeline.yaml, planned."""
    code = f"from pathlib import Path; from latent_atlas.planning.plan import plans; assert plans(Path({str(ROOT)!r}))"
    assert not loaded_by(code) & {"torch", "mlflow", "pytorch_lightning"}


def test_scripts_are_thin():
    for path in (ROOT / "pipelines").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, f"{path.name}: logic belongs to the package"


def test_files_hold_one_idea():
    long = {str(path.relative_to(ROOT)): n for path in MODULES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}


def test_conf_of_a_model_has_its_name():
    import yaml

    for path in (ROOT / "conf/model").glob("*.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["name"] == path.stem
