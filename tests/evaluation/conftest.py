"""Trained-looking runs of drawn data: everything that ``evaluate`` reads, without training."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
import zoo
from drawn import write_data

from latent_atlas.building import instantiate
from latent_atlas.data.datamodule import DataModule
from latent_atlas.evaluation.evaluate import evaluate
from latent_atlas.evaluation.features import make_features

CONF = Path(__file__).resolve().parents[2] / "conf/evaluation"
EXTRACTOR = {"name": "domain", "dimensions": 8, "steps": 20, "batch_size": 32, "seed": 0, "threads": 1}


def evaluation_conf(**changes):
    """conf/budget/quick.yaml with every metric of conf/evaluation/metric, as the plan writes it."""
    conf = yaml.safe_load((CONF.parent / "budget/quick.yaml").read_text(encoding="utf-8"))
    metrics = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted((CONF / "metric").glob("*.yaml"))}
    return conf | {"threads": 1, "metrics": metrics} | changes


def write_run(folder, data, model="small_vae", name="run"):
    """A model folder with the weights that seed 0 gives."""
    module = DataModule(data)
    torch.manual_seed(0)
    net = instantiate(zoo.CONF[model]["net"], spec=module.spec)
    folder.mkdir(parents=True)
    with (folder / "model.pt").open("wb") as file:
        torch.save(net.state_dict(), file)
    digest = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    (folder / "train.json").write_text(json.dumps({"run": name, "mlflow_run_id": None, "sha256": digest}))
    config = {"run": name, "data": data.name, "model": zoo.CONF[model], "seed": 0, "spec": module.spec.to_dict()}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """What evaluations keep goes to the test's own directory."""
    monkeypatch.setenv("LATENT_ATLAS_HOME", str(tmp_path))


class Stage:
    """The inputs and outputs of one evaluation in a temporary directory."""

    def __init__(self, tmp, model="small_vae", **drawn):
        self.data = write_data(tmp, **drawn)
        self.features = tmp / "features" / self.data.name
        self.card = make_features({"name": self.data.name, "extractor": EXTRACTOR}, self.data, self.features)
        self.model = write_run(tmp / "models" / "run", self.data, model)
        self.out, self.scores = tmp / "evaluations" / "run", tmp / "metrics" / "run.json"
        self.section = {"tier": "core", "evaluation": evaluation_conf(), "tracking": {"enabled": False}}
        self.train = {"run": "run", "data": self.data.name, "seed": 0, "model": zoo.CONF[model], "trainer": {"threads": 1}}

    def paths(self):
        return {name: getattr(self, name) for name in ("data", "features", "model", "out", "scores")}

    def run(self, **conf):
        section = self.section | {"evaluation": self.section["evaluation"] | conf}
        result = evaluate(section, self.train, **self.paths())
        return SimpleNamespace(
            result=result,
            scores=result["scores"],
            written=json.loads((self.out / "evaluation.json").read_text(encoding="utf-8"), parse_constant=_no_constant),
            flat=json.loads(self.scores.read_text(encoding="utf-8"), parse_constant=_no_constant),
        )


def _no_constant(token):
    raise AssertionError(f"{token} in a JSON file")


@pytest.fixture
def stage(tmp_path):
    """A factory of stages in one temporary directory."""
    return lambda **kwargs: Stage(tmp_path, **kwargs)
