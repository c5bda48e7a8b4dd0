import pytest
import torch

from latent_atlas.models.rates import cosine_tail


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
