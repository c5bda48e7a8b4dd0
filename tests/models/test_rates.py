from pathlib import Path

import pytest
import torch
import yaml

from latent_atlas.building import instantiate
from latent_atlas.models.rates import cosine_tail

ROOT = Path(__file__).resolve().parents[2]


def test_constant_then_half_a_cosine():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = cosine_tail(optimizer, steps=300)
    rates = []
    for _ in range(400):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:200] == [1e-3] * 200
    assert rates[200:301] == sorted(rates[200:301], reverse=True)
    assert rates[250] == pytest.approx(5.5e-4)  # half way down
    assert rates[300:] == pytest.approx([1e-4] * 100)


@pytest.mark.parametrize("steps", [1, 2, 5, 30])
def test_one_cycle_ends_with_any_training(steps):
    conf = yaml.safe_load((ROOT / "conf/schedule/one_cycle.yaml").read_text())["scheduler"] | {"total_steps": steps}
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([parameter], lr=1e-3)
    schedule, rates = instantiate(conf)(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert max(rates) <= conf["max_lr"]
    if steps == 30:
        assert rates.index(max(rates)) in (2, 3)
        assert rates[-1] < conf["max_lr"] / 100
