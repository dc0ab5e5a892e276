"""Whether probabilities of crossing a limit hold on two clusters' traces: Brier skill against climatology.

Limits are the 90 % quantiles of the first 70 % of each trace. A system is chosen and fitted and its errors are
collected on the first 85 %; every fourth origin of the last 15 % is asked whether, and which first of its limits,
is crossed within the horizon (Google 4 hours, Alibaba 1 hour). Climatology knows how often that happened in the
first 85 %. Resources beyond their limit at the origin are left out of both: there is nothing to foretell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.operations.crossings import Crossings
from apps.operations.limits import Limit
from apps.operations.system import System
from benchmarks.measure import Benchmark, Pair
from training.core import metrics
from training.core.panel import Panel
from training.core.splits import Split, chronological_split
from training.core.windows import Floats, Ints, Windows
from training.data.bundled import load_sample
from training.evaluation.backtest import seasonal_naive_mae
from training.models.seasonal_naive import SeasonalNaive

LIMIT_QUANTILE, STRIDE, SHARE = 0.9, 4, 0.9
BINS = (0.1, 0.3, 0.5, 0.7, 0.9)
FLOOR = 0.01
"""Least probability of any outcome in the log loss, of both: sample paths may give none."""
TRACES = {
    "google2019_machine_usage": (48, ("cpu_util_percent", "mem_util_percent", "assigned_mem_percent")),
    "alibaba2018_machine_usage": (120, ("cpu_util_percent", "mem_util_percent", "disk_io_percent")),
}
"""Sample -> steps ahead, resources. Alibaba's network counters rise all week long: their limit lies behind them."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """N origins and L limits.

    Parameters
    ----------
    probability
        (N, L) that a limit is crossed.
    first
        (N, L + 1) that it is the first, and that none is.
    crossed
        (N, L) whether it was crossed.
    came_first
        (N, L + 1) what came first; ties share.
    open
        (N, L) whether the limit was not crossed at the origin.
    """

    probability: Floats
    first: Floats
    crossed: npt.NDArray[np.bool_]
    came_first: Floats
    open: npt.NDArray[np.bool_]


def truth(actual: Floats, limits: list[Limit]) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return (N, L) whether each limit is crossed in (N, H, L) values, and (N, L + 1) which first, or none."""
    beyond = np.stack([limit.crossed(actual[..., n]) for n, limit in enumerate(limits)], axis=-1)
    crossed: npt.NDArray[np.bool_] = np.asarray(beyond.any(axis=1))
    step: Ints = np.where(crossed, beyond.argmax(axis=1), actual.shape[1])
    tied = (step == step.min(axis=1, keepdims=True)) & crossed
    shares = tied / np.maximum(tied.sum(axis=1, keepdims=True), 1)
    return crossed, np.column_stack([shares, 1 - shares.sum(axis=1)])


def ask(system: System, windows: Windows, limits: list[Limit]) -> Asked:
    """Ask at every window's origin."""
    context, actual = system.errors.forecaster.split(windows)
    found = [Crossings.of(paths, limits) for paths in system.errors.along(context)]
    shares = np.array([each.shares for each in found])
    crossed, came_first = truth(actual, limits)
    return Asked(
        probability=np.array([each.probability for each in found]),
        first=np.column_stack([shares, 1 - shares.sum(axis=1)]),
        crossed=crossed,
        came_first=came_first,
        open=~np.array([each.now for each in found]),
    )


def climatology(past: Windows, limits: list[Limit], horizon: int) -> tuple[Floats, Floats]:
    """Return (L,) how often an open limit was crossed, (L + 1,) how often each was first where all were open."""
    context, future = past.split(horizon)
    names = [limit.column for limit in limits]
    crossed, first = truth(future.select(names), limits)
    now = context.tail(1).select(names)[:, 0]
    open_now = ~np.stack([limit.crossed(now[:, n]) for n, limit in enumerate(limits)], axis=-1)
    rates = [crossed[open_now[:, n], n].mean() for n in range(len(limits))]
    return np.array(rates), first[open_now.all(axis=1)].mean(axis=0)


def trace(name: str) -> tuple[float, float, dict[str, Any]]:
    """Return the Brier score of the paths and of climatology on one trace, and all other figures."""
    horizon, columns = TRACES[name]
    panel = load_sample(name)
    split = chronological_split(panel)
    system = System.fit(panel.before(split.test_start), columns, horizon=horizon)
    view = Panel(panel.frame[["series_id", "timestamp", *columns]], system.panel.schema)
    train = view.before(split.validation_start).frame
    limits = [Limit(column=each, value=float(train[each].quantile(LIMIT_QUANTILE))) for each in columns]
    model = system.errors.forecaster
    windows = view.windows(model.context + horizon, stride=STRIDE)
    test = windows.ahead_within(horizon, since=split.test_start)
    asked = ask(system, test, limits)
    rates, first = climatology(windows.ahead_within(horizon, until=split.test_start), limits, horizon)
    usual = np.broadcast_to(rates, asked.probability.shape)
    ours, base = (_brier(each, asked, asked.open) for each in (asked.probability, usual))
    by_limit = {
        limit.column: {
            "limit": round(limit.value, 2),
            "open origins": int(asked.open[:, n].sum()),
            "brier": round(_brier(asked.probability[:, [n]], asked, asked.open[:, [n]], n), 4),
            "climatology": round(_brier(usual[:, [n]], asked, asked.open[:, [n]], n), 4),
        }
        for n, limit in enumerate(limits)
    }
    notes = {
        "model": system.candidates[0].told(),
        "brier skill": round(1 - ours / base, 3),
        "limits": by_limit,
        "reliability": _reliability(asked),
        "bottleneck": _log_losses(asked, first),
        "utilisation": _utilisation(system, view, test, split),
    }
    return ours, base, notes


def _brier(probability: Floats, asked: Asked, where: npt.NDArray[np.bool_], column: int | None = None) -> float:
    crossed = asked.crossed if column is None else asked.crossed[:, [column]]
    return float(np.square(probability - crossed)[where].mean()) if where.any() else float("nan")


def _reliability(asked: Asked) -> list[dict[str, float]]:
    """Return how often it happened where about such a probability was given."""
    said, came = asked.probability[asked.open], asked.crossed[asked.open]
    places = np.digitize(said, BINS)
    return [
        {
            "asked": int((places == n).sum()),
            "said": round(float(said[places == n].mean()), 3),
            "happened": round(float(came[places == n].mean()), 3),
        }
        for n in range(len(BINS) + 1)
        if (places == n).any()
    ]


def _log_losses(asked: Asked, usual: Floats) -> dict[str, float]:
    """Return the log loss of `which first, or none`, where no limit was crossed at the origin."""
    rows = asked.open.all(axis=1)
    came = asked.came_first[rows]

    def loss(said: Floats) -> float:
        safe = FLOOR + (1 - FLOOR * said.shape[-1]) * said
        return round(float(-(came * np.log(safe)).sum(axis=1).mean()), 4)

    return {
        "origins": int(rows.sum()),
        "log loss": loss(asked.first[rows]),
        "climatology": loss(np.broadcast_to(usual, came.shape)),
    }


def _utilisation(system: System, view: Panel, test: Windows, split: Split) -> dict[str, dict[str, float]]:
    """Return WAPE, MASE and the 90 % interval's coverage of each resource, and seasonal naive's WAPE."""
    model, season = system.errors.forecaster, view.schema.season_length
    context, actual = model.split(test)
    point = model.predict(context)
    ends = np.stack([paths.quantiles(((1 - SHARE) / 2, (1 + SHARE) / 2)) for paths in system.errors.along(context)])
    naive = SeasonalNaive(season=season)
    longer = view.windows(season + model.horizon, stride=STRIDE)
    naive.fit(
        longer.ahead_within(model.horizon, until=split.validation_start),
        horizon=model.horizon,
        targets=model.targets,
    )
    before, after = naive.split(longer.ahead_within(model.horizon, since=split.test_start))
    repeated, unit = naive.predict(before), seasonal_naive_mae(view, model.targets, before=split.test_start)
    return {
        name: {
            "wape": round(metrics.wape(actual[..., t], point[..., t]), 4),
            "seasonal naive wape": round(metrics.wape(after[..., t], repeated[..., t]), 4),
            "mase": round(metrics.mase(actual[..., t], point[..., t], float(unit[t])), 3),
            "coverage 90": round(metrics.coverage(actual[..., t], ends[..., t, 0], ends[..., t, 1]), 3),
        }
        for t, name in enumerate(model.targets)
    }


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - nothing is drawn, nothing is timed
    """Ask on both traces; the figures are the mean Brier scores."""
    done = {name: trace(name) for name in TRACES}
    ours, base = (float(np.mean([each[n] for each in done.values()])) for n in (0, 1))
    return Pair(
        seed=seed,
        baseline=base,
        ours={"sample paths": ours},
        notes={name: notes for name, (_, _, notes) in done.items()},
    )


BENCHMARK = Benchmark(
    name="operations",
    question="Brier score of `a limit is crossed within the horizon` over that of climatology, on two clusters",
    goal=0.9,
    pair=pair,
)
