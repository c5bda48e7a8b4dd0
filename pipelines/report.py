"""Stage ``report``: page=<page> (with results=<file.md> the committed summary instead), or runs=multirun/<time>."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # a DVC experiment must run its own checkout's code

USAGE = "usage: python pipelines/report.py page=<page> [results=reports/RESULTS.md] | runs=multirun/<time>"


def section_of(page: str) -> dict:
    """The plan's section for a page."""
    import yaml

    path = Path("plan/pages") / f"{page}.yaml"
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in path.parent.glob("*.yaml"))) or "none yet: run dvc repro plan"
        raise SystemExit(f"report: page={page}: {path} does not exist; pages: {known}")
    return yaml.safe_load(path.read_text(encoding="utf-8"))["report"]


def main(arguments: list[str]) -> None:
    """Builds one page and prints its runs, its winners and where it lies."""
    options = dict(one.partition("=")[::2] for one in arguments)
    if not options or not set(options) <= {"page", "results", "runs"} or ("page" in options) == ("runs" in options):
        raise SystemExit(USAGE)
    from latent_atlas.report import results, sweeps
    from latent_atlas.report.build import build
    from latent_atlas.report.inputs import ReportError
    from latent_atlas.report.winners import lines

    root = Path()
    try:
        if "runs" in options:
            folder = Path(options["runs"]).expanduser()
            section, out = sweeps.section_of(folder, root), folder / "report"
        else:
            section, out = section_of(options["page"]), Path("reports/build") / options["page"]
        if "results" in options:
            print(f"written: {results.write(section, root, Path(options['results']))}")
            return
        print("\n".join(lines(build(section, root, out), out)))
    except ReportError as error:
        raise SystemExit(f"report: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
