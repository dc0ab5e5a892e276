"""What a trial does: fit one model on each fold's training part, and measure it on the block that follows."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import uuid4

import numpy as np

from cluster.errors import TrainingDiverged
from training.core.artifact import to_bytes
from training.core.component import State, build
from training.core.estimator import Forecaster
from training.core.metrics import wape
from training.core.panel import Panel
from training.core.runner import Backend, Loop, Run, Runner
from training.core.windows import Windows, cut
from training.distributed.ray_runner import RayRunner
from training.features import TRANSFORMS
from training.models import MODELS
from tuning.crew import Assignment, Report
from tuning.folds import Fold
from tuning.records import Part

STEP_METRIC = "validation_loss"
"""What the loops report each step: lower is better, comparable within a family."""
LATENCY_CALLS, WARM_CALLS = 100, 5
"""Single forecasts that are timed, and those before that are not."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What all trials of a study share of one fold; travels to the cluster once.

    Parameters
    ----------
    table
        All rows with their features.
    lookback
        Rows at each series' start without complete features.
    targets, horizon
        What is forecast, and how far.
    known
        What is known over the horizon.
    fold
        What is learned from, and what is forecast.
    """

    table: Windows
    lookback: int
    targets: tuple[str, ...]
    known: tuple[str, ...]
    horizon: int
    fold: Fold

    @classmethod
    def prepare(cls, panel: Panel, fold: Fold, *, features: tuple[Part, ...], horizon: int) -> Material:
        """Fit the features on the fold's training part and compute them for all rows, once for all trials."""
        transforms = [build(TRANSFORMS, part["name"], part["params"]) for part in features]
        lookback = sum(transform.lookback for transform in transforms)
        known = panel.schema.known_names
        table = panel.windows(lookback + horizon + 1)
        for transform in transforms:
            transform.fit(table.ahead_within(horizon, since=fold.train_start, until=fold.validation_start))
            table = transform.transform(table)
            known = transform.ahead_columns(known)
        targets = panel.schema.target_names
        return cls(table=table, lookback=lookback, targets=targets, known=known, horizon=horizon, fold=fold)

    def parts(self, context: int) -> tuple[Windows, Windows]:
        """Return (training, validation) windows of `context + horizon` rows."""
        length, fold = context + self.horizon, self.fold
        windows = cut(self.table, length=self.lookback + length).tail(length)
        train = windows.ahead_within(self.horizon, since=fold.train_start, until=fold.validation_start)
        return train, windows.ahead_within(self.horizon, since=fold.validation_start, until=fold.validation_end)


@dataclass(frozen=True, kw_only=True)
class ForecastWork:
    """The work of a forecaster's trials.

    Parameters
    ----------
    materials
        One a fold, the oldest first. With several, a trial reports the mean score after each.
    metrics
        What is asked for beside the WAPE.
    cpus
        Threads of a trial.
    keep_state
        Whether reports carry the training's state, for trials that go on from another's.
    train_workers
        Ray Train workers of each trial; 0 trains in the trial's own process.
    storage
        Folder that all workers see, for the checkpoints of those.
    """

    materials: tuple[Material, ...]
    metrics: tuple[str, ...] = ("wape",)
    cpus: int = 1
    keep_state: bool = False
    train_workers: int = 0
    storage: str = ""

    def __call__(self, assignment: Assignment, report: Report) -> Mapping[str, float]:
        """Fit and measure on every fold; return the means."""
        found: list[dict[str, float]] = []
        several = len(self.materials) > 1
        for material in self.materials:
            with self._runner(assignment, _silent if several else report, len(found)) as runner:
                found.append(self._measure(assignment, material, runner))
            if several:
                report(len(found), fmean(each["wape"] for each in found), fold=True)
        return {name: fmean(each[name] for each in found) for name in found[0]}

    @contextmanager
    def _runner(self, assignment: Assignment, report: Report, fold: int) -> Iterator[Runner]:
        """Give where a fold's training runs; its checkpoints are gone afterwards."""
        if not self.train_workers:
            yield TrialRunner(report, assignment.state, keep_state=self.keep_state)
            return
        name = f"trial-{assignment.number}-{fold}-{uuid4().hex[:8]}"
        try:
            yield RayRunner(
                num_workers=self.train_workers,
                storage=self.storage,
                name=name,
                on_report=lambda step, metrics: report(step, metrics[STEP_METRIC]),
            )
        finally:
            shutil.rmtree(Path(self.storage) / name, ignore_errors=True)

    def _measure(self, assignment: Assignment, material: Material, runner: Runner) -> dict[str, float]:
        model, validation = fitted(assignment.model, assignment.params, material, runner, self.cpus)
        context, actual = model.split(validation)
        metrics = {"wape": wape(actual, model.predict(context))}
        if not math.isfinite(metrics["wape"]):
            raise TrainingDiverged(
                f"'{assignment.model}' forecasts no numbers: got a WAPE of {metrics['wape']}; try a smaller "
                "learning rate"
            )
        if "latency_p99_ms" in self.metrics:
            metrics["latency_p99_ms"] = latency_p99_ms(model, context)
        if "size_bytes" in self.metrics:
            metrics["size_bytes"] = float(len(to_bytes(model.state())))
        return metrics


def fitted(
    name: str, params: Mapping[str, Any], material: Material, runner: Runner, cpus: int = 1
) -> tuple[Forecaster, Windows]:
    """Return the model `name` fitted with `params` on a fold's training part, and the fold's validation windows."""
    model = build(MODELS, name, params)
    limit_threads(cpus, torch=model.tags.backend == "torch")
    train, validation = material.parts(model.context)
    model.fit(
        train,
        horizon=material.horizon,
        targets=material.targets,
        known=material.known if model.tags.known_future else (),
        validation=validation,
        runner=runner,
    )
    return model, validation


def latency_p99_ms(model: Forecaster, context: Windows) -> float:
    """Return the 99th percentile of single forecasts' times, in milliseconds."""
    took_s = []
    for call in range(WARM_CALLS + LATENCY_CALLS):
        at = call % len(context)
        began_s = time.perf_counter()
        model.predict(context[at : at + 1])
        took_s.append(time.perf_counter() - began_s)
    return 1000 * float(np.quantile(took_s[WARM_CALLS:], 0.99))


class TrialRunner(Runner):
    """Runs a loop right here and tells the trial's report of each step.

    Parameters
    ----------
    report
        Hears of each step; what it raises ends the training.
    state
        Where training goes on from.
    keep_state
        Whether reports carry the loop's checkpoints.
    """

    def __init__(self, report: Report, state: State | None = None, *, keep_state: bool = False) -> None:
        self._run = _TrialRun(report, state, keep_state=keep_state)

    def run(self, loop: Loop, job: dict[str, Any], *, backend: Backend) -> State:  # noqa: ARG002 - alone
        """Return what `loop` returned."""
        return loop(self._run, job)


class _TrialRun(Run):
    def __init__(self, report: Report, state: State | None, *, keep_state: bool) -> None:
        self._report, self._state, self._keep_state = report, state, keep_state

    def resumed(self) -> State | None:
        """Return the state that was given."""
        return self._state

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: State | None = None) -> None:
        """Tell the loss."""
        self._report(step, metrics[STEP_METRIC], state=checkpoint if self._keep_state else None)


def _silent(step: int, value: float, *, fold: bool = False, state: Any = None) -> None:
    """Tell nobody: with several folds a model's own losses are not compared."""


def limit_threads(count: int, *, torch: bool) -> None:
    """Keep a trial to its processors: trials run beside each other, and their threads would only fight."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if torch:
        from torch import set_num_threads

        set_num_threads(count)
