"""``make study NAME=<study>``: the sweep of ``conf/experiment/<study>.yaml``, then what ``bench/studies/<study>.py`` says of it.

A study that was stopped goes on: the sweep has a directory of its own under ``multirun/studies``, where finished jobs are not done
again and an unfinished one resumes at its last checkpoint. ``<study>_full`` is the protocol of a longer budget or a GPU, read by
the same module; a module's ``NEEDS`` names the studies whose jobs it reads too.

``python bench/study.py name=<study> [summary=only] [data=mnist data.reader.folder=<folder>]``: other data go to a directory with
their name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
FULL = "_full"


def summarizer(name: str) -> ModuleType:
    """``bench/studies/<name>.py``, which has ``summarize(sweep, out, minutes) -> str``; that of the short study for a full one."""
    base = name.removesuffix(FULL)
    stems = {each.stem for each in (ROOT / "bench" / "studies").glob("*.py")}
    known = sorted(each.stem for each in (ROOT / "conf" / "experiment").glob("*.yaml") if each.stem.removesuffix(FULL) in stems)
    if name not in known:
        sys.exit(f"study: no study {name!r}; there is {', '.join(known)}")
    from comparing import neighbour

    return neighbour(base)


def sweep(name: str, folder: Path, overrides: list[str]) -> float:
    """Runs the jobs that are not done yet; gives the minutes it took. A failed job ends the study, after the others."""
    started = time.monotonic()
    command = [sys.executable, "pipelines/train.py", "-m", f"+experiment={name}", *overrides, f"hydra.sweep.dir={folder}"]
    running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    signal.signal(signal.SIGTERM, lambda number, frame: running.terminate())  # the sweep ends its workers, then this ends too
    if running.wait():
        sys.exit(f"study: a job of {name} failed, see above; `make study NAME={name}` goes on where it stopped")
    return (time.monotonic() - started) / 60


def main() -> None:
    own = [word for word in sys.argv[1:] if word.startswith(("data=", "data."))]
    words = [word for word in sys.argv[1:] if word not in own]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if len(given) != len(words) or not {"name"} <= set(given) <= {"name", "summary"}:
        sys.exit("usage: python bench/study.py name=<study> [summary=only] [data=<data set> data.<key>=<value> ...]")
    name = given["name"]
    module = summarizer(name)
    label = "".join(f"-{word.removeprefix('data=')}" for word in own if word.startswith("data="))
    needed = [f"{each}{FULL * name.endswith(FULL)}" for each in getattr(module, "NEEDS", ())]
    minutes = None
    if given.get("summary") != "only":
        minutes = sum(sweep(each, Path("multirun/studies") / f"{each}{label}", own) for each in [*needed, name])
    out = ROOT / "reports" / "studies" / f"{name}{label}"
    print(module.summarize(ROOT / "multirun" / "studies" / f"{name}{label}", out, minutes))
    print(f"written to {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
