"""Does a sphere hold binarized pictures better than flat space of the same intrinsic dimension?

spherical_vae on S^d, which lies in R^(d+1), against vae on R^d, with one network, at equal updates; the jobs of one dimension are
those of fashion_autoencoders.
"""

from __future__ import annotations

from pathlib import Path

import comparing
from comparing import Row, Run, by_seed, cell, spread, table

NEEDS = ("fashion_autoencoders",)
FLAT, ROUND = "vae", "spherical_vae"
PUBLISHED = {2: (135.73, 132.50), 5: (110.21, 108.43), 10: (93.84, 93.16), 20: (88.90, 89.02), 40: (88.93, 90.87)}
SCORES = ("nll", "nelbo", "rate")


def judged(runs: list[Run], sizes: list[int]) -> list[Row]:
    """One statement for each dimension."""
    rows = []
    for d in sizes:
        flat, curved = PUBLISHED.get(d, (None, None))
        rows.append(
            comparing.answered(
                f"d = {d}: {ROUND} below {FLAT} in NLL", by_seed(runs, "nll", ROUND, d), by_seed(runs, "nll", FLAT, d), must=False,
                published="" if flat is None else f"{curved:.2f} against {flat:.2f}: {curved - flat:+.2f}",
            )
        )  # fmt: skip
    return rows


def page(result: Row) -> list[str]:
    """The lines of the page."""
    lines = [f"# {result['study']}: a sphere against flat space of equal intrinsic dimension", "", "What was cut:", ""]
    lines += [*(f"- {line}" for line in result["cut"]), ""]
    seeds = len(result["settings"]["seeds"])
    lines += [f"Mean over {seeds} seeds [95 % interval, Student's t], in nats; smaller is better.", ""]
    rows = []
    for d, models in result["dimensions"].items():
        for place, model in enumerate((FLAT, ROUND)):
            known = f"{PUBLISHED[int(d)][place]:.2f}" if int(d) in PUBLISHED else ""
            rows.append([d, model, *(cell(models[model][key]) for key in SCORES), known])
    lines += [*table(["d", "model", "NLL", "negative ELBO", "KL", "published NLL (MNIST)"], rows), ""]
    lines += [*comparing.answers(result["answers"]), ""]
    return [*lines, "Published: Davidson et al. 2018 (arXiv 1804.00891), table 1, MNIST, 500 draws."]


def summarize(sweep: Path, out: Path, minutes: float | None) -> str:
    """Writes study.json and README.md to ``out``; gives the page's text."""
    other = sweep.with_name(sweep.name.replace("fashion_spheres", NEEDS[0]))
    runs = [run for run in comparing.finished(sweep, other) if run.model in (FLAT, ROUND)]
    sizes = sorted({run.latent_size for run in runs})
    base = comparing.neighbour(NEEDS[0])
    found = base.settings(runs)
    result = {
        "study": out.name,
        "settings": found,
        "cut": [line for line in base.cut(found) if not line.startswith(("FID", "Latent size"))],
        "minutes": comparing.minutes_of(out, minutes),
        "answers": judged(runs, sizes),
        "dimensions": {
            str(d): {model: {key: spread(by_seed(runs, key, model, d)) for key in SCORES} for model in (FLAT, ROUND)} for d in sizes
        },
        "published": {str(d): {FLAT: flat, ROUND: curved} for d, (flat, curved) in PUBLISHED.items()},
        "runs": [comparing.plain(run) for run in runs],
    }
    return comparing.write(out, result, page(result))
