"""Scores of your own arrays, no model needed.

python pipelines/score.py codes=FILE.npz [protocol=reference] [dci=lightgbm|sklearn|hist] [seed=0] [out=FILE.json]
python pipelines/score.py features=FILE.npz [...]      arrays real and fake (N, d)
python pipelines/score.py real=FOLDER fake=FOLDER [...]   two folders of images
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices of a few columns: a second thread doubles the time
WORDS = {"codes", "features", "real", "fake", "protocol", "dci", "seed", "out"}


def main() -> None:
    given = dict(part.split("=", 1) for part in sys.argv[1:] if "=" in part)
    kinds = [("codes",), ("features",), ("real", "fake")]
    chosen = [kind for kind in kinds if set(kind) <= set(given)]
    if len(given) != len(sys.argv) - 1 or set(given) - WORDS or len(chosen) != 1:
        sys.exit(f"usage: {(__doc__ or '').partition('needed.')[2].strip()}")
    protocol, out = given.get("protocol", "atlas"), given.get("out")
    if not given.get("seed", "0").isdigit():
        sys.exit(f"score: seed={given['seed']}: it is a whole number")
    seed = int(given.get("seed", "0"))
    paths = [Path(given[name]).expanduser() for name in chosen[0]]

    from latent_atlas.importing import quickly

    with quickly():
        from latent_atlas.evaluation.own_arrays import ScoreError, check_out, write_scores
        from latent_atlas.evaluation.own_codes import score_codes

    try:
        if out:
            check_out(Path(out).expanduser())
        if chosen[0] == ("codes",):
            found = score_codes(paths[0], protocol, seed, given.get("dci"))
        else:
            from latent_atlas.evaluation.own_features import score_features, score_folders

            score = score_features if chosen[0] == ("features",) else score_folders
            found = score(*paths, protocol, seed)
        write_scores(found, Path(out).expanduser() if out else None)
    except ScoreError as error:
        sys.exit(f"score: {error}")


if __name__ == "__main__":
    main()
