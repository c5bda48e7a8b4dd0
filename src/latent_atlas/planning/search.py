"""A Hydra sweeper over several objectives, driven by current Optuna; it ends in a Pareto front.

``hydra-optuna-sweeper`` pins optuna<3 (2021), so this drives the installed Optuna itself: ask for a batch of trials, let Hydra's
launcher run them (basic or joblib alike), tell the values. The study lies in the sweep's directory: the same command with that
``hydra.sweep.dir`` goes on where a killed one stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class SearchError(ValueError):
    """A search that cannot run; the message names the option."""


class ParetoSweeper(Sweeper):
    """Searches for the runs that no other run beats in every objective (multi-objective TPE; Ozaki et al. 2020, GECCO).

    Args:
        objectives: score key -> ``minimize`` or ``maximize``; a key may end in ``*`` (``fid_*``) where the data names the rest.
        params: configuration key -> Hydra's sweep syntax: ``interval(1, 16)``, ``tag(log, interval(...))``, ``range``, ``choice``.
        trials: how many runs in all.
        at_once: how many are asked for together; the launcher runs them side by side.
        seed: of the sampler.
    """

    def __init__(self, objectives: Mapping[str, str], params: Mapping[str, Any], trials: int, at_once: int, seed: int) -> None:
        wrong = {key: way for key, way in objectives.items() if way not in ("minimize", "maximize")}
        if wrong or not objectives:
            raise SearchError(f"hydra.sweeper.objectives: {dict(objectives)}; each key is minimized or maximized")
        self.objectives, self.params = dict(objectives), dict(params)
        self.trials, self.at_once, self.seed = trials, at_once, seed

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before ``sweep``."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[dict[str, Any]]:
        """Runs the search; returns the Pareto front, which also lies in ``<sweep dir>/pareto.json``."""
        assert self.config is not None
        assert self.launcher is not None
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        study, space, fixed = self._study(folder), *self._space(arguments)
        while (left := self.trials - len([t for t in study.trials if t.state.is_finished()])) > 0:
            batch = [study.ask(space) for _ in range(min(self.at_once, left))]
            jobs = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in batch]
            self.validate_batch_is_legal(jobs)
            for trial, done in zip(batch, self.launcher.launch(jobs, initial_job_idx=batch[0].number), strict=True):
                self._tell(study, trial, done)
        front = self._front(study)
        (folder / "pareto.json").write_text(json.dumps(front, indent=2), encoding="utf-8")
        return front

    def _study(self, folder: Path) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=f"sqlite:///{folder.resolve() / 'optuna.db'}",
            study_name="search",
            sampler=optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=min(10, max(2, self.trials // 3))),
            directions=[optuna.study.StudyDirection[way.upper()] for way in self.objectives.values()],
            load_if_exists=True,
        )
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):  # a killed sweep's: the same point is asked again
            study.tell(trial.number, state=optuna.trial.TrialState.PRUNED)
            study.enqueue_trial(trial.params)
            self.trials += 1
        return study

    def _space(self, arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """Optuna's distributions, and the overrides that every run shares. The command line wins over ``params``."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader if self.hydra_context else None)
        given = parser.parse_overrides([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        space: dict[str, Any] = {}
        fixed: dict[str, str] = {}
        for override in given:
            key = override.get_key_element()
            if override.is_sweep_override():
                space[key] = _distribution(override)
                fixed.pop(key, None)
            else:
                fixed[key] = f"{key}={override.get_value_element_as_str()}"
                space.pop(key, None)
        if not space:
            raise SearchError("hydra.sweeper.params names nothing to search over")
        return space, list(fixed.values())

    def _tell(self, study: Any, trial: Any, done: Any) -> None:
        import optuna

        if done.status != JobStatus.COMPLETED:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        scores = done.return_value or {}
        values = [_score(scores, key) for key in self.objectives]
        missing = [key for key, value in zip(self.objectives, values, strict=True) if value is None]
        if missing:
            raise SearchError(f"hydra.sweeper.objectives: no score {', '.join(missing)}; this run has {', '.join(sorted(scores))}")
        study.tell(trial, values)

    def _front(self, study: Any) -> list[dict[str, Any]]:
        names = list(self.objectives)
        best = {trial.number for trial in study.best_trials}
        return [
            {"job": t.number, "on_front": t.number in best, "params": t.params, "values": dict(zip(names, t.values, strict=True))}
            for t in study.trials
            if t.values is not None
        ]


def _distribution(override: Override) -> Any:
    """Hydra's sweep syntax as an Optuna distribution."""
    import optuna.distributions as od

    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):
        return od.CategoricalDistribution(list(override.sweep_iterator()))  # type: ignore[arg-type]
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        return od.FloatDistribution(float(sweep.start), float(sweep.end), log="log" in sweep.tags)
    if isinstance(sweep, RangeSweep):
        start, stop, step = float(sweep.start or 0), float(sweep.stop or 0), float(sweep.step)
        last = start + (math.ceil((stop - start) / step) - 1) * step  # Hydra's range leaves its end out
        if all(value.is_integer() for value in (start, last, step)):
            return od.IntDistribution(int(start), int(last), step=int(step))
        return od.FloatDistribution(start, last, step=step)
    raise SearchError(f"{override.input_line}: a search takes interval, range or choice")


def _score(scores: Mapping[str, float], key: str) -> float | None:
    if key.endswith("*"):
        return next((value for name, value in sorted(scores.items()) if name.startswith(key[:-1])), None)
    return scores.get(key)
