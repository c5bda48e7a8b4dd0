from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
import zoo
from drawn import write_data

from latent_atlas.building import instantiate
from latent_atlas.data.datamodule import DataModule
from latent_atlas.evaluation.arrays import Arrays
from latent_atlas.evaluation.extractors import load_features
from latent_atlas.evaluation.features import make_features
from latent_atlas.evaluation.references import StandIn
from latent_atlas.evaluation.rows import evaluation_rows
from latent_atlas.evaluation.scoring import requirements, score
from latent_atlas.evaluation.vocabulary import VOCABULARY
from latent_atlas.metrics.result import NotApplicable
from latent_atlas.report.ranking import differing, groups

EXTRACTOR = {"name": "domain", "dimensions": 4, "steps": 5, "batch_size": 32, "seed": 0, "threads": 1}
METRICS = {
    file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))
    for file in sorted((Path(__file__).resolve().parents[2] / "conf/evaluation/metric").glob("*.yaml"))
}
OF_THE_EXTRACTOR = ("features_", "probabilities_", "extract")


@pytest.fixture
def data(tmp_path):
    return DataModule(write_data(tmp_path, kind="vector", n=200, factors=True))


@pytest.fixture
def arrays(data):
    torch.manual_seed(0)
    with torch.no_grad():
        yield Arrays(instantiate(zoo.small_vae(), spec=data.spec).eval(), data, None, n_samples=30, batch_size=8)


def test_every_word_of_the_vocabulary_is_given_or_refused_with_a_reason(arrays):
    refused = {}
    for name in VOCABULARY:
        try:
            assert arrays.get(name) is not None
        except NotApplicable as reason:
            refused[name] = str(reason)
    assert refused == {
        "indices": "the model has no codebook",
        "codebook_size": "the model has no codebook",
        "labels": "needs labels",
        "labels_train": "needs labels",
        **dict.fromkeys(
            [name for name in VOCABULARY if name.startswith(OF_THE_EXTRACTOR)], "the data set has no feature extractor"
        ),
    }


def test_arrays_are_those_of_the_model_in_the_order_of_the_rows(arrays, data):
    x = data.take(arrays.rows)["x"]
    q = arrays.model.encode(x)
    torch.testing.assert_close(arrays.get("x"), x)
    torch.testing.assert_close(arrays.get("codes"), q.mode)
    torch.testing.assert_close(arrays.get("recon"), arrays.model.decode(q.mode).mean)
    torch.testing.assert_close(arrays.get("posterior").kl, q.kl(arrays.model.space))
    torch.testing.assert_close(arrays.get("encode")(x), q.mode)
    torch.testing.assert_close(arrays.get("decode")(q.mode), arrays.model.decode(q.mode).mean)
    np.testing.assert_array_equal(arrays.get("factors"), data.take(arrays.rows)["factors"])


def test_each_array_is_computed_once_and_only_when_asked_for(arrays, monkeypatch):
    calls = []
    encode = type(arrays.model).encode
    monkeypatch.setattr(type(arrays.model), "encode", lambda self, *given: (calls.append(1), encode(self, *given))[1])
    arrays.get("x")
    assert calls == []
    for name in ("recon", "codes", "posterior", "log_prob", "recon"):
        arrays.get(name)
    assert len(calls) == 4  # 30 items in batches of 8


def test_what_failed_once_fails_again_without_being_computed_again(arrays, monkeypatch):
    calls = []

    def broken(self, z, condition=None):
        calls.append(1)
        raise RuntimeError("no memory")

    monkeypatch.setattr(type(arrays.model), "decode", broken)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no memory"):
            arrays.get("recon")
    assert calls == [1]


def test_noise_does_not_depend_on_what_was_asked_for_before(data):
    torch.manual_seed(0)
    model = instantiate(zoo.small_vae(), spec=data.spec).eval()
    with torch.no_grad():
        first, second = (Arrays(model, data, None, 30, 8) for _ in range(2))
        first.get("samples")
        torch.testing.assert_close(first.get("log_prob"), second.get("log_prob"), rtol=0, atol=0)
        torch.testing.assert_close(first.get("samples"), second.get("samples"), rtol=0, atol=0)


def test_rows_are_a_fixed_shuffle_of_the_test_split_and_nested(data):
    split, rows = evaluation_rows(data, 30)
    assert split == "test"
    assert set(rows) <= set(data.rows("test"))
    np.testing.assert_array_equal(evaluation_rows(data, 10)[1], rows[:10])
    assert len(evaluation_rows(data, 10_000)[1]) == 40


def test_requirements_are_argument_names_less_the_given_ones():
    def metric(x, codes, labels=None, k=3, bins=5):
        raise NotImplementedError

    assert requirements(metric, {"k": 4}) == {"x": True, "codes": True, "labels": False}


def test_importance_weights_average_to_the_bound_and_lie_above_it(arrays):
    weights = arrays.get("log_weights")
    assert weights.shape == (30, 64)
    bound = (arrays.get("log_prob") - arrays.get("posterior").kl).mean()
    assert float(weights.mean()) == pytest.approx(float(bound), abs=0.5)
    many = torch.logsumexp(weights, 1) - torch.log(torch.tensor(64.0))
    assert (many >= weights.mean(1)).all()


def test_training_items_are_no_held_out_items(arrays, data):
    assert not set(arrays.get("batch_train")["index"].tolist()) & set(arrays.rows.tolist())
    assert torch.equal(arrays.get("codes_train"), arrays.get("encode")(arrays.get("x_train")))


def test_noise_on_the_input_moves_codes_more_the_more_there_is(arrays):
    moved = {sigma: float((codes - arrays.get("codes")).norm()) for sigma, codes in arrays.get("noisy_codes").items()}
    assert sorted(moved) == [0.05, 0.1, 0.2]
    assert moved[0.05] < moved[0.1] < moved[0.2]


def test_each_draw_meets_the_density_of_every_posterior(arrays):
    found, encoded = arrays.get("posterior_log_density"), arrays.get("encoded")
    assert found.shape == (len(arrays.rows),) * 2
    with torch.no_grad():
        q = arrays.model.encode(arrays.get("x"))
        for i, j in ((0, 0), (0, 3), (5, 2)):
            expected = q.log_prob(encoded.draw[i].expand_as(encoded.draw))[j]
            assert float(found[i, j]) == pytest.approx(float(expected), abs=1e-4)


def test_an_iterative_sampler_draws_fewer_items_and_its_scores_say_how_many(tmp_path):
    here = DataModule(write_data(tmp_path, kind="image", n=600))
    features = tmp_path / "features"
    make_features({"name": "drawn", "extractor": EXTRACTOR}, here.folder, features)
    model = instantiate(zoo.small_vae(), spec=here.spec).eval()
    model.passes = 18
    with torch.no_grad():
        arrays = Arrays(model, here, load_features(features, here.spec.x), 100, 64, settings={"sample_passes": 18 * 30 + 5})
        assert len(arrays.get("features_samples")) == arrays.provenance({"features_real", "features_samples"})["n"] == 30
        assert len(arrays.get("features_recon")) == arrays.provenance({"features_real", "features_recon"})["n"] > 30
        assert arrays.sampling_seconds > 0
        for name in ("mean_item", "real", "train_copy"):
            assert len(StandIn(arrays, name, 3).get("features_samples")) == 30, name


def test_the_likelihood_is_part_of_the_key_of_all_that_is_measured_by_it(tmp_path):
    found = []
    for kind, family in (("vector", "gaussian"), ("binary", "bernoulli")):
        (tmp_path / kind).mkdir()
        here = DataModule(write_data(tmp_path / kind, kind=kind, n=60))
        with torch.no_grad():
            arrays = Arrays(instantiate(zoo.small_vae(), spec=here.spec).eval(), here, None, 10, 8)
            for name in ("nll", "bits_per_dimension", "nelbo"):
                key, entry = score(METRICS[name], arrays)
                assert (entry["status"], entry["provenance"]["likelihood"]) == ("ok", family), name
                found.append(SimpleNamespace(label=kind, family="vae", model="vae", data="d", scores={key: entry}))
    # On one data set the two would stand in one column, and are not ranked together.
    split = groups([run for run in found if "nll" in run.scores], "nll")
    assert [[one.label for one in group.candidates] for group in split] in ([["vector"], ["binary"]], [["binary"], ["vector"]])
    assert "likelihood differs" in differing(split[0].provenance, split[1].provenance)


def scored(data, features, **settings):
    """(value, key) of every metric of the quick budget, by name; few votes."""
    torch.manual_seed(0)
    with torch.no_grad():
        model = instantiate(zoo.small_vae(), spec=data.spec).eval()
        arrays = Arrays(model, data, features, 80, 64, settings.pop("seed", 0), settings)
        found = {}
        for name, conf in METRICS.items():
            few = {"train": 200, "evaluation": 100} if name in ("beta_vae_score", "factor_vae_score") else {}
            _, entry = score({**conf, "arguments": (conf.get("arguments") or {}) | few}, arrays, "quick")
            found[name] = (entry["value"], entry["provenance"])
    return found


def test_a_seed_or_refits_that_move_a_number_stand_in_its_key(tmp_path):
    here = DataModule(write_data(tmp_path, kind="image", n=400, factors=True, labels=True))
    make_features({"name": "drawn", "extractor": EXTRACTOR}, here.folder, tmp_path / "features")
    features = load_features(tmp_path / "features", here.spec.x)
    first = scored(here, features)
    for changed in ({"seed": 1}, {"refits": 3}):
        again = scored(here, features, **changed)
        moved = {name for name, (value, _) in first.items() if again[name][0] != value}
        assert moved >= (
            {"factor_vae_score", "distortion", "fid", "inception_score"} if "seed" in changed else {"sap", "factor_vae_score"}
        )
        assert not [name for name in moved if first[name][1] == again[name][1]], changed
