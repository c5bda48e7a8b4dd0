"""The whole of conf/evaluation at its standard budget, by both protocols: no metric fails, and none stands alone."""

import pytest
from toy_codes import trees_in_one_process

FEW = {"train": 600, "evaluation": 300}  # votes
SOME = {"resamples": 3, "importance_items": 16, "importance_samples": 8}
# Which have no ceiling by their nature, beside those that have no value here.
NO_CEILING = {"rate", "nelbo", "distortion", "nll", "bits_per_dimension", "kl_per_dimension", "psnr"}
# No codebook, no weights, no angles, no tree; and what only the full budget runs.
WITHOUT = {"codebook_perplexity", "codebook_use", "lpips", "tear", "tree_correlation", "fid_riemannian"}
FEW_ITEMS = {"precision", "recall", "density", "coverage"}  # 10 k rows in each of 10 blocks: 300 items


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["atlas", "reference"])
def test_every_metric_of_the_standard_budget_has_a_value_or_a_reason(stage, protocol):
    here = stage(kind="binary", n=1000, factors=True, labels=True)
    metrics = dict(here.section["evaluation"]["metrics"])
    for name in ("beta_vae_score", "factor_vae_score"):
        metrics[name] = metrics[name] | {"arguments": FEW}
    if protocol == "reference":  # exact trees of a plain loop take as long here as all other scores
        for name in [name for name in metrics if name.startswith("dci_")]:
            metrics[name] = metrics[name] | {"reference": metrics[name]["reference"] | {"estimator": "hist"}}
    with trees_in_one_process():
        found = here.run(name="standard", refits=2, protocol=protocol, metrics=metrics, **SOME)
    by_name = {entry["metric"]: entry for entry in found.scores.values()}
    assert {name: entry["reason"] for name, entry in by_name.items() if entry["status"] == "failed"} == {}
    ok = {name for name, entry in by_name.items() if entry["status"] == "ok"}
    if protocol == "atlas":
        assert set(metrics) - ok == WITHOUT, {name: by_name[name]["reason"] for name in set(metrics) - ok}
    else:
        assert {"mig", "sap", "dci_disentanglement", "irs", "fid", "kid", "precision", "mse", "nll"} <= ok
        return
    found = {side: {name for name in ok if by_name[name][side] is None} for side in ("interval", "floor", "ceiling")}
    assert found == {"interval": FEW_ITEMS, "floor": set(), "ceiling": NO_CEILING}
    for side, none in (("floor", set()), ("ceiling", NO_CEILING)):
        assert [name for name in ok - none if not by_name[name][f"{side}_by"]] == [], side
    for name in ok:
        assert {"n", "split", "estimator", "seed", "protocol"} <= set(by_name[name]["provenance"]), name
        assert by_name[name]["interval"] or by_name[name]["interval_by"].startswith("none: "), name
        assert by_name[name]["meaning"], name
