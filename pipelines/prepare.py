"""Stage ``prepare@<data>``: reads the source of a data set and writes ``data/<data>``."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # a DVC experiment must run its own checkout's code


def main(name: str) -> None:
    """Prints what was prepared, or the one line that says why not."""
    import yaml

    from latent_atlas.importing import quickly

    with quickly():
        from latent_atlas.building import BuildError
        from latent_atlas.data.prepare import prepare
        from latent_atlas.data.reader import DataError
        from latent_atlas.evaluation.shape import shape_of_data

    plan = Path("plan/data") / f"{name}.yaml"
    if not plan.exists():
        sys.exit(f"prepare: {plan} does not exist; `python pipelines/plan.py` writes it for each data set of conf/pipeline.yaml")
    try:
        section = yaml.safe_load(plan.read_text(encoding="utf-8"))["prepare"]
        card = prepare(section, Path("data") / name, describe=shape_of_data)
    except (DataError, BuildError) as error:
        sys.exit(f"prepare: {error}")
    except OSError as error:
        sys.exit(f"prepare: data/{name} was not written: {error}")
    counts = ", ".join(f"{split} {n:,}" for split, n in card["spec"]["sizes"].items())
    aside = f"; {len(card['excluded'])} set aside, listed in card.json" if card["excluded"] else ""
    print(f"data/{name}: {counts}{aside}")
    if shape := card.get("shape"):
        print(f"data/{name}: {shape['advice']}")


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    if set(arguments) != {"data"} or len(sys.argv) != 2:
        sys.exit("usage: python pipelines/prepare.py data=<name>")
    main(arguments["data"])
