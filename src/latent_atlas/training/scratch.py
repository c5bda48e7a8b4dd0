"""The scratch directory of one training: what lets a killed run go on where it was."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from latent_atlas import workspace


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for, and holds, a lock file; the kernel frees it however this process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class BusyError(RuntimeError):
    """Another process trains the same run."""


def fingerprint(section: Mapping[str, Any], data_hash: str, first_stage: str | None = None) -> str:
    """Hash of everything that decides the weights: the train section of the plan, the data's content, the first stage's weights."""
    content = json.dumps([section, data_hash, first_stage], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class Scratch:
    """``work/runs/<run>-<fingerprint>/``: last.ckpt, best.pt, mlflow.json, and a lock that is held while training.

    The lock is the kernel's and goes with the process, however it ends.
    """

    def __init__(self, run: str, mark: str) -> None:
        self.folder = workspace.work() / "runs" / f"{run}-{mark}"
        self.checkpoint = self.folder / "last.ckpt"
        self.best = self.folder / "best.pt"
        self.mlflow = self.folder / "mlflow.json"
        self._lock: int | None = None

    def __enter__(self) -> Scratch:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._lock, 32).decode() or "unknown"
            os.close(self._lock)
            raise BusyError(f"{self.folder.name} is being trained by process {holder}; wait for it, or end it") from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Removes everything: only after the outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def set_aside(self, path: Path) -> Path:
        """Renames an unreadable file so that it is neither used nor lost."""
        for number in range(100):
            aside = path.with_name(f"{path.name}.unreadable{number or ''}")
            if not aside.exists():
                break
        path.rename(aside)
        return aside
