"""The Makefile's own logic, with a stand-in for Python that writes down how it is called: nothing is installed here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "awk", "cat", "cksum", "tr", "df", "du", "rm", "touch", "tail", "uname", "git", "find", "chmod", "mkdir", "cp")

# Answers like a Python 3.13 whose pip would take the CPU build of torch, or the one in $CUDA; `-m venv` puts it into .venv/bin.
STAND_IN = """#!/bin/sh
[ "$1" = -c ] && { case "$2" in *ensurepip*) exit ${NO_VENV:-0};; *json*) cat .venv/.torch.json;; esac; exit 0; }
[ "$1" = --version ] && { echo Python 3.13.9; exit 0; }
echo "$*" >> "$CALLS"
[ -n "$PYTHONDONTWRITEBYTECODE" ] && echo "compiles each time" >> "$CALLS"
case "$*" in
  "-m venv --clear .venv") rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python;;
  *--dry-run*)
    [ -n "$OFFLINE" ] && { echo "no route to host" >&2; exit 1; }
    echo "torch-2.13.0${CUDA:-+cpu}-linux.whl" > .venv/.torch.json;;
  *"-e ."*) exit ${PIP_FAILS:-0};;
esac
"""
GOOD, BROKEN = STAND_IN, "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"


class Checkout:
    """A directory with a blank and an umlaut in its name that holds the Makefile, and a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin = folder / "my clöne", folder / "bin"
        self.calls = folder / "calls"
        for each in (self.root, self.bin):
            each.mkdir()
        for name in ("Makefile", "constraints.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def python(self, name: str, text: str = GOOD) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def make(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        env = {"PATH": str(self.bin), "CALLS": str(self.calls), "HOME": os.environ["HOME"], "LATENT_ATLAS_FREE_MB": "99999"} | env
        return subprocess.run([shutil.which("make"), *words], cwd=self.root, env=env, capture_output=True, text=True)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_help_is_the_default_and_lists_every_target_and_variable(checkout):
    shown = checkout.make().stdout
    targets = re.findall(r"(?m)^\.PHONY: (\w+)", (ROOT / "Makefile").read_text())
    assert {"repro", "test", "lint", "format", "bench", "mlflow", "report", "study", "clean"} <= set(targets)
    assert all(re.search(rf"make {target} ", shown) for target in set(targets) - {"database"})
    assert all(f"{name}=" in shown for name in ("DATA", "NAME", "TRAINER", "TORCH_INDEX", "PYTHON"))
    assert checkout.called() == []


def test_it_keeps_to_old_make_and_plain_sh():
    code = "\n".join(line for line in (ROOT / "Makefile").read_text().splitlines() if not line.startswith("#"))
    for word in ("flock", "nproc", r"\btimeout\b", "sed -i", r"\.ONESHELL", r"\[\[", "!=", "readlink -f", "realpath", r"\$\(file"):
        assert not re.search(word, code.replace('" != "', " differs ")), word


def test_a_first_call_says_what_it_downloads_and_a_second_does_nothing(checkout):
    checkout.python("python3.12")
    done = checkout.make("install")
    assert done.returncode == 0, done.stderr
    assert re.search(r"Python 3\.13\.9, torch for CPU: about 500 MB to download, .* 99999 MB are free", done.stdout)
    steps = checkout.called()
    assert steps[0] == "-m venv --clear .venv"
    assert [step for step in steps if "pip install" in step and "--dry-run" not in step] == [
        "-m pip install --no-compile -c constraints.txt torch",
        "-m pip install --no-compile -q -c constraints.txt -e .",
    ]
    assert checkout.make("install").returncode == 0
    assert checkout.called() == []


def test_what_python_compiles_it_keeps_whatever_the_shell_says(checkout):
    checkout.python("python3.13")
    subprocess.run(["git", "init", "-q"], cwd=checkout.root, check=True)
    done = checkout.make("repro", PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stderr
    assert "pipelines/repro.py pages=digits,core jobs=" in checkout.called()
    assert "compiles each time" not in checkout.called()


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_another_pin_installs_again_into_the_same_environment(checkout, name):
    checkout.python("python3.11")
    checkout.make("install")
    with (checkout.root / name).open("a") as file:
        file.write("# changed\n")
    assert checkout.make("install").returncode == 0
    assert [call for call in checkout.called() if "-e ." in call]
    assert not [call for call in checkout.called() if call.startswith("-m venv")]


def test_a_moved_checkout_gets_a_new_environment(checkout, tmp_path):
    checkout.python("python3")
    checkout.make("install")
    checkout.root = checkout.root.rename(tmp_path / "elsewhere")
    assert checkout.make("install").returncode == 0
    assert checkout.called()[0] == "-m venv --clear .venv"


def test_a_failed_installation_is_not_taken_for_a_finished_one(checkout):
    checkout.python("python3")
    assert checkout.make("install", PIP_FAILS="1").returncode != 0
    assert checkout.make("install").returncode == 0
    assert [call for call in checkout.called() if "-e ." in call]


def test_a_shim_that_only_prints_an_error_is_passed_over(checkout):
    checkout.python("python3.13", BROKEN)
    checkout.python("python", GOOD)
    assert checkout.make("install").returncode == 0


@pytest.mark.parametrize("names", [[], ["python3.13", "python3"]])
def test_without_a_python_one_line_says_what_to_install(checkout, names):
    for name in names:
        checkout.python(name, BROKEN)
    done = checkout.make("repro")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1
    assert "No Python 3.11, 3.12 or 3.13 found. Install one" in said[0]
    assert not (checkout.root / ".venv").exists()


def test_a_given_python_that_does_not_fit_is_named_and_not_replaced(checkout):
    checkout.python("python3.12", GOOD)
    done = checkout.make("install", "PYTHON=/no/such python")
    assert done.returncode != 0
    assert "PYTHON=/no/such python is not one" in done.stderr


def test_a_python_without_venv_is_named(checkout):
    checkout.python("python3")
    done = checkout.make("install", NO_VENV="1")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr


def test_too_little_disk_stops_before_anything_is_installed(checkout):
    checkout.python("python3")
    done = checkout.make("install", LATENT_ATLAS_FREE_MB="600")
    assert done.returncode != 0
    assert "Not enough disk: 600 MB free" in done.stderr
    assert not [call for call in checkout.called() if "pip install" in call and "--dry-run" not in call]
    assert checkout.make("install").returncode == 0


def test_a_cuda_build_needs_more_room_and_the_way_around_it_is_said(checkout):
    checkout.python("python3")
    done = checkout.make("install", CUDA="-cp313-manylinux", LATENT_ATLAS_FREE_MB="5000")
    assert "torch for CUDA: about 3300 MB" in done.stdout
    assert "TORCH_INDEX=" in done.stdout
    assert done.returncode != 0


def test_without_a_network_it_says_so(checkout):
    checkout.python("python3")
    done = checkout.make("install", OFFLINE="1")
    assert done.returncode != 0
    assert "is there a network" in done.stderr
    assert "no route to host" in done.stderr


def test_another_index_replaces_the_build_of_torch_once(checkout):
    checkout.python("python3")
    checkout.make("install")
    with (checkout.root / "constraints.txt").open("a") as file:
        file.write("# so that it installs again\n")
    checkout.make("install", "TORCH_INDEX=file:///a place/simple")
    calls = checkout.called()
    assert "-m pip uninstall -qy torch" in calls
    install = "-m pip install --no-compile -c constraints.txt --extra-index-url file:///a place/simple torch"
    assert install in calls
    with (checkout.root / "constraints.txt").open("a") as file:
        file.write("# and again, from the same index without being told\n")
    checkout.make("install")
    assert install in checkout.called()
    assert "-m pip uninstall -qy torch" not in checkout.called()


def test_a_new_pin_needs_little_room_where_all_else_is_installed(checkout):
    checkout.python("python3")
    checkout.make("install")
    with (checkout.root / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert checkout.make("install", LATENT_ATLAS_FREE_MB="600").returncode == 0


def test_a_directory_that_is_no_clone_is_named(checkout):
    checkout.python("python3")
    done = checkout.make("repro", GIT_CEILING_DIRECTORIES=str(checkout.root.parent))
    assert done.returncode != 0
    assert "is not a git clone" in done.stderr


def test_clean_takes_stage_outputs_and_leaves_the_users_files(checkout):
    made = [
        "plan/a.yaml",
        "data/digits/card.json",
        "models/digits-vae/train.json",
        "reports/build/core/index.html",
        ".mypy_cache/x",
    ]
    mine = [
        "data/my pictures/a.png",
        "models/notes.txt",
        "work/mlflow.db",
        "multirun/1/0/x",
        ".venv/x",
        "reports/RESULTS.md",
        "conf/x",
    ]
    for name in [*made, *mine]:
        (checkout.root / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout.root / name).write_text("x")
    for name in ("src", "pipelines", "tests", "bench"):
        (checkout.root / name / "__pycache__").mkdir(parents=True)
    (checkout.root / "data/digits").chmod(0o555)
    done = checkout.make("clean")
    assert done.returncode == 0, done.stderr
    assert not any((checkout.root / name).exists() for name in made)
    assert all((checkout.root / name).exists() for name in mine)
    assert all(f"removing {name}" in done.stdout for name in ("plan", "data/digits", "models/digits-vae", "reports/build"))
    assert not list(checkout.root.rglob("__pycache__"))
