"""Has FactorVAE a better MIG than a VAE on dSprites? The page of dsprites_tc for these two, over twice its seeds."""

from __future__ import annotations

from pathlib import Path

import comparing

NEEDS = ("dsprites_axes", "dsprites_tc")


def summarize(sweep: Path, out: Path, minutes: float | None) -> str:
    """Writes study.json and README.md to ``out``; gives the page's text."""
    return comparing.neighbour("dsprites_tc").compared(sweep, "dsprites_factor", NEEDS, ("factor_vae",), out, minutes)  # type: ignore[no-any-return]
