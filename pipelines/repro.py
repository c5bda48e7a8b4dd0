"""Pages of the report, stages side by side: ``python pipelines/repro.py pages=digits,core [jobs=2]``. What ``make repro`` runs."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))


def main() -> int:
    from latent_atlas.planning.compose import PlanError
    from latent_atlas.planning.parallel import repro
    from latent_atlas.planning.plan import read_pipeline

    given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    jobs = given.get("jobs", "")
    if len(given) != len(sys.argv) - 1 or not {"pages"} <= set(given) <= {"pages", "jobs"} or not (jobs == "" or jobs.isdigit()):
        sys.exit("usage: python pipelines/repro.py pages=<page>[,<page>] [jobs=<processes at once>]")
    pages = given["pages"].split(",")
    try:
        known = read_pipeline(ROOT)["reports"]
    except PlanError as error:
        sys.exit(f"repro: {error}")
    if strangers := sorted(set(pages) - set(known)):
        sys.exit(f"repro: conf/pipeline.yaml has no page {', '.join(strangers)}; it has {', '.join(known)}")
    try:
        return repro(ROOT, pages, int(jobs) if jobs else None)
    except KeyboardInterrupt:
        sys.exit("repro: stopped; the next one goes on from there")


if __name__ == "__main__":
    sys.exit(main())
