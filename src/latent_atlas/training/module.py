"""The only LightningModule: any model's players, one after another, on every batch."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from latent_atlas.models.base import Batch, LatentModel, Losses, Player
from latent_atlas.models.likelihoods import Head
from latent_atlas.models.posteriors import PosteriorHead
from latent_atlas.training.finite import NotFiniteError, explain, items

Row = dict[str, float]


def step_seed(seed: int, step: int, purpose: str = "train") -> int:
    """The seed of all noise of one step: a pure function of (seed, step), so that a fit resumes anywhere."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}:{step}".encode()).digest()[:8], "big") >> 1


def reseed(value: int, device: torch.device) -> None:
    """Seeds the generators that a step can draw from.

    ``torch.manual_seed`` would also format a stack trace for a CUDA that is not there, at each step.
    """
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


class Fit(pl.LightningModule):
    """Trains a model: per batch and in order, each player freezes what is not its own, and takes its steps.

    Manual optimization always. ``model.step`` counts batches, whoever played on them. Losses are averaged over ``log_every``
    batches into ``history``, part of a checkpoint, as are the moving averages of the weights (EMA): buffers of this module.

    Args:
        model: with at least one player.
        seed: of the noise of every step.
        log_every: batches per row of ``history``.
        frozen: a module inside the model that stays in eval mode (a first stage).
        after: called with this module when a batch is done: logging, validation, checkpoints.
    """

    def __init__(
        self,
        model: LatentModel,
        seed: int,
        log_every: int = 50,
        frozen: nn.Module | None = None,
        after: Callable[[Fit], None] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.seed, self.log_every = seed, log_every
        self._outside = (frozen, after)  # in a tuple, or Lightning would register the frozen module a second time
        self.players: dict[str, Player] = model.players()
        self.owned = {name: player.parameters() for name, player in self.players.items()}
        trainable = {id(p): p for own in self.owned.values() for p in own}
        mine = {name: {id(p) for p in own} for name, own in self.owned.items()}
        self.others = {name: [p for key, p in trainable.items() if key not in mine[name]] for name in self.players}
        # Who plays with what, as made by ``configure_optimizers``. Lightning's wrappers of optimizers and its ``manual_backward``
        # count steps, call hooks and scale losses in float16: no use here, and a percent of a fast model's step.
        self._turns: list[tuple[str, Player, torch.optim.Optimizer, Any]] = []
        self.history: list[Row] = []
        self.best: dict[str, float] = {}
        self._last: Tensor | None = None
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        for name, player in self.players.items():
            if player.ema is not None:
                for i, parameter in enumerate(self.owned[name]):
                    self.register_buffer(f"ema_{name}_{i}", parameter.detach().clone())

    @property
    def step(self) -> int:
        """Batches done."""
        return int(self.model.step)

    @property
    def current_loss(self) -> float:
        """The total of the player that moved last."""
        return float("nan") if self._last is None else float(self._last)

    def train(self, mode: bool = True) -> Fit:
        """Training mode for all but the frozen module."""
        super().train(mode)
        if (frozen := self._outside[0]) is not None:
            frozen.eval()
        return self

    def configure_optimizers(self) -> Any:
        """One optimizer per player, in their order; its scheduler is stepped here and saved by Lightning."""
        made, self._turns = [], []  # anew, or a second fit would let everybody play twice
        for name, player in self.players.items():
            optimizer = player.optimizer(self.owned[name])
            scheduler = player.scheduler(optimizer) if player.scheduler is not None else None
            self._turns.append((name, player, optimizer, scheduler))
            made.append({"optimizer": optimizer} | ({} if scheduler is None else {"lr_scheduler": scheduler}))
        return made

    def training_step(self, batches: Iterable[Batch], batch_idx: int) -> None:
        """A stretch of batches, one after another: a turn of Lightning's loop is not free (``fit.Stretches``)."""
        for batch in batches:
            self.play({name: value.to(self.device, non_blocking=True) for name, value in batch.items()})
            self.done()

    def play(self, batch: Batch) -> None:
        """All players on one batch."""
        step = self.step
        reseed(step_seed(self.seed, step), self.device)
        for name, player, optimizer, scheduler in self._turns:
            if step % player.every == 0:
                with self._turn(name):
                    self._play(name, player, optimizer, scheduler, batch, step)
        self.model.step.add_(1)  # in place: an assignment would register the buffer anew

    def _play(self, name: str, player: Player, optimizer: Any, scheduler: Any, batch: Batch, step: int) -> None:
        for _ in range(player.repeat):
            optimizer.zero_grad()
            losses = self.model.loss(batch, name)
            self._check(losses, batch, name, step)
            losses.total.backward()
            if player.clip is not None:
                self.clip_gradients(optimizer, gradient_clip_val=player.clip, gradient_clip_algorithm="norm")
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        if player.ema is not None:
            with torch.no_grad():
                torch._foreach_lerp_(self.averages(name), self.owned[name], 1.0 - player.ema)  # type: ignore[arg-type]
        self._last = losses.total.detach()
        self._remember(losses, "" if len(self.players) == 1 else f"{name}/")

    @contextlib.contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """Only the player's own parameters take gradients."""
        others = self.others[name]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    def _check(self, losses: Losses, batch: Batch, name: str, step: int) -> None:
        if math.isfinite(losses.total.item()):
            return
        reseed(step_seed(self.seed, step), self.device)
        where = explain(self.model, batch, losses.parts, lambda: self.model.loss(batch, name))
        raise NotFiniteError(
            f"step {step}: the loss of player {name!r} is {losses.total.item()}; the first tensor that is not finite is {where}; "
            f"items of the batch: {items(batch)}"
        )

    def _remember(self, losses: Losses, prefix: str) -> None:
        for key, value in {"loss": losses.total, **losses.parts}.items():
            key = prefix + key
            self._sums[key] = self._sums.get(key, 0) + value.detach().float()
            self._counts[key] = self._counts.get(key, 0) + 1

    def done(self) -> None:
        """Closes a row of ``history`` every ``log_every`` batches, then hands over to ``after``."""
        if self._sums and (step := self.step) % self.log_every == 0:
            self.history.append({"step": step, **{key: _short(self._sums[key] / self._counts[key]) for key in self._sums}})
            self._sums, self._counts = {}, {}
        if (after := self._outside[1]) is not None:
            after(self)

    def averages(self, name: str) -> list[Tensor]:
        """The moving averages of a player's parameters."""
        return [self.get_buffer(f"ema_{name}_{i}") for i in range(len(self.owned[name]))]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[LatentModel]:
        """The model with moving averages in place of the weights, of those players that keep them."""
        pairs = [
            pair
            for name, player in self.players.items()
            if player.ema is not None
            for pair in zip(self.owned[name], self.averages(name), strict=True)
        ]
        _swap(pairs)
        try:
            yield self.model
        finally:
            _swap(pairs)

    @torch.no_grad()
    def validate(self, batches: Iterator[Batch]) -> Row:
        """Mean losses of all players over held-out batches, in eval mode, with averaged weights."""
        sums: dict[str, float] = {}
        count = 0
        reseed(step_seed(self.seed, self.step, "validate"), self.device)
        was = self.training
        self.eval()
        with self.averaged() as model:
            for batch in batches:
                batch = {key: value.to(self.device) for key, value in batch.items()}
                size = len(batch["index"])
                for name in self.players:
                    prefix = "val/" if len(self.players) == 1 else f"val/{name}/"
                    losses = model.loss(batch, name)
                    for key, value in {"loss": losses.total, **losses.parts}.items():
                        sums[prefix + key] = sums.get(prefix + key, 0.0) + float(value) * size
                count += size
        self.train(was)
        return {key: _short(value / count) for key, value in sums.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what is not a tensor of the module; plain types only, so that it loads with ``weights_only``."""
        sums = {key: value.cpu() for key, value in self._sums.items()}
        checkpoint["fit"] = {"history": self.history, "best": self.best, "sums": sums, "counts": self._counts}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The inverse."""
        kept = checkpoint["fit"]
        self.history, self.best, self._counts = kept["history"], kept["best"], kept["counts"]
        self._sums = {key: value.to(self.device) for key, value in kept["sums"].items()}


def autocast_nets(model: LatentModel, device: str, frozen: nn.Module | None = None) -> None:
    """Runs the nets of a model in bfloat16 and gives their outputs back in float32: its children, other than spaces and heads.

    Distributions and losses are built from those outputs, so they are float32 throughout.
    """
    for child in model.children():
        if child is not frozen and not isinstance(child, (Head, PosteriorHead)) and child is not model.spaces:
            _Autocast(device).attach(child)


class _Autocast:
    def __init__(self, device: str) -> None:
        self.device = device
        self.stack: list[Any] = []

    def attach(self, net: nn.Module) -> None:
        net.register_forward_pre_hook(self.enter)
        net.register_forward_hook(self.leave, always_call=True)

    def enter(self, _net: nn.Module, _inputs: Any) -> None:
        context = torch.autocast(self.device, dtype=torch.bfloat16)
        context.__enter__()
        self.stack.append(context)

    def leave(self, _net: nn.Module, _inputs: Any, output: Any) -> Any:
        if self.stack:
            self.stack.pop().__exit__(None, None, None)
        return _floats(output)


def _floats(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float() if output.is_floating_point() else output
    if isinstance(output, (tuple, list)) and not hasattr(output, "_fields"):
        return type(output)(_floats(value) for value in output)
    return output


def _swap(pairs: list[tuple[nn.Parameter, Tensor]]) -> None:
    for parameter, average in pairs:
        parameter.data, average.data = average.data, parameter.data


def _short(value: Tensor | float) -> float:
    """Six significant digits: what a curve needs, and a file that people can read."""
    return float(f"{float(value):.6g}")
