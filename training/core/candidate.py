"""Who sits the exam: a model, the data it is fitted on, and a runner that watches its loop."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from training.core.catalog import Catalog
from training.core.component import State, build
from training.core.estimator import Forecaster
from training.core.panel import Panel
from training.core.runner import Backend, Loop, Run, Runner
from training.core.schema import Column, Schema
from training.core.splits import Split, chronological_split
from training.core.validation import ID, TIME
from training.core.windows import Floats, Windows

HORIZON = 6
SEASON = 12
SIZES = (420, 380, 330)
"""Rows of the exam's series: ragged, and enough for contexts of up to 24 rows in every part."""

SCHEMA = Schema(
    name="exam",
    frequency="h",
    targets=(Column(name="emitted", unit="kg"), Column(name="used", unit="kWh")),
    covariates=(Column(name="load"),),
    season_length=SEASON,
)


def easy_panel() -> Panel:
    """Return three ragged series that end together: two targets with a clear season of 12 steps, one covariate."""
    rng = np.random.default_rng(12)
    frames = []
    for number, size in enumerate(SIZES):
        steps = np.arange(max(SIZES) - size, max(SIZES))
        wave = np.sin(2 * np.pi * steps / SEASON)
        columns = {
            ID: f"plant-{number}",
            TIME: pd.Timestamp("2024-03-01") + pd.to_timedelta(steps, unit="h"),
            "emitted": 50 + 5 * number + 10 * wave + rng.normal(0, 1, size),
            "used": 200 + 30 * np.roll(wave, 3) + rng.normal(0, 3, size),
            "load": wave + rng.normal(0, 0.2, size),
        }
        frames.append(pd.DataFrame(columns))
    return Panel(pd.concat(frames, ignore_index=True), SCHEMA)


def constant_panel(value: float = 50.0) -> Panel:
    """Return the same series, standing still."""
    frame = easy_panel().frame.assign(**dict.fromkeys(SCHEMA.names, value))
    return Panel(frame, SCHEMA)


def changed_since(panel: Panel, time: Any) -> Panel:
    """Return the panel with all values from `time` on replaced by quite different ones."""
    frame = panel.frame.copy()
    late = frame[TIME] >= pd.Timestamp(time)
    for name in panel.schema.names:
        frame.loc[late, name] = 1000.0 - 3 * frame.loc[late, name]
    return Panel(frame, panel.schema)


@dataclass(frozen=True)
class Candidate:
    """A model of a catalog, and what the checks ask of it again and again.

    Parameters
    ----------
    catalog
        Where it is listed.
    name
        Its name there.
    """

    catalog: Catalog[Forecaster]
    name: str

    @property
    def kind(self) -> type[Forecaster]:
        """The class."""
        return self.catalog.load(self.name)

    def make(self, **params: Any) -> Forecaster:
        """Return an unfitted model of the example's size; `params` on top."""
        return build(self.catalog, self.name, self.kind.example_params() | params)

    def fit(self, panel: Panel, runner: Runner | None = None, **params: Any) -> Forecaster:
        """Return a model fitted and calibrated on the panel's earlier parts."""
        split = chronological_split(panel)
        return self.make(**params).fit_panel(panel, horizon=HORIZON, split=split, runner=runner)

    @cached_property
    def panel(self) -> Panel:
        """The easy data."""
        return easy_panel()

    @cached_property
    def split(self) -> Split:
        """Its parts."""
        return chronological_split(self.panel)

    @cached_property
    def model(self) -> Forecaster:
        """A fitted model that no check may change."""
        return self.fit(self.panel)

    def origins(self, panel: Panel | None = None) -> Windows:
        """Return contexts: those of the test part, or of another panel at the same times."""
        windows = (panel or self.panel).windows(self.model.context + HORIZON)
        return windows.ahead_within(HORIZON, since=self.split.test_start).head(self.model.context)

    def digest(self, model: Forecaster) -> str:
        """Return a fingerprint of the model's forecasts, to the last bit."""
        return hashlib.sha256(np.ascontiguousarray(model.predict(self.origins())).tobytes()).hexdigest()


def digest_elsewhere(kind: type[Forecaster]) -> str:
    """Return the digest of a model fitted here; called in another process."""
    alone = Catalog[Forecaster]("model", {kind.name: f"{kind.__module__}:{kind.__qualname__}"})
    candidate = Candidate(alone, kind.name)
    return candidate.digest(candidate.model)


def alone(windows: Windows, index: int) -> Windows:
    """Return one window over a table of its own."""
    one = windows[np.array([index])]
    return replace(
        one,
        rows=one.values[0].copy(),
        times=one.timestamps[0].copy(),
        segments=np.array([0, one.length], dtype=np.int64),
        starts=np.zeros(1, dtype=np.int64),
        series=one.ids,
    )


def alike(got: Floats, expected: Floats, tolerance: float) -> bool:
    """Return whether two forecasts differ by no more than `tolerance` times the largest value."""
    return got.shape == expected.shape and bool(
        np.abs(got - expected).max(initial=0.0) <= tolerance * np.abs(expected).max(initial=0.0)
    )


@dataclass
class WatchedRunner(Runner):
    """Runs a loop in this process from a checkpoint, and notes what it reports.

    Parameters
    ----------
    start
        What `Run.resumed` gives.
    """

    start: State | None = None
    backends: list[Backend] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    checkpoints: list[State] = field(default_factory=list)

    def run(self, loop: Loop, job: dict[str, Any], *, backend: Backend) -> State:
        """Return what the loop returned; loop and job travel as they would to a worker."""
        self.backends.append(backend)
        sent_loop, sent_job = pickle.loads(pickle.dumps((loop, job)))  # noqa: S301 - our own, just written
        state: State = sent_loop(_WatchedRun(self), sent_job)
        return state


class _WatchedRun(Run):
    def __init__(self, watch: WatchedRunner) -> None:
        self._watch = watch

    def resumed(self) -> State | None:
        return self._watch.start

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: State | None = None) -> None:  # noqa: ARG002
        self._watch.steps.append(step)
        if checkpoint is not None:
            self._watch.checkpoints.append(checkpoint)
