"""Stage ``train``: `train.py run=<run>` trains what plan/<run>.yaml says; other overrides compose a run (`-m`: a sweep)."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # a DVC experiment must run its own checkout's code
# Threads that wait sleep instead of spinning: beside any other busy process, spinning makes two threads ten times slower than one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices of a few columns: a second thread doubles the time
# A sweep's workers are started anew and must find the same code.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))


def stage(run: str) -> None:
    """One entry of conf/pipeline.yaml, as planned."""
    import yaml

    path = Path("plan") / f"{run}.yaml"
    if not path.is_file():
        sys.exit(f"train: {path} is missing: is {run} an entry of conf/pipeline.yaml? `dvc repro plan` writes it")
    plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    section = plan["train"]

    from latent_atlas.importing import quickly

    with quickly():
        from latent_atlas.training.fit import EXPECTED, train

    tags = {"source": "pipeline", "group": f"{section['data']}-{section['model']['name']}", "tier": plan["evaluate"]["tier"]}
    tags["overrides"] = " ".join(map(str, plan.get("overrides", [])))
    try:
        train(
            section,
            Path("data") / section["data"],
            Path("models") / run,
            needs=Path(section["needs"]),
            tags=tags,
            tracking=plan["evaluate"].get("tracking"),
        )
    except EXPECTED as error:
        sys.exit(f"train: {run}: {error}")


def main() -> None:
    words = sys.argv[1:]
    if len(words) == 1 and words[0].startswith("run="):
        return stage(words[0].removeprefix("run="))
    from latent_atlas.training.sweep import app

    return app(ROOT)


if __name__ == "__main__":
    main()
