import json

import pytest
from drawn import write_data
from test_loading import trained

MIG = {"vae": 0.05, "beta_vae": 0.12, "beta_tc_vae": 0.3, "factor_vae": 0.06, "ada_gvae": 0.25, "qlae": 0.1}


@pytest.fixture
def sweep(tmp_path, finish):
    data, number = write_data(tmp_path, "binary", n=160, factors=True, shape=(1, 8, 8)), 0
    for model in MIG:
        for seed in range(3):
            finish(tmp_path / "s", number, model, seed, {"infom": 0.5 + 0.01 * seed, "mse": 0.01}, data=data)
            number += 1
    return tmp_path / "s"


def test_the_summary_of_dsprites_axes(study, sweep, tmp_path, monkeypatch):
    module = study.summarizer("dsprites_axes")

    def rescored(run):
        value = MIG[run.model] + 0.01 * run.seed * (1 + (run.model == "factor_vae"))
        gaps = {"a": value, "b": value / 2}
        return {"scores": dict.fromkeys(module.SCORED, value), "gaps": {"reference": gaps, "atlas": gaps}, "reasons": {}}

    monkeypatch.setattr(module, "rescored", rescored)
    text = module.summarize(sweep, tmp_path / "out", 1.0)
    result = json.loads((tmp_path / "out/study.json").read_text())
    verdicts = {row["question"]: (row["verdict"], row["must"]) for row in result["answers"]}
    assert verdicts["beta_tc_vae above vae in MIG (reference)"] == ("holds", True)
    assert verdicts["factor_vae above vae in MIG (reference)"] == ("not decided", True)
    assert verdicts["ada_gvae above beta_tc_vae in MIG (reference)"] == ("reversed", False)
    assert verdicts["qlae above vae in InfoM"] == ("not decided", False)
    assert result["gaps"]["vae"]["reference"] == pytest.approx({"a": 0.06, "b": 0.03})
    assert "| vae | 0.060 [0.035, 0.085] |" in text
    assert "| vae | 0.060 | 0.030 |" in text


def test_a_run_is_scored_in_both_protocols_once(study, finish, tmp_path, monkeypatch):
    module = study.summarizer("dsprites_axes")
    data = write_data(tmp_path, "binary", n=400, factors=True, shape=(1, 8, 8))
    folder = tmp_path / "s/0"
    trained(folder / "model", data)
    (folder / "model/config.yaml").write_text((folder / "model/config.yaml").read_text() + "trainer: {steps: 1, batch_size: 2}\n")
    record = json.loads((folder / "model/train.json").read_text()) | {"parameters": 1}
    (folder / "model/train.json").write_text(json.dumps(record))
    finish(tmp_path / "s", 0, "vae", 0, {"infom": 0.5}, data=data)
    (run,) = module.comparing.finished(tmp_path / "s")
    found = module.rescored(run)
    assert all(value is not None and 0 <= value <= 1 for value in found["scores"].values()), found["reasons"]
    assert found["scores"]["dci"] != found["scores"]["dci_reference"]
    assert set(found["gaps"]["reference"]) == {"a", "b"}
    monkeypatch.setattr(module, "load_folder", None)
    assert module.rescored(run) == found
