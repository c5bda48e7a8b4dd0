"""``make bench``: start-up and training speed beside their peers. ``python bench/run.py [--quick] [startup] [train]``"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


def main() -> None:
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    parts = [word for word in sys.argv[1:] if not word.startswith("--")] or ["startup", "train"]
    if unknown := [part for part in parts if part not in ("startup", "train")] + [o for o in options if o != "--quick"]:
        sys.exit(f"bench: {unknown[0]}? usage: python bench/run.py [--quick] [startup] [train]")
    for part in parts:
        print(f"== {part}", flush=True)
        __import__(part).main(options)


if __name__ == "__main__":
    main()
