"""Where things lie: the checkout whose code and conf run, and the workspace that outlives it."""

from __future__ import annotations

import os
from pathlib import Path


def checkout() -> Path:
    """The directory whose ``conf/`` and ``src/`` are running (a DVC experiment has one of its own).

    An installed package without a checkout around it (``pip install latent-atlas`` elsewhere) uses the current directory.
    """
    root = Path(__file__).resolve().parents[2]
    return root if (root / "conf" / "config.yaml").exists() else Path.cwd()


def home() -> Path:
    """The workspace root: ``LATENT_ATLAS_HOME`` if set, else the main checkout, also from inside a DVC experiment.

    ``dvc exp run --queue`` and ``--temp`` work in ``<checkout>/.dvc/tmp/exps/...``, which DVC deletes afterwards: what must
    survive (MLflow's database, checkpoints) belongs to the part of the path before that.
    """
    if chosen := os.environ.get("LATENT_ATLAS_HOME"):
        return Path(chosen).expanduser().resolve()
    root = checkout().resolve()
    head, inside, _ = root.as_posix().partition("/.dvc/tmp/")
    return Path(head) if inside else root


def work() -> Path:
    """The directory of checkpoints, MLflow's database and caches: not DVC's, not git's."""
    return home() / "work"
