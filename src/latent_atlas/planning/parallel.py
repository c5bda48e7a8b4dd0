"""Pages of the pipeline with stages side by side that do not wait for each other: ``dvc repro`` alone runs one after another.

DVC stays who decides, runs and records: each chain of stages is a ``dvc repro --single-item`` of its own, as DVC's documentation of
``repro`` advises for parallel work, and its lock lets one at a time plan and record while the others' commands run. A plain
``dvc repro`` of every page ends it, which finds nothing left to do, or does it.

On Linux the stages are forked from a process that has their libraries loaded (``forks``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_atlas.planning import forks
from latent_atlas.planning.plan import read_pipeline
from latent_atlas.training.tracking import QUIET

MOST = 4  # processes: each holds torch and a data set
# As the stages set it for themselves: some libraries read it when they are loaded.
LOADING = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"} | QUIET
NOISE = ("Updating lock file", "To track the changes", "\tgit add", "\tdvc config", "To enable auto", "Use `dvc push`")


@dataclass(frozen=True)
class Chain:
    """Stages that one process runs in turn, after other chains (by their first stage)."""

    stages: tuple[str, ...]
    after: frozenset[str]


def chains(pipeline: Mapping[str, Any], pages: Sequence[str]) -> list[Chain]:
    """What the pages need, each chain once, the first page's first and every chain behind what it waits for."""
    found: dict[str, Chain] = {}

    def add(stages: tuple[str, ...], after: Iterable[str]) -> str:
        found.setdefault(stages[0], Chain(stages, frozenset(after)))
        return stages[0]

    def run_of(run: str) -> str:
        entry = pipeline["runs"][run]
        waits = [add((f"prepare@{entry['data']}", f"features@{entry['data']}"), ())]
        kind, _, name = entry["needs"].partition("/")
        if kind == "models":
            waits.append(run_of(name))
        return add((f"train@{run}", f"evaluate@{run}"), waits)

    for page in pages:
        scores = f"{pipeline['reports'][page]['scores']}/"
        own = [
            run_of(run) for run, entry in pipeline["runs"].items() if f"metrics/{entry['tier']}/{entry['data']}/".startswith(scores)
        ]
        add((f"report@{page}",), own)
    return list(found.values())


def workers(pipeline: Mapping[str, Any]) -> int:
    """One process for each core, at most ``MOST``; one where an accelerator does the work."""
    if not on_cpu(pipeline):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST, cores)


def on_cpu(pipeline: Mapping[str, Any]) -> bool:
    return pipeline["trainer"] in ("cpu", "smoke")


def repro(root: Path, pages: Sequence[str], jobs: int | None = None) -> int:
    """Brings the pages up to date; the exit code of DVC.

    Args:
        root: the checkout.
        pages: of conf/pipeline.yaml, the first wanted first.
        jobs: processes at once; by default as ``workers`` says.
    """
    pipeline = read_pipeline(root)
    targets = [f"report@{page}" for page in pages]
    changed = stale(root, targets)
    if not changed:
        print("Data and pipelines are up to date.")
        return 0
    with forks.server(LOADING | environment()) if on_cpu(pipeline) and forks.supported() else nullcontext(environment()) as env:
        if code := dvc(root, "repro", "plan", env=env):
            return code
        jobs = jobs or workers(pipeline)
        if jobs > 1 and (changed := stale(root, targets)):
            code = side_by_side(root, changed_only(chains(pipeline, pages), changed), jobs, env)
        # A call for each page: in one, DVC goes kind of stage by kind of stage, and the first page would come last.
        for target in targets:
            code = code or dvc(root, "repro", target, env=env)
        return code


def stale(root: Path, targets: Sequence[str]) -> set[str]:
    """The stages that differ from what dvc.lock records, up to the targets: the first of each path, since DVC looks no further."""
    done = subprocess.run(
        [*DVC, "status", "--json", "--with-deps", *targets],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"plan"}  # not even that: the plain repro says what is wrong
    return set(json.loads(done.stdout.splitlines()[-1]))


def changed_only(every: Sequence[Chain], changed: set[str]) -> list[Chain]:
    """The chains with a changed stage, and those that wait for one of them."""
    found: dict[str, Chain] = {}
    for chain in every:
        if changed & set(chain.stages) or chain.after & set(found):
            found[chain.stages[0]] = Chain(chain.stages, chain.after)
    return [Chain(chain.stages, chain.after & frozenset(found)) for chain in found.values()]


def side_by_side(root: Path, waiting: list[Chain], jobs: int, env: Mapping[str, str] | None = None) -> int:
    """Runs chains, the first that is ready first; after a failure no more begin. The exit code of the first that failed."""
    running: dict[str, tuple[Chain, subprocess.Popen[str], threading.Thread]] = {}
    open_, code, turn = {chain.stages[0] for chain in waiting}, 0, threading.Condition()

    def begin(chain: Chain) -> None:
        words = [*DVC, "--wait-for-lock", "repro", "--single-item", *chain.stages]
        process = subprocess.Popen(
            words, cwd=root, env=env or environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        reader = threading.Thread(target=follow, args=(process, turn), daemon=True)
        running[chain.stages[0]] = chain, process, reader
        reader.start()

    before = signal.signal(signal.SIGTERM, _stop)
    try:
        while waiting or running:
            ready = [chain for chain in waiting if not chain.after & open_] if not code else []
            for chain in ready[: jobs - len(running)]:
                waiting.remove(chain)
                begin(chain)
            if not running:
                break
            with turn:
                turn.wait_for(lambda: any(not reader.is_alive() for _, _, reader in running.values()), timeout=1)
            for name, (chain, process, reader) in list(running.items()):
                if not reader.is_alive():
                    del running[name]
                    open_.discard(name)
                    if process.wait() and not code:
                        code = process.returncode
                        print(f"{', '.join(chain.stages)}: failed, see above; nothing more is begun", flush=True)
    finally:
        for _, process, _ in running.values():
            end(process)
        signal.signal(signal.SIGTERM, before)
    return code


def follow(process: subprocess.Popen[str], turn: threading.Condition) -> None:
    """Shows what a process says, less DVC's advice about the lock file, which holds for all at once."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() and not line.startswith(NOISE) and not line.endswith("didn't change, skipping\n"):
            print(line, end="", flush=True)
    with turn:
        turn.notify()


def end(process: subprocess.Popen[str]) -> None:
    """Stops DVC and the stage that it runs, which then writes its checkpoint."""
    import psutil

    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        member.terminate()
    psutil.wait_procs(family, timeout=60)


def dvc(root: Path, *words: str, env: Mapping[str, str]) -> int:
    """The exit code of a DVC command whose output is shown."""
    return subprocess.call([*DVC, *words], cwd=root, env=env)


def environment() -> dict[str, str]:
    """That of the stages: their ``python`` is this one, also where its environment is not activated."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _stop(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


DVC = (sys.executable, "-m", "dvc")
