"""Stage ``features@<data>``: the feature extractor and its reference. ``python pipelines/features.py data=digits``"""

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
    if set(given) != {"data"} or len(sys.argv) != 2:
        sys.exit("usage: python pipelines/features.py data=<data set of conf/pipeline.yaml>")
    name, here = given["data"], Path.cwd()
    import yaml

    path = here / "plan" / "data" / f"{name}.yaml"
    if not path.is_file():
        sys.exit(f"features: no plan/data/{name}.yaml: is {name} a data set of conf/pipeline.yaml? `dvc repro plan` writes it")
    section = yaml.safe_load(path.read_text(encoding="utf-8"))["features"]

    from latent_atlas.importing import quickly

    with quickly():
        from latent_atlas.data.reader import DataError
        from latent_atlas.evaluation.extractors import FeatureError
        from latent_atlas.evaluation.features import make_features

    try:
        card = make_features(section, here / "data" / name, here / "features" / name)
    except (DataError, FeatureError) as error:
        sys.exit(f"features: {error}")
    except OSError as error:
        sys.exit(f"features: features/{name} was not written: {error}")
    skill = "" if card["accuracy"] is None else f", accuracy {card['accuracy']:.3f}"
    print(f"{name}: {card['name']}, {card['dimensions']} features learned from {card['trained_on']}{skill}")


if __name__ == "__main__":
    main()
