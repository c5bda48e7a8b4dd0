"""Weights along the way: what a study's curve over steps is made of."""

import torch
from stage import Stage

from latent_atlas.training.fit import train

SILENT = {"enabled": False}


def test_snapshots_are_the_weights_of_their_step(tmp_path):
    long, short = (Stage(tmp_path / name, "small_vae", steps=steps) for name, steps in (("long", 12), ("short", 8)))
    long.section["trainer"]["snapshot_every"] = 4
    train(long.section, long.data, long.out, tracking=SILENT)
    train(short.section, short.data, short.out, tracking=SILENT)
    assert sorted(path.name for path in (long.out / "steps").iterdir()) == ["step-12.pt", "step-4.pt", "step-8.pt"]
    assert not (short.out / "steps").exists()
    for snapshot, folder in (("step-8.pt", short.out), ("step-12.pt", long.out)):
        kept = torch.load(long.out / "steps" / snapshot, weights_only=True)
        final = torch.load(folder / "model.pt", weights_only=True)
        assert all(torch.equal(kept[name], value) for name, value in final.items())
