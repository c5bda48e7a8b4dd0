"""Own data: `python pipelines/own.py data=<path> [name=<name>]` adds it to the pipeline and runs it; `trainer=` sets the device."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # a DVC experiment must run its own checkout's code

USAGE = "usage: python pipelines/own.py [data=<folder or file>] [name=<name>] [trainer=cpu|gpu|smoke] [run=no]"


def main(arguments: dict[str, str]) -> int:
    """The exit code of ``dvc repro``, or 0 where nothing is to run."""
    from latent_atlas.data.reader import DataError
    from latent_atlas.planning.compose import PlanError
    from latent_atlas.planning.own import choose_trainer, onboard
    from latent_atlas.planning.parallel import repro

    try:
        if "trainer" in arguments:
            print(choose_trainer(ROOT, arguments["trainer"]))
        if "data" not in arguments:
            return 0
        name, screen = onboard(ROOT, arguments["data"], arguments.get("name", ""))
    except (DataError, PlanError) as error:
        sys.exit(f"own: {error}")
    print(screen, flush=True)
    if arguments.get("run") == "no":
        return 0
    if (code := repro(ROOT, [name])) == 0:
        code = subprocess.call(
            [sys.executable, "-m", "latent_atlas.console", f"page={name}"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        )
    return code


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    if len(given) != len(sys.argv) - 1 or not given or not given.keys() <= {"data", "name", "trainer", "run"}:
        sys.exit(USAGE)
    sys.exit(main(given))
