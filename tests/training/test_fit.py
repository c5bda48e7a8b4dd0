"""Fit and train: the same weights as a bare loop, players in turn, whole outputs."""

import json

import pytest
import torch
import yaml
from drawn import write_data
from stage import MODELS, TRAINER, Stage

from latent_atlas.building import instantiate
from latent_atlas.data.datamodule import DataModule
from latent_atlas.loading import load_folder
from latent_atlas.training.fit import Stretches, TrainingError, idle_accelerator, slow_bf16, train
from latent_atlas.training.module import Fit, autocast_nets, step_seed
from latent_atlas.training.outputs import whole
from latent_atlas.training.scratch import BusyError, Scratch, fingerprint

SILENT = {"enabled": False}


def trained(stage, **section):
    return train(stage.section | section, stage.data, stage.out, tracking=SILENT)


def test_the_same_weights_as_a_bare_loop(tmp_path):
    stage = Stage(tmp_path, "small_vae", steps=20, checkpoint_every=7, validate_every=3)
    trained(stage)
    data, seed = DataModule(stage.data), stage.section["seed"]
    torch.manual_seed(step_seed(seed, 0, "build"))
    model = instantiate(MODELS["small_vae"]["net"], spec=data.spec).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(20):
        torch.manual_seed(step_seed(seed, step))
        optimizer.zero_grad()
        model.loss(data.train_batch(step, seed, 16), "model").total.backward()
        optimizer.step()
        model.step += 1
    ours = load_folder(stage.out).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, ours[name]), name


def test_same_seed_same_bytes_and_another_seed_others(tmp_path):
    stage = Stage(tmp_path, "small_vae", steps=10)
    hashes = [trained(stage, seed=seed)["sha256"] for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_written(tmp_path):
    stage = Stage(tmp_path, "small_vae", steps=12)
    record = trained(stage)
    assert json.loads((stage.out / "train.json").read_text()) == record
    assert record["step"] == 12
    assert [row["step"] for row in record["history"]] == [4, 8, 10, 12, 12]
    assert {"loss", "rate", "distortion"} <= set(record["history"][0])
    assert "val/loss" in record["history"][2]
    config = yaml.safe_load((stage.out / "config.yaml").read_text())
    assert {"run", "data", "seed", "model", "trainer", "spec", "preprocessing", "fingerprint", "needs"} <= set(config)
    assert not (tmp_path / "work/runs").exists() or not list((tmp_path / "work/runs").iterdir())


def test_a_model_without_players_writes_the_same_files(tmp_path):
    stage = Stage(tmp_path, "small_vae")
    with open("conf/model/pca.yaml", encoding="utf-8") as file:
        pca = yaml.safe_load(file)
    record = trained(stage, model=pca)
    assert sorted(path.name for path in stage.out.iterdir()) == ["config.yaml", "model.pt", "train.json"]
    assert record["history"] == []
    x = DataModule(stage.data).witnesses()["image"]
    model = load_folder(stage.out)
    assert (model.decode(model.encode(x).mode).mean - x).abs().mean() < x.std() / 2


def test_a_second_stage_holds_its_first_and_leaves_it_as_it_was(tmp_path):
    first = Stage(tmp_path, "small_vae", steps=10)
    trained(first)
    second = Stage(tmp_path, "second_stage", steps=10)
    train(second.section, second.data, second.out, needs=first.out, tracking=SILENT)
    before, after = load_folder(first.out).state_dict(), load_folder(second.out).first_stage.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_lowest_validation_is_selected(tmp_path):
    stage = Stage(tmp_path, "small_vae", steps=40, select="best", validate_every=1, n=40)
    stage.section["model"] = yaml.safe_load(yaml.safe_dump(stage.section["model"]))
    stage.section["model"]["net"]["optimizer"]["lr"] = 0.3  # far too high: the last step is not the best
    record = trained(stage)
    rows = [row for row in record["history"] if "val/loss" in row]
    best = min(rows, key=lambda row: row["val/loss"])
    assert best["step"] < 40
    assert record["step"] == best["step"]


@pytest.mark.parametrize(("told_after", "last"), [(1000, 63), (30, 33)])
def test_stretches_are_the_batches_in_order_and_end_where_they_are_told_to(tmp_path, told_after, last):
    data = DataModule(write_data(tmp_path, "image", shape=(1, 8, 8)))
    found = []
    for stretch in Stretches(data, 3, 63, 5, 16, stopped=lambda: len(found) >= told_after):
        for batch in stretch:
            found.append(batch["index"])
    wanted = [batch["index"] for batch in data.train_batches(3, last, 5, 16)]
    assert len(found) == len(wanted)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("model", ["game", "two_players"])
def test_players_move_only_what_is_theirs(tmp_path, model):
    stage = Stage(tmp_path, model)
    data = DataModule(stage.data)
    built = instantiate(MODELS[model]["net"], spec=data.spec)
    fit = Fit(built, seed=0)
    for name, player in built.players().items():
        with fit._turn(name):
            built.loss(data.train_batch(0, 0, 16), name).total.backward()
        own = {id(parameter) for parameter in player.parameters()}
        for parameter in built.parameters():
            assert (parameter.grad is not None) == (id(parameter) in own)
            parameter.grad = None
        assert all(parameter.requires_grad for parameter in built.parameters())


def test_a_second_fit_lets_nobody_play_twice(tmp_path):
    data = DataModule(write_data(tmp_path, "image", shape=(1, 8, 8)))
    weights = []
    for starts in (1, 2):
        torch.manual_seed(0)
        fit = Fit(instantiate(MODELS["small_vae"]["net"], spec=data.spec), seed=0)
        for _ in range(starts):
            fit.configure_optimizers()
        fit.play(data.train_batch(0, 0, 16))
        weights.append(fit.model.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_averages_stand_in_for_the_weights_and_step_back(tmp_path):
    data = DataModule(write_data(tmp_path, "image", shape=(1, 8, 8)))
    fit = Fit(instantiate(MODELS["vae"]["net"], spec=data.spec), seed=0)
    first = fit.owned["model"][0]
    weight, average = first.detach().clone(), torch.full_like(first, 2.0)
    fit.averages("model")[0].copy_(average)
    with fit.averaged():
        assert torch.equal(first, average)
    assert torch.equal(first, weight)
    assert torch.equal(fit.averages("model")[0], average)


def test_half_precision_is_inside_the_nets_only(tmp_path):
    data = DataModule(write_data(tmp_path, "image", shape=(1, 8, 8)))
    model = instantiate(MODELS["small_vae"]["net"], spec=data.spec)
    batch = data.train_batch(0, 0, 16)
    exact = model.encode(batch["image"]).mode
    seen = []
    inner = next(module for module in model.encoder.modules() if isinstance(module, torch.nn.Linear))
    inner.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    autocast_nets(model, "cpu")
    rough = model.encode(batch["image"]).mode
    losses = model.loss(batch, "model")
    assert set(seen) == {torch.bfloat16}
    assert {rough.dtype, losses.total.dtype, *(part.dtype for part in losses.parts.values())} == {torch.float32}
    assert not torch.equal(exact, rough)
    assert torch.allclose(exact, rough, atol=0.05)
    assert not torch.is_autocast_enabled("cpu")


def test_an_output_takes_its_name_when_it_is_whole(tmp_path):
    out = tmp_path / "models/run"
    with whole(out) as folder:
        (folder / "file").write_text("first")
        assert not out.exists()  # whatever ends the process here leaves nothing under the final name

    def fail():
        with whole(out) as folder:
            (folder / "file").write_text("half")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert (out / "file").read_text() == "first"
    assert list(out.parent.iterdir()) == [out]


def test_a_net_gives_back_float32_whatever_it_computes_in():
    model = torch.nn.Module()
    model.spaces, model.net = torch.nn.ModuleDict(), torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    seen = []
    model.net[1].register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    autocast_nets(model, "cpu")
    assert model.net(torch.zeros(2, 4)).dtype == torch.float32
    assert seen == [torch.bfloat16]


def test_every_setting_makes_another_scratch_directory():
    section = {"run": "r", "trainer": TRAINER}
    marks = {
        fingerprint(section, "data"),
        fingerprint(section, "other data"),
        fingerprint(section | {"trainer": TRAINER | {"steps": 41}}, "data"),
        fingerprint(section, "data", "first stage"),
    }
    assert len(marks) == 4


def test_a_run_is_trained_by_one_process_at_a_time():
    with Scratch("r", "m"), pytest.raises(BusyError, match="being trained by process"), Scratch("r", "m"):
        pass


def test_an_accelerator_that_is_not_there_is_one_line(tmp_path):
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is an accelerator")
    stage = Stage(tmp_path, "small_vae", accelerator="gpu")
    with pytest.raises(TrainingError, match="accelerator=gpu"):
        trained(stage)


@pytest.mark.parametrize(("key", "value"), [("steps", -1), ("batch_size", 0), ("precision", "16-mixed"), ("select", "first")])
def test_a_setting_that_cannot_work_is_named(tmp_path, key, value):
    with pytest.raises(TrainingError, match=f"trainer.{key} is "):
        trained(Stage(tmp_path, "small_vae", **{key: value}))


def test_an_idle_accelerator_is_mentioned():
    assert "make repro TRAINER=gpu" in idle_accelerator("cpu", cuda=True, mps=False)
    assert idle_accelerator("cpu", cuda=False, mps=False) is None
    assert idle_accelerator("cuda", cuda=True, mps=False) is None


def test_emulated_bfloat16_is_mentioned(monkeypatch):
    for machine, has in (
        ("x86_64", {"avx512_bf16": True, "amx_tile": False}),
        ("x86_64", {"avx512_bf16": False, "amx_tile": False}),
        ("aarch64", True),
        ("aarch64", False),
    ):
        monkeypatch.setattr("latent_atlas.training.fit.platform.machine", lambda machine=machine: machine)
        # What oneDNN supports, by converting if need be, does not count where the instructions are known.
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda has=has: bool(has), raising=False)
        for name, value in (has if isinstance(has, dict) else {}).items():
            monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda value=value: value, raising=False)
        fast = any(has.values()) if isinstance(has, dict) else has
        assert (slow_bf16("cpu") is None) is fast
        assert slow_bf16("cuda") is None
