"""``make study NAME=<study>``: the sweep of ``conf/experiment/<study>.yaml``, then what ``bench/studies/<study>.py`` says of it.

A study that was stopped goes on: the sweep has a directory of its own under ``multirun/studies``, where finished jobs are not done
again and an unfinished one resumes at its last checkpoint. ``python bench/study.py name=<study> [summary=only]``
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))


def summarizer(name: str) -> ModuleType:
    """``bench/studies/<name>.py``, which has ``summarize(sweep, out, minutes) -> str``."""
    path = ROOT / "bench" / "studies" / f"{name}.py"
    known = sorted(each.stem for each in path.parent.glob("*.py"))
    if name not in known or not (ROOT / "conf" / "experiment" / f"{name}.yaml").is_file():
        sys.exit(f"study: no study {name!r}; there is {', '.join(known)}")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sweep(name: str, folder: Path) -> float:
    """Runs the jobs that are not done yet; gives the minutes it took. A failed job ends the study, after the others."""
    started = time.monotonic()
    command = [sys.executable, "pipelines/train.py", "-m", f"+experiment={name}", f"hydra.sweep.dir={folder}"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    if done.returncode:
        sys.exit(f"study: a job of {name} failed, see above; `make study NAME={name}` goes on where it stopped")
    return (time.monotonic() - started) / 60


def main() -> None:
    given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    if len(given) != len(sys.argv) - 1 or not {"name"} <= set(given) <= {"name", "summary"}:
        sys.exit("usage: python bench/study.py name=<study> [summary=only]")
    name = given["name"]
    module, folder = summarizer(name), ROOT / "multirun" / "studies" / name
    minutes = None if given.get("summary") == "only" else sweep(name, folder.relative_to(ROOT))
    out = ROOT / "reports" / "studies" / name
    print(module.summarize(folder, out, minutes))
    print(f"written to {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
