"""No model of ``conf/model`` leaves the finite numbers on its default conf: five seeds of each, trained by ``Fit`` as runs are."""

import itertools
import math
import warnings

import pytest
import pytorch_lightning as pl
import torch
from test_laws import CASES, Case, draw
from torch.utils.data import DataLoader

from latent_atlas.training.finite import first_bad
from latent_atlas.training.module import Fit

SEEDS, STEPS, ITEMS, BATCH = 5, 50, 128, 16
# One kind of data for each model, the first that it accepts.
FIRST = {case.values[0].name: case for case in reversed(CASES) if not case.values[0].name.startswith("zoo.")}


def train(case: Case, seed: int) -> Fit:
    """One short run: the players' own optimizers, clips, repeats and turns."""
    model, items = case.model(seed, ITEMS), draw(case.spec(ITEMS), ITEMS, seed)
    order = itertools.islice(itertools.cycle(torch.arange(ITEMS).split(BATCH)), STEPS)
    batches = [{name: field[rows] for name, field in items.items()} for rows in order]
    if hasattr(model, "prepare"):
        model.prepare(batches[: ITEMS // BATCH])
    fit = Fit(model, seed, log_every=1, frozen=getattr(model, "first_stage", None))
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(fit, DataLoader([batches], batch_size=None))  # one stretch
    return fit


@pytest.mark.slow
@pytest.mark.parametrize("case", FIRST.values())
def test_five_seeds_stay_finite(case):
    if not case.model().players():
        pytest.skip("declares no players")
    for seed in range(SEEDS):
        fit = train(case, seed)  # raises where a loss is not finite
        assert fit.step == STEPS
        assert len(fit.history) == STEPS
        assert all(math.isfinite(value) for row in fit.history for value in row.values())
        assert first_bad(itertools.chain(fit.named_parameters(), fit.named_buffers())) is None
        model = fit.model.eval()
        if "sample" in model.verbs():
            assert bool(model.sample(8).isfinite().all())
