"""Stage ``evaluate@<run>``: scores, codes and pictures of one trained model. ``python pipelines/evaluate.py run=digits-vae``"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # a DVC experiment must run its own checkout's code
# Threads that wait sleep instead of spinning: beside any other busy process, spinning makes two threads ten times slower than one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices of a few columns: a second thread doubles the time


def main() -> None:
    given = dict(part.split("=", 1) for part in sys.argv[1:] if "=" in part)
    if set(given) != {"run"} or len(sys.argv) != 2:
        sys.exit("usage: python pipelines/evaluate.py run=<run of conf/pipeline.yaml>")
    run, here = given["run"], Path.cwd()
    import yaml

    path = here / "plan" / f"{run}.yaml"
    if not path.is_file():
        sys.exit(f"evaluate: no plan/{run}.yaml: is {run} a run of conf/pipeline.yaml? `dvc repro plan` writes it")
    plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    section, train, data = plan["evaluate"], plan["train"], plan["train"]["data"]
    section["evaluation"]["metrics"] = yaml.safe_load((here / "plan" / section["metrics_file"]).read_text(encoding="utf-8"))

    from latent_atlas.importing import quickly

    with quickly():
        from latent_atlas.data.reader import DataError
        from latent_atlas.evaluation.evaluate import EvaluationError, evaluate
        from latent_atlas.evaluation.extractors import FeatureError
        from latent_atlas.loading import LoadError

    try:
        result = evaluate(
            section,
            train,
            data=here / "data" / data,
            features=here / "features" / data,
            model=here / "models" / run,
            out=here / "evaluations" / run,
            scores=here / "metrics" / section["tier"] / data / f"{run}.json",
        )
    except (DataError, EvaluationError, FeatureError, LoadError) as error:
        sys.exit(f"evaluate: {error}")
    except OSError as error:
        sys.exit(f"evaluate: evaluations/{run} was not written: {error}")
    print(f"{run}: {result['verdict']}")


if __name__ == "__main__":
    main()
