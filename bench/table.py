"""Results as a table on the screen and JSON on disk, with the machine that they hold for."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The processor, its vector units, its load just now and the versions that matter."""
    from importlib.metadata import version

    import torch

    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
        name = next((line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "")
    except OSError:
        name, cpuinfo = platform.processor(), ""
    return {
        "cpu": name or platform.machine(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": bfloat16(cpuinfo),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "pytorch-lightning", "mlflow")},
    }


def bfloat16(cpuinfo: str) -> str:
    """What the processor has for bfloat16."""
    flags = set(next((line for line in cpuinfo.splitlines() if line.startswith(("flags", "Features"))), "").split())
    kinds = {
        "amx_bf16": "AMX tiles for bfloat16",
        "avx512_bf16": "AVX-512 with bfloat16 instructions",
        "avx512bw": "AVX-512 without bfloat16 instructions: oneDNN converts to float32 and back",
        "bf16": "Arm's bfloat16 instructions",
    }
    return next((words for flag, words in kinds.items() if flag in flags), "no bfloat16 instructions that this bench knows of")


def markdown(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table with columns of equal width."""
    cells = [[str(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def write(path: Path, result: dict[str, Any], table: str) -> Path:
    """The JSON, and the table beside it as ``.md``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
    return path
