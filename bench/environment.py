"""The peer's own environment, ``.venv.bench``: made when it is absent or its list of packages changed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WANTED = ROOT / "bench" / "requirements.txt"
FOLDER = ROOT / ".venv.bench"
MEGABYTES = 1200  # measured, with the CPU build of torch


def torch_build() -> str:
    """The very build of torch that this environment has, so that both sides run the same kernels."""
    import torch

    return str(torch.__version__)


def environment() -> Path:
    """The interpreter of ``.venv.bench``."""
    python, stamp = FOLDER / "bin" / "python", FOLDER / "installed"
    build = torch_build()
    mark = hashlib.sha256(f"{ROOT}{build}{WANTED.read_text()}".encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == mark:
        return python
    free = shutil.disk_usage(ROOT).free >> 20
    print(
        f"Installing pythae 0.1.2 and torch {build} into {FOLDER.name}: about {MEGABYTES} MB on disk, {free} MB are free.",
        flush=True,
    )
    if free < 2 * MEGABYTES:
        sys.exit(f"bench: {free} MB free in {ROOT}, about {2 * MEGABYTES} MB needed")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
    # The list names torch's public version; the build (CPU, CUDA) is the one that runs here, if pip can find it.
    attempts = ([f"torch=={build}"], [f"torch=={build.partition('+')[0]}"])
    for torch_pin in attempts:
        done = subprocess.run([str(python), "-m", "pip", "install", "-q", *torch_pin, "-r", str(WANTED)], check=False)
        if done.returncode == 0:
            break
    else:
        sys.exit("bench: pip could not install bench/requirements.txt; its message stands above")
    stamp.write_text(mark)
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file() and not path.is_symlink()) >> 20
    print(f"Installed: {size} MB in {FOLDER.name}.", flush=True)
    return python


if __name__ == "__main__":
    print(environment())
