"""Who sits the exam: a model, the data it is fitted on, and a runner that watches its loop."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from training.core.catalog import Catalog
from training.core.component import State, build
from training.core.estimator import Forecaster
from training.core.panel import Panel
from training.core.prediction import Prediction
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
    covariates=(Column(name="load"), Column(name="plan", role="known"), Column(name="size", role="static")),
    season_length=SEASON,
)


def easy_panel() -> Panel:
    """Return three ragged series that end together: two targets with a season of 12 steps, a covariate a role."""
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
            "plan": rng.normal(0, 1, size),
            "size": float(number),
        }
        frames.append(pd.DataFrame(columns))
    return Panel(pd.concat(frames, ignore_index=True), SCHEMA)


def constant_panel(value: float = 50.0) -> Panel:
    """Return the same series, standing still."""
    frame = easy_panel().frame.assign(**dict.fromkeys(SCHEMA.names, value))
    return Panel(frame, SCHEMA)


def planned_panel() -> Panel:
    """Return series whose first target is what the plan says of the same row, and noise to who cannot read it."""
    panel = easy_panel()
    rng = np.random.default_rng(5)
    emitted = 50 + 10 * panel.frame["plan"] + rng.normal(0, 0.5, len(panel))
    return Panel(panel.frame.assign(emitted=emitted), SCHEMA)


def changed_since(panel: Panel, time: Any, kept: Collection[str] = ()) -> Panel:
    """Return the panel with all values from `time` on, but those of `kept`, replaced by quite different ones."""
    frame = panel.frame.copy()
    late = frame[TIME] >= pd.Timestamp(time)
    for name in set(panel.schema.names) - {*kept, *panel.schema.static_names}:
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
        return self.model.split(self.test_windows(panel or self.panel, self.model))[0]

    def test_windows(self, panel: Panel, model: Forecaster) -> Windows:
        """Return windows of `context + HORIZON` rows whose future is in the test part."""
        windows = panel.windows(model.context + HORIZON)
        return windows.ahead_within(HORIZON, since=self.split.test_start)

    def forecast(self, model: Forecaster | None = None, panel: Panel | None = None, **asked: Any) -> Prediction:
        """Return the forecast of a model, `self.model` when None, after the panel, `self.panel` when None."""
        model, panel = model or self.model, panel or self.panel
        return model.forecast(panel, future=future_rows(panel, model), **asked)

    def digest(self, model: Forecaster) -> str:
        """Return a fingerprint of the model's forecasts, to the last bit."""
        return hashlib.sha256(np.ascontiguousarray(model.predict(self.origins())).tobytes()).hexdigest()


def future_rows(panel: Panel, model: Forecaster) -> pd.DataFrame | None:
    """Return rows of what the model must know after each series, or None: the same value in each row."""
    if not model.known:
        return None
    last = panel.last(1)
    columns = {ID: np.repeat(last.ids, HORIZON), TIME: last.future_times(HORIZON).reshape(-1)}
    return pd.DataFrame(columns | dict.fromkeys(model.known, 0.25))


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
        ahead=None if windows.ahead is None else alone(windows.ahead, index),
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
