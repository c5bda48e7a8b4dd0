import json

import pytest
import torch

from latent_atlas.evaluation.findings import findings
from latent_atlas.evaluation.verdict import verdict

ALIVE = torch.ones(4)


def entry(metric, value, **more):
    """A score as evaluation writes it."""
    known = {"title": metric, "direction": "min", "interval": None, "floor": None, "ceiling": None, "parts": {}, "provenance": {}}
    return {"metric": metric, "status": "ok", "reason": None, "value": value, "references": {}} | known | more


GOOD = {
    "mse": entry("mse", 0.01, floor=0.1, references={"PCA": 0.02}),
    "latent_information": entry("latent_information", 5.0),
    "generalization_gap": entry(
        "generalization_gap", 0.001, interval=[-0.001, 0.003], parts={"held_out": 0.01, "train": 0.009, "share": 0.1}
    ),
    "mode_coverage": entry("mode_coverage", 0.96, ceiling=0.98, parts={"reached": 48, "modes": 50}),
    "codebook_use": entry("codebook_use", 0.9, ceiling=1.0, parts={"used": 460}, provenance={"entries": 512}),
    "prior_holes": entry("prior_holes", 0.02, ceiling=0.01),
    "memorisation": entry("memorisation", 0.05, interval=[0.03, 0.07], ceiling=0.05),
}
FAULTS = {
    "posterior collapse": entry("latent_information", 0.03),
    "no better than PCA": entry("mse", 0.03, floor=0.1, references={"PCA": 0.02}),
    "memorisation": entry(
        "generalization_gap", 0.02, interval=[0.01, 0.03], parts={"held_out": 0.03, "train": 0.01, "share": 0.66}
    ),
    "mode collapse": entry("mode_coverage", 0.1, ceiling=0.98, parts={"reached": 5, "modes": 50}),
    "codebook collapse": entry("codebook_use", 0.01, ceiling=1.0, parts={"used": 5}, provenance={"entries": 512}),
    "holes": entry("prior_holes", 0.38, ceiling=0.01),
}


def test_a_sound_run_has_no_findings():
    assert findings(GOOD, ALIVE) == []
    assert verdict(GOOD, ALIVE) == "Keeps 90 % of the variance of held-out items. All 4 dimensions are in use."


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_alone_with_its_figures_and_what_to_try(name):
    score = FAULTS[name]
    (found,) = findings(GOOD | {score["metric"]: score}, ALIVE)
    assert found.name == name
    assert found.sentence.endswith(f"; {found.remedy}.")
    assert found.sentence.count(".") - found.sentence.count("0.") <= 2
    assert found.figures
    assert verdict(GOOD | {score["metric"]: score}, ALIVE).startswith(found.sentence)
    json.dumps(found.plain(), allow_nan=False)


@pytest.mark.parametrize("value", [3e-13, 0.01])
def test_a_code_as_wide_as_the_data_is_not_held_against_pca(value):
    """PCA gives every item back there: neither a flow's rounding nor the price of a sparse code is a fault."""
    assert findings(GOOD | {"mse": entry("mse", value, floor=0.1, references={"PCA": 2e-14})}, ALIVE) == []


def test_sentences_are_plain_and_carry_the_figures():
    said = {name: findings({score["metric"]: score}, ALIVE)[0].sentence for name, score in FAULTS.items()}
    assert said["no better than PCA"].startswith("Squared error 0.03 against 0.02 of PCA of the same width: no better than PCA;")
    assert said["memorisation"].startswith("Held-out items have 3.0 times the error of training items: memorisation;")
    assert said["mode collapse"].startswith("Samples reach 5 of 50 modes of the data: mode collapse;")
    assert said["holes"].startswith("38 % of the prior lies in holes")
    assert said["codebook collapse"].startswith("5 of 512 codebook entries are used: codebook collapse;")


def test_the_gravest_comes_first_and_all_are_kept():
    every = {score["metric"]: score for score in FAULTS.values()}
    assert [found.name for found in findings(every, torch.zeros(3))] == list(FAULTS)
    assert verdict(every, torch.zeros(3)).startswith("Posterior collapse: none of 3 dimensions carries 0.01 nats;")


def test_copies_of_the_training_set_are_memorisation():
    copied = entry("memorisation", 0.9, interval=[0.85, 0.95], ceiling=0.05)
    assert [found.name for found in findings({"memorisation": copied}, None)] == ["memorisation"]


def test_pca_is_not_called_worse_than_itself_and_chance_is_no_memorisation():
    assert findings({"mse": entry("mse", 0.0200002, references={"PCA": 0.02})}, None) == []
    chance = FAULTS["memorisation"] | {"interval": [-0.01, 0.05]}
    assert findings({"generalization_gap": chance}, None) == []


def test_holes_advise_what_the_model_has_and_are_no_fault_where_nothing_is_drawn():
    none = {"status": "not applicable", "value": None}
    of_kl = {"rate": entry("rate", 3.0), "fid": entry("fid", 20.0), "prior_holes": FAULTS["holes"]}
    assert findings(of_kl, None)[0].remedy == "draw from a density fitted to the codes, or raise β"
    without = of_kl | {"rate": entry("rate", None) | none}
    assert findings(without, None)[0].remedy == "draw from a density fitted to the codes"
    poor = {"mse": FAULTS["no better than PCA"], "rate": without["rate"]}
    assert findings(poor, None)[0].remedy == "train longer or widen the net"
    chart = without | {"fid": entry("fid", None) | none, "mode_coverage": entry("mode_coverage", None) | none}
    assert findings(chart, None) == []


def test_what_is_absent_or_failed_is_no_fault():
    assert findings({}, None) == []
    broken = {name: score | {"status": "failed", "value": None} for name, score in FAULTS.items()}
    assert findings(broken, None) == []
