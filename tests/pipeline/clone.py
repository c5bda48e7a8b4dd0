"""A temporary clone of this checkout with a small ``conf/pipeline.yaml``: what the pipeline tests run in."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from latent_atlas.planning import forks, parallel

ROOT = Path(__file__).resolve().parents[2]


class Clone:
    """The working tree of this checkout in a git repository of its own, with ``dvc`` beside the running Python."""

    def __init__(self, root: Path, pipeline: str) -> None:
        self.root = root
        self.first = str(Path(sys.executable).parent)  # on the path
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split("\n")
        for name in filter(None, listed):
            if name.startswith(("reports/", "bench/", "metrics/")) or name == "dvc.lock" or not (ROOT / name).is_file():
                continue
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        (root / "conf/pipeline.yaml").write_text(pipeline, encoding="utf-8")
        self.run("git", "init", "-q", "-b", "main")
        if not (root / ".dvc").exists():
            self.run("dvc", "init", "-q")
        self.commit("start")

    @property
    def env(self) -> dict[str, str]:
        """A user's shell: the running Python first, one thread, and no variable of this project or about telemetry."""
        ours = ("LATENT_ATLAS", "MLFLOW", "DVC", "DO_NOT_TRACK", "PYTHONPATH", "VIRTUAL_ENV", "MAKE", "CI", "PYTEST")
        env = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        return env | {
            "PATH": f"{self.first}{os.pathsep}{env['PATH']}",
            "OMP_NUM_THREADS": "1",
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@localhost",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@localhost",
        }

    def run(self, *words: str, check: bool = True, **options) -> subprocess.CompletedProcess[str]:
        """A command in the clone; its whole output is shown when it fails."""
        done = subprocess.run(words, cwd=self.root, env=self.env, capture_output=True, text=True, **options)
        assert not check or done.returncode == 0, (
            f"{' '.join(words)}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
        return done

    @contextlib.contextmanager
    def preloaded(self):
        """Stages are forked from a process with their libraries loaded meanwhile, as in ``make repro``: the same, sooner."""
        if not forks.supported():
            yield
            return
        plain = self.first
        with forks.server(parallel.LOADING | self.env) as env:
            # The stages' ``python`` alone: ``dvc`` and its kin stay where they are.
            self.first = f"{env['PATH'].split(os.pathsep)[0]}{os.pathsep}{plain}"
            try:
                yield
            finally:
                self.first = plain

    def install(self) -> None:
        """What ``make install`` leaves behind, without installing: ``.venv`` with the running Python, and the stamp."""
        commands = self.root / ".venv/bin"
        commands.mkdir(parents=True)
        beside = Path(sys.executable).parent
        for name in ("python", "dvc"):
            # As an installation with ``-e .``: the clone's own source is what is imported.
            text = f'#!/bin/sh\nPYTHONPATH="{self.root}/src" exec "{beside / name}" "$@"\n'
            (commands / name).write_text(text, encoding="utf-8")
            (commands / name).chmod(0o755)
        (commands / "activate").touch()
        key = self.run("sh", "-c", "{ pwd; cat constraints.txt pyproject.toml; } | cksum | tr ' ' '-'").stdout.strip()
        (self.root / ".venv" / f".installed-{key}").touch()

    def commit(self, message: str) -> None:
        """Everything that git does not ignore, committed."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def changed(self) -> set[str]:
        """The stages that ``dvc status`` names, after ``plan`` ran: DVC's command line twice in one process."""
        code = "from dvc.cli import main; main(['repro', '-q', 'plan']) == 0 == main(['status', '--json']) or exit(1)"
        return set(json.loads(self.run(sys.executable, "-c", code).stdout.splitlines()[-1]))  # plan speaks first, where it runs

    @contextlib.contextmanager
    def edited(self, name: str, old: str, new: str):
        """The file with one text replaced, and as it was afterwards."""
        path = self.root / name
        before = path.read_text(encoding="utf-8")
        assert old in before, f"{name} has no {old!r}"
        path.write_text(before.replace(old, new, 1), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")
