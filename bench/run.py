"""``make bench``: speed and quality beside peers. ``python bench/run.py [--quick] [part ...]``, the parts as in ``PARTS``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
PARTS = ("startup", "train", "render", "disentanglement", "frechet", "evaluate", "models", "quality")


def main() -> None:
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    parts = [word for word in sys.argv[1:] if not word.startswith("--")] or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS] + [o for o in options if o != "--quick"]:
        sys.exit(f"bench: {unknown[0]}? usage: python bench/run.py [--quick] [{'] ['.join(PARTS)}]")
    for part in parts:
        print(f"== {part}", flush=True)
        __import__(part).main(options)


if __name__ == "__main__":
    main()
