import torch

from latent_atlas.evaluation.verdict import headline, traversal_order, verdict


def scores(value=0.02, floor=0.1, status="ok"):
    return {"mse": {"metric": "mse", "status": status, "value": value, "floor": floor, "reason": "why"}}


def test_collapse_is_said_first_and_with_what_to_try():
    said = verdict(scores(), torch.tensor([0.001, 0.0, 0.009]))
    assert said.startswith("Posterior collapse: none of 3 dimensions carries 0.01 nats; try ")
    assert said.endswith("Keeps 80 % of the variance of held-out items.")


def test_partial_collapse_is_counted_and_a_fault_where_it_takes_most():
    seven = torch.tensor([2.0] * 3 + [0.001] * 7)
    assert verdict(scores(), seven).startswith(
        "7 of 10 dimensions carry less than 0.01 nats: posterior collapse; try a KL warm-up or a lower β. Keeps 80 %"
    )
    assert verdict(scores(), torch.tensor([2.0, 1.0, 1.0, 0.001, 0.0])).endswith(
        "2 of 5 dimensions carry less than 0.01 nats: collapsed, 3 in use."
    )
    assert "1 of 3 dimensions carries less" in verdict(scores(), torch.tensor([2.0, 1.0, 0.0]))


def test_parts_that_are_no_dimensions_are_called_parts():
    assert verdict(scores(), torch.tensor([2.0, 3.0]), "part").endswith(" All 2 parts are in use.")
    assert verdict(scores(), torch.tensor([2.0, 0.0, 0.0]), "part").startswith("2 of 3 parts carry less than 0.01 nats: posterior")


def test_otherwise_the_error_is_put_into_proportion():
    assert verdict(scores(), torch.ones(4)) == "Keeps 80 % of the variance of held-out items. All 4 dimensions are in use."
    assert verdict(scores(0.2), None) == "Reconstructs no better than the mean item does."
    assert verdict(scores(0.2, None), None) == "Squared error 0.2 on held-out items."
    bound = {"distortion": {"metric": "distortion", "status": "ok", "value": 12.34}}
    assert verdict(bound, None) == "A held-out item costs 12.3 nats given its code."
    assert verdict(scores(status="failed"), None) == "How much of an item survives cannot be said here."


def test_the_headline_falls_to_the_next_metric_and_gives_the_first_reason():
    found = {
        "mse": {"metric": "mse", "status": "not applicable", "reason": "not defined for tokens"},
        "distortion": {"metric": "distortion", "status": "ok", "reason": None},
        "mig": {"metric": "mig", "status": "not applicable", "reason": "needs factors"},
    }
    keys, reasons = headline(found, {"keep": ["mse", "distortion"], "steer": ["mig"], "generate": ["fid"]})
    assert keys == {"keep": "distortion", "steer": None, "generate": None}
    assert reasons == {"steer": "needs factors", "generate": "no metric of conf/evaluation decides it"}


def test_dimensions_are_ordered_by_kl_else_by_variance_and_capped():
    codes = torch.tensor([[0.0, 5.0, 1.0], [0.0, -5.0, -1.0]])
    assert traversal_order(codes, torch.tensor([1.0, 0.5, 3.0])) == [2, 0, 1]
    assert traversal_order(codes, None) == [1, 2, 0]
    assert len(traversal_order(torch.randn(4, 50), None)) == 32
    assert traversal_order(None, None) == []
