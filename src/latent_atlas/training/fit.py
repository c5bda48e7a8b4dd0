"""The stage ``train``: a section of the plan and a data directory in, ``model.pt``, ``config.yaml`` and ``train.json`` out."""

from __future__ import annotations

import hashlib
import itertools
import logging
import platform
import shutil
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException

from latent_atlas.building import BuildError, instantiate
from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.reader import DataError
from latent_atlas.loading import LoadError, load_folder, read_config
from latent_atlas.models.base import Batch, LatentModel
from latent_atlas.training.allocator import keep_memory
from latent_atlas.training.finite import NotFiniteError, first_bad
from latent_atlas.training.module import Fit, autocast_nets, reseed, step_seed
from latent_atlas.training.outputs import atomic_save, whole, write_model
from latent_atlas.training.progress import Progress
from latent_atlas.training.scratch import BusyError, Scratch, fingerprint
from latent_atlas.training.tracking import Tracker, open_tracker

Section = dict[str, Any]
SNAPSHOT = "step-{}.pt"  # weights every trainer.snapshot_every batches, kept in steps/ of the output: a study's curve over steps


class TrainingError(RuntimeError):
    """A training that cannot start or go on; the message says what to do."""


# Ends with one line on the screen, not with a stack trace.
EXPECTED = (TrainingError, BusyError, NotFiniteError, LoadError, BuildError, DataError)


def train(
    section: Section,
    data: Path,
    out: Path,
    *,
    needs: Path | None = None,
    tags: Mapping[str, str] | None = None,
    tracking: Mapping[str, Any] | None = None,
) -> Section:
    """Trains one run, or goes on with it where a killed process left it, and writes ``out`` whole or not at all.

    Args:
        section: ``train`` of the run's plan: run, data, seed, model, trainer, ...
        data: the prepared data directory.
        out: the model's directory; replaced.
        needs: the folder of the first stage, for a model that asks for one.
        tags: more MLflow tags: overrides, source, parent.
        tracking: of the configuration (``conf/tracking``); ``None`` for the defaults.

    Returns:
        what ``train.json`` holds.

    Raises:
        NotFiniteError: a NaN; the last good checkpoint is kept.
        TrainingError: an accelerator that is not there, a full disk.
        SystemExit: 143 after SIGTERM, when the checkpoint is written.
    """
    keep_memory()
    trainer, run = section["trainer"], section["run"]
    check(trainer)
    torch.set_num_threads(int(trainer["threads"]))
    datamodule = DataModule(data, resident=bool(trainer.get("resident", True)), pairs=section.get("pairs"))
    first = needs if section["model"].get("requires", {}).get("first_stage") else None
    mark = fingerprint(section, datamodule.card["content_hash"], _sha256(first / "model.pt") if first else None)
    with Scratch(run, mark) as scratch:
        described = _tags(section, datamodule, mark) | dict(tags or {})
        with open_tracker(tracking, scratch.mlflow, run, described) as tracker:
            tracker.start(section, datamodule.card)
            job = Job(section, datamodule, first, scratch, tracker)
            try:
                model = job.run()
                record = job.write(model, out, mark)
            except OSError as error:
                raise TrainingError(f"{run}: cannot write: {error}; what was written under {scratch.folder} is kept") from error
            tracker.finish(out, record)
        scratch.clear()
    return record


def check(trainer: Section) -> None:
    """Refuses a ``trainer`` that cannot work, naming the key."""
    for key, least in (("steps", 0), ("batch_size", 1), ("threads", 1), ("log_every", 1)):
        if int(trainer[key]) < least:
            raise TrainingError(f"trainer.{key} is {trainer[key]}; it is at least {least}")
    for key, choices in (("precision", ("32-true", "bf16-mixed")), ("select", ("last", "best"))):
        if trainer.get(key, choices[0]) not in choices:
            raise TrainingError(f"trainer.{key} is {trainer[key]!r}; it is one of {', '.join(choices)}")


class Job:
    """One training: the model, how it is fitted, and what is written."""

    def __init__(self, section: Section, data: DataModule, first: Path | None, scratch: Scratch, tracker: Tracker) -> None:
        self.section, self.data, self.first, self.scratch, self.tracker = section, data, first, scratch, tracker
        self.trainer: Section = section["trainer"]
        self.seed, self.steps, self.batch_size = int(section["seed"]), int(self.trainer["steps"]), int(self.trainer["batch_size"])
        self.history: list[dict[str, float]] = []
        self.frozen: LatentModel | None = None

    def run(self) -> LatentModel:
        """The trained model, in eval mode."""
        model = self.build()
        checkpoint = self.readable_checkpoint()
        if checkpoint is None and (prepare := getattr(model, "prepare", None)) is not None:
            reseed(step_seed(self.seed, 0, "prepare"), torch.device("cpu"))
            laps = max(1, len(self.data.rows("train")) // self.batch_size)
            prepare(self.data.train_batches(0, laps, self.seed, self.batch_size))
        if model.players() and self.steps:
            self.fit(model, checkpoint)
        if name := first_bad(itertools.chain(model.named_parameters(), model.named_buffers())):
            raise NotFiniteError(f"{self.section['run']}: after training, {name} is not finite")
        return model.eval()

    def build(self) -> LatentModel:
        """The untrained model, from the seed; a second stage gets its trained first stage, which learns no more."""
        reseed(step_seed(self.seed, 0, "build"), torch.device("cpu"))
        extra = {}
        if self.first is not None:
            self.frozen = load_folder(self.first).requires_grad_(False)
            extra["first_stage"] = self.frozen
        model: LatentModel = instantiate(self.section["model"]["net"], spec=self.data.spec, **extra)
        return model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]

    def readable_checkpoint(self) -> Path | None:
        """``last.ckpt`` if it can be read; one that cannot is set aside, and the run starts afresh."""
        path = self.scratch.checkpoint
        if not path.exists():
            return None
        try:
            step = int(torch.load(path, map_location="cpu", weights_only=True)["state_dict"]["model.step"])
        except Exception as error:  # whatever a damaged archive raises
            aside = self.scratch.set_aside(path)
            say = f"the checkpoint cannot be read ({str(error).splitlines()[0][:80]}); set aside as {aside}, starting afresh"
            print(f"{self.section['run']}: {say}", flush=True)
            return None
        print(f"{self.section['run']}: RESUME at step {step} from {path}", flush=True)
        return path

    def fit(self, model: LatentModel, checkpoint: Path | None) -> None:
        """Lightning's loop: one epoch is the whole run."""
        lightning = self.lightning()
        device = lightning.strategy.root_device.type
        if self.trainer["precision"] == "bf16-mixed":
            autocast_nets(model, device, self.frozen)
            if line := slow_bf16(device):
                print(line, flush=True)
        watch = Watch(self, lightning)
        module = Fit(model, self.seed, int(self.trainer["log_every"]), self.frozen, watch)
        kept = None if checkpoint is None else torch.load(checkpoint, map_location="cpu", weights_only=True)
        start = 0 if kept is None else int(kept["state_dict"]["model.step"])
        watch.logged = start
        watch.progress = Progress(self.section["run"], self.steps, start, self.batch_size)
        order = (self.seed, self.batch_size)
        batches = Stretches(self.data, start, self.steps, *order, stopped=lambda: lightning.received_sigterm)
        try:
            lightning.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
            stopped = lightning.received_sigterm
        except SIGTERMException:
            stopped = True
        if stopped:
            # Lightning's own exit code would be 0: a stage that was stopped must not look like one that succeeded.
            watch.checkpoint(module)
            watch.progress.say(f"stopped by SIGTERM at step {module.step}; run it again to go on")
            self.tracker.stopped()
            raise SystemExit(128 + signal.SIGTERM)
        self.history = module.history
        module.cpu()
        with module.averaged():
            state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if self.trainer.get("select", "last") == "best" and module.best:
            state = torch.load(self.scratch.best, map_location="cpu", weights_only=True)
        model.load_state_dict(state)

    def lightning(self) -> pl.Trainer:
        """A Trainer without what this project does itself: bars, loggers, checkpoints, validation, sanity checks, advice."""
        _quiet()
        try:
            trainer = pl.Trainer(
                accelerator=self.trainer["accelerator"],
                devices=1,
                max_epochs=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                deterministic="warn",
                plugins=[AtomicCheckpoints()],
            )
        except Exception as error:  # Lightning's MisconfigurationException and torch's own errors
            name = self.trainer["accelerator"]
            raise TrainingError(f"trainer.accelerator={name}: {str(error).splitlines()[0]}; `make repro TRAINER=cpu`") from error
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs a pass over every tensor
        if line := idle_accelerator(
            trainer.strategy.root_device.type, torch.cuda.is_available(), torch.backends.mps.is_available()
        ):
            print(line, flush=True)
        return trainer

    def write(self, model: LatentModel, out: Path, mark: str) -> Section:
        """``out``, whole or not at all."""
        section, card = self.section, self.data.card
        config: Section = {key: section[key] for key in ("run", "data", "seed", "model", "trainer", "needs") if key in section}
        config |= {"spec": self.data.spec.to_dict(), "preprocessing": card.get("preprocessing", {}), "fingerprint": mark}
        if self.first is not None:
            config["first_stage"] = read_config(self.first)
        record = {
            "run": section["run"],
            "mlflow_run_id": self.tracker.run_id,
            "step": int(model.step),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "history": self.history,
        }
        with whole(out) as folder:
            for snapshot in self.scratch.folder.glob(SNAPSHOT.format("*")):
                (folder / "steps").mkdir(exist_ok=True)
                shutil.copy(snapshot, folder / "steps")
            return write_model(folder, model, config, record)


class Watch:
    """What happens between batches: the progress line, metrics, validation, checkpoints."""

    def __init__(self, job: Job, lightning: pl.Trainer) -> None:
        self.job, self.lightning = job, lightning
        self.progress: Progress
        trainer = job.trainer
        self.validate_every, self.checkpoint_every = int(trainer.get("validate_every", 0)), int(trainer.get("checkpoint_every", 0))
        self.snapshot_every = int(trainer.get("snapshot_every", 0))
        self.logged = 0

    def __call__(self, fit: Fit) -> None:
        step = fit.step
        last = step >= self.job.steps
        if self.validate_every and (step % self.validate_every == 0 or last):
            self.validate(fit)
        for row in (row for row in fit.history[-2:] if row["step"] > self.logged):  # a training row, a validation row
            self.job.tracker.metrics({**_prefixed(row), "train/items_per_second": self.progress.rate(step)}, step)
        self.logged = max(self.logged, step if fit.history and fit.history[-1]["step"] == step else 0)
        if self.progress.due(step):
            self.progress.show(step, fit.current_loss)
        if self.snapshot_every and step % self.snapshot_every == 0:
            self.save_averaged(fit, self.job.scratch.folder / SNAPSHOT.format(step))
        if self.checkpoint_every and step % self.checkpoint_every == 0 and not last:
            self.checkpoint(fit)

    def validate(self, fit: Fit) -> None:
        """A row of validation losses; the best weights so far are kept when ``select: best`` asks for them."""
        limit = int(self.job.trainer.get("validate_items", 1024))
        row = fit.validate(self.job.data.batches("val", max(self.job.batch_size, 64), limit))
        if not row:
            return
        fit.history.append({"step": fit.step, **row})
        value = next(iter(row.values()))  # the first player's total
        if self.job.trainer.get("select", "last") == "best" and value < fit.best.get("value", float("inf")):
            fit.best = {"value": value, "step": fit.step}
            self.save_averaged(fit, self.job.scratch.best)

    def save_averaged(self, fit: Fit, path: Path) -> None:
        """The weights as ``model.pt`` would hold them now."""
        with fit.averaged() as model:
            atomic_save({name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}, path)

    def checkpoint(self, fit: Fit) -> None:
        """``last.ckpt``, if the weights are good."""
        if name := first_bad(itertools.chain(fit.named_parameters(), fit.named_buffers())):
            raise NotFiniteError(f"step {fit.step}: {name} is not finite; the last good checkpoint is kept")
        self.lightning.save_checkpoint(self.job.scratch.checkpoint)


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, written beside their place and renamed: a full disk leaves the last good one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """See ``outputs.atomic_save``."""
        atomic_save(checkpoint, Path(path))


class Stretches:
    """Batches ``start`` to ``stop`` - 1 in stretches: the one epoch of Lightning's loop, which turns once per stretch.

    A turn costs 0.3 ms, more than a percent of a fast model's step. Nothing depends on how long a stretch is, and it ends after the
    batch in which the process is told to stop. No ``__len__``: then Lightning counts nothing that ``model.step`` counts.
    """

    LENGTH = 25

    def __init__(self, data: DataModule, start: int, stop: int, seed: int, batch_size: int, stopped: Callable[[], bool]) -> None:
        self.data, self.steps, self.order, self.stopped = data, range(start, stop), (seed, batch_size), stopped

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        for first in range(0, len(self.steps), self.LENGTH):
            yield self.stretch(self.steps[first : first + self.LENGTH])

    def stretch(self, steps: Iterable[int]) -> Iterator[Batch]:
        """The batches of these steps, until the process is told to stop."""
        return (self.data.train_batch(step, *self.order) for step in itertools.takewhile(lambda _: not self.stopped(), steps))


def idle_accelerator(used: str, cuda: bool, mps: bool) -> str | None:
    """What to say when a CPU trains beside an idle accelerator."""
    if used != "cpu" or not (cuda or mps):
        return None
    return f"note: training on the CPU beside an idle {'CUDA' if cuda else 'Apple'} GPU; `make repro TRAINER=gpu` uses it"


def bf16_in_hardware() -> bool:
    """Whether this CPU has instructions for bfloat16.

    AVX-512 alone is not enough: there oneDNN supports the type by converting, at a third of float32's speed.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        return any(getattr(torch.cpu, f"_is_{name}_supported", bool)() for name in ("avx512_bf16", "amx_tile"))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def slow_bf16(device: str) -> str | None:
    """What to say where bfloat16 is emulated."""
    if device != "cpu" or bf16_in_hardware():
        return None
    return "note: trainer.precision=bf16-mixed on a CPU without bfloat16 instructions is far slower than 32-true"


def _tags(section: Section, data: DataModule, mark: str) -> dict[str, str]:
    model = section["model"]
    return {
        "data": section["data"],
        "model": model["name"],
        "family": model.get("family", "other"),
        "seed": str(section["seed"]),
        "data_hash": data.card["content_hash"],
        "fingerprint": mark,
    }


def _prefixed(row: Mapping[str, float]) -> dict[str, float]:
    return {key if key.startswith("val/") else f"train/{key}": value for key, value in row.items() if key != "step"}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quiet() -> None:
    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for pattern in (".*isinstance.treespec, LeafSpec.*", ".*does not have many workers.*", ".*You have no .val_dataloader.*"):
        warnings.filterwarnings("ignore", pattern)
