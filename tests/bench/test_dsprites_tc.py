import json
from types import SimpleNamespace

import pytest
from drawn import write_data


def test_the_summary_of_dsprites_tc_counts_the_seeds_of_both_sweeps(study, finish, tmp_path, monkeypatch):
    assert study.summarizer("dsprites_tc_full").NEEDS == ("dsprites_axes",)
    module = study.summarizer("dsprites_tc")
    axes = module.comparing.neighbour("dsprites_axes")
    data, number = write_data(tmp_path, "binary", n=160, factors=True, shape=(1, 8, 8)), 0
    for folder, seeds, models in (
        ("dsprites_axes", (0, 1, 2), ("vae", "beta_tc_vae", "factor_vae", "qlae")),
        ("dsprites_tc", (3, 4), ("vae", "beta_tc_vae", "factor_vae")),
    ):
        for model in models:
            for seed in seeds:
                finish(tmp_path / folder, number, model, seed, {"mse": 0.01}, data=data)
                number += 1

    def rescored(run):
        level = {"vae": 0.1, "beta_tc_vae": 0.2, "factor_vae": 0.15}[run.model]
        return {"scores": dict.fromkeys(module.SCORES, level + 0.01 * run.seed)}

    there = SimpleNamespace(rescored=rescored, cut=axes.cut, ITEMS=axes.ITEMS)
    monkeypatch.setattr(module.comparing, "neighbour", lambda name: there)
    text = module.summarize(tmp_path / "dsprites_tc", tmp_path / "out", 1.0)
    result = json.loads((tmp_path / "out/study.json").read_text())
    first, second = result["answers"][:2]
    assert (first["verdict"], first["must"]) == ("holds", True)
    assert first["difference"]["mean"] == pytest.approx(0.1)
    assert list(first["difference"]["seeds"]) == ["0", "1", "2", "3", "4"]
    assert (second["question"], second["difference"]["mean"]) == ("factor_vae above vae in MIG (reference)", pytest.approx(0.05))
    assert "| 4 | 0.140 | 0.240 | 0.190 |" in text


def test_the_summary_of_dsprites_factor_counts_the_seeds_of_three_sweeps(study, finish, tmp_path, monkeypatch):
    module = study.summarizer("dsprites_factor")
    axes, loaded = module.comparing.neighbour("dsprites_axes"), module.comparing.neighbour
    data, number = write_data(tmp_path, "binary", n=160, factors=True, shape=(1, 8, 8)), 0
    for folder, seed in (("dsprites_axes", 0), ("dsprites_tc", 3), ("dsprites_factor", 6)):
        for model in ("vae", "factor_vae", "beta_tc_vae")[: 2 if folder == "dsprites_factor" else 3]:
            finish(tmp_path / folder, number, model, seed, {"mse": 0.01}, data=data)
            number += 1

    def rescored(run):
        return {"scores": dict.fromkeys(("mig_reference", "mig", "dci_reference", "dci"), {"vae": 0.1}.get(run.model, 0.3))}

    there = SimpleNamespace(rescored=rescored, cut=axes.cut, ITEMS=axes.ITEMS)
    monkeypatch.setattr(module.comparing, "neighbour", lambda name: there if name == "dsprites_axes" else loaded(name))
    text = module.summarize(tmp_path / "dsprites_factor", tmp_path / "out", 1.0)
    result = json.loads((tmp_path / "out/study.json").read_text())
    assert list(result["answers"][0]["difference"]["seeds"]) == ["0", "3", "6"]
    assert list(result["models"]) == ["vae", "factor_vae"]
    assert "| seed | vae | factor_vae |" in text
