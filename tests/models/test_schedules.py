import pytest

from latent_atlas.models.schedules import ramp


@pytest.mark.parametrize(("step", "value"), [(0, 1.0), (5, 3.0), (10, 5.0), (19, 5.0), (20, 5.0), (10_000, 5.0)])
def test_one_cycle_is_a_linear_warm_up(step, value):
    assert ramp(step, 1.0, 5.0, 10) == pytest.approx(value)


@pytest.mark.parametrize(
    ("step", "value"), [(0, 0.0), (5, 0.5), (10, 1.0), (19, 1.0), (20, 0.0), (25, 0.5), (35, 1.0), (40, 0.0), (60, 1.0), (65, 1.0)]
)
def test_each_cycle_rises_and_holds_and_the_last_one_stays(step, value):
    assert ramp(step, 0.0, 1.0, 10, cycles=3) == pytest.approx(value)


def test_without_a_warm_up_it_is_the_end_from_the_start():
    assert ramp(0, 0.0, 4.0, 0, cycles=3) == 4.0
