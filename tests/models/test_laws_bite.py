"""Every law is broken by a model that breaks just it: a law that nothing fails says nothing."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import test_laws
import torch
import zoo
from test_laws import Case, N

from latent_atlas.models.base import LatentModel, Player
from latent_atlas.models.likelihoods import Implicit
from latent_atlas.models.posteriors import DiagonalNormal, Point


@dataclass(frozen=True)
class Damaged(Case):
    """A sound model of the zoo after ``damage``."""

    damage: Callable[[LatentModel], None]

    def model(self, seed: int = 0, n: int = N) -> LatentModel:
        model = super().model(seed, n)
        self.damage(model)
        return model


def infinite(model):
    model.beta = float("inf")


def idle_parameter(model):
    model.idle = torch.nn.Parameter(torch.zeros(1))


def noisy_code(model):
    sound = model.encode
    model.encode = lambda x, condition=None: Point(sound(x).sample())


def flat_mean(model):
    sound = model.decode
    model.decode = lambda z, condition=None: Implicit(sound(z).mean.flatten(1))


def unsaved_state(model):
    sound, offset = model.encode, torch.rand(3)
    model.encode = lambda x, condition=None: Point(sound(x).mode + offset)


def batch_statistics(model):
    sound = model.encode

    def encode(x, condition=None):
        q = sound(x, condition)
        return DiagonalNormal((q.mode - q.mode.mean(0)) / q.mode.std(0, correction=0), q.log_var)

    model.encode = encode


def standing_still(model):
    model._default = (functools.partial(torch.optim.SGD, lr=0.0), None, None, None)


def deaf_to_the_generator(model):
    sound = model.sample
    model.sample = lambda n, condition=None, generator=None: sound(n)


DAMAGES = {
    test_laws.finite: infinite,
    test_laws.gradients: idle_parameter,
    test_laws.deterministic: noisy_code,
    test_laws.shapes: flat_mean,
    test_laws.saves: unsaved_state,
    test_laws.one_sample: batch_statistics,
    test_laws.learns: standing_still,
    test_laws.repeats: deaf_to_the_generator,
}


@pytest.mark.parametrize("law", DAMAGES, ids=lambda law: law.__name__)
def test_a_broken_model_is_caught(law):
    law(Case("zoo.small_vae", "image"))
    with pytest.raises(AssertionError):
        law(Damaged("zoo.small_vae", "image", DAMAGES[law]))


def test_a_player_that_moves_what_is_not_its_own_is_caught():
    def greedy(model):
        own = model.players

        def players():
            found = own()
            sound = found["critic"]
            return {**found, "critic": Player((*sound.modules, model.idle), sound.optimizer)}

        model.idle = torch.nn.Linear(1, 1)
        model.players = players

    with pytest.raises(AssertionError, match="critic: idle"):
        test_laws.gradients(Damaged("zoo.two_players", "image", greedy))


def test_a_misnamed_configuration_is_caught(monkeypatch):
    monkeypatch.setitem(zoo.CONF, "misnamed", zoo.CONF["small_vae"])
    with pytest.raises(AssertionError):
        test_laws.composes(Case("zoo.misnamed", "image"))


def test_every_law_is_put_to_the_test():
    assert set(test_laws.LAWS) == {*DAMAGES, test_laws.composes}
