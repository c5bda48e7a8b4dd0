"""Stage ``plan``: composes every run of conf/pipeline.yaml and writes what each stage depends on."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # a DVC experiment must run its own checkout's code

from latent_atlas.planning.compose import PlanError
from latent_atlas.planning.plan import write_plans


def main() -> None:
    try:
        files = write_plans(ROOT, ROOT / "plan")
    except PlanError as error:
        sys.exit(f"plan: {error}")
    print(f"plan: {len(files)} files")


if __name__ == "__main__":
    main()
