"""A business process, one day ahead from 20 midnights: MASE on fev-bench's tasks bizitobs_l2c_1H and _5T.

Targets: the weekly average and the six activities. MASE is the mean over cut-offs and targets of the absolute error
over that of the seasonal naive forecast, one day back, in all rows before the cut-off. At each cut-off the model is
fitted anew on what lies before it. The hourly task sees hourly rows alone. Parameters were chosen on the 42 days
before the first cut-off of the test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.measure import Benchmark, Pair
from benchmarks.public_data import bizitobs
from training.core.component import build
from training.core.panel import Panel
from training.core.windows import Floats
from training.models import MODELS

CUTOFFS = 20
CHRONOS_2, NAIVE_OF_OTHERS = 0.384, 1.066
"""Published MASE of the hourly task."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One of the two tasks.

    Parameters
    ----------
    frequency
        `h` or `5min`.
    stride
        Rows between two windows that a model learns from.
    models
        Catalog name -> parameters.
    """

    frequency: Literal["5min", "h"]
    stride: int
    models: dict[str, dict[str, Any]]


def _models(day: int, **params: object) -> dict[str, dict[str, Any]]:
    week = {"season": 7 * day, "anchor": "none", "scale": "sqrt", "floor": 0.0}
    naive = {"naive": {"season": 1}, "seasonal_naive": {"season": day}, "weekly_naive": {"season": 7 * day}}
    return {"channel_ridge": week | params} | naive


HOURLY = Task(frequency="h", stride=1, models=_models(24, window=24, alpha=1e-2))
FIVE_MINUTES = Task(frequency="5min", stride=6, models=_models(288, window=288, alpha=0.1))


def mase(task: Task, panel: Panel, *, skipped_days: int = 0, days: int = CUTOFFS) -> dict[str, float]:
    """Return model -> MASE over the last `days` days but `skipped_days`."""
    day = panel.schema.season_length
    stops = len(panel) - day * (np.arange(days, 0, -1) + skipped_days)
    truth = panel.table.rows[:, panel.table.positions(panel.schema.target_names)]
    found: dict[str, list[Floats]] = {name: [] for name in task.models}
    for stop in stops:
        past = Panel(panel.frame.iloc[:stop], panel.schema)
        unit = np.abs(truth[day:stop] - truth[: stop - day]).mean(axis=0)
        for name, params in task.models.items():
            point = _forecast(name, params, past, task.stride)
            found[name].append(np.abs(truth[stop : stop + day] - point).mean(axis=0) / unit)
    return {name: float(np.mean(errors)) for name, errors in found.items()}


def _forecast(name: str, params: dict[str, Any], past: Panel, stride: int) -> Floats:
    """Return (H, T) the day after `past`, by a model that learned from it."""
    day = past.schema.season_length
    model = build(MODELS, name if name in MODELS else "seasonal_naive", params)
    windows = past.windows(model.context + day, stride=stride)
    model.fit(windows, horizon=day, targets=past.schema.target_names)
    point: Floats = model.predict(past.last(model.context))[0]
    return point


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - nothing is drawn
    """Measure both tasks once."""
    hourly, fine = (mase(task, bizitobs(task.frequency)) for task in (HOURLY, FIVE_MINUTES))
    notes = {
        task: {name: round(error, 4) for name, error in errors.items()}
        for task, errors in (("mase_1H", hourly), ("mase_5T", fine))
    }
    return Pair(
        seed=seed,
        baseline=hourly["seasonal_naive"],
        ours={"channel_ridge": hourly["channel_ridge"], "weekly_naive": hourly["weekly_naive"]},
        notes=notes,
    )


BENCHMARK = Benchmark(
    name="bizitobs",
    question="MASE one day ahead on bizitobs_l2c_1H, over seasonal naive's",
    goal=CHRONOS_2 / NAIVE_OF_OTHERS,
    pair=pair,
)
