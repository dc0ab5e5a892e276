"""What a scenario would change: forecasts under changed drivers, as differences from a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from cluster.errors import UserError
from training.core.estimator import DEFAULT_LEVELS, Forecaster
from training.core.panel import Panel
from training.core.parameters import whole
from training.core.prediction import Prediction, check_levels
from training.core.schema import Schema
from training.core.validation import ID, TIME, check_values
from training.core.windows import Floats, Windows
from training.inference.draws import Tell, draws, silent
from training.inference.evidence import Evidence, Extrapolation, Limits, judge_all
from training.inference.scenarios import Scenario, check_names

DRAWS = 100
"""Models drawn by default: the 5 % and 95 % quantiles of their differences lie between draws."""
PROBES = (0.05, 0.5, 0.95)
"""Quantiles of a driver's history that it is set to, to see whether the model uses it at all."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """What one scenario changes.

    Parameters
    ----------
    scenario
        The changes.
    forecast
        Under the scenario, with the intervals of any forecast.
    difference
        (N, H, T) scenario minus baseline, in the target's unit.
    values
        (N, H, T, Q) quantiles of the difference.
    total
        (N, T) the difference summed over the horizon.
    total_values
        (N, T, Q) its quantiles: of sums, draw by draw, not sums of quantiles.
    flags
        Where the scenario leaves what the history holds, though not beyond the limits.
    """

    scenario: Scenario
    forecast: Prediction
    difference: Floats
    values: Floats
    total: Floats
    total_values: Floats
    flags: tuple[Extrapolation, ...]


@dataclass(frozen=True, kw_only=True)
class ScenarioResult:
    """A baseline and its scenarios.

    Parameters
    ----------
    baseline
        The forecast under the future as it was given.
    responses
        One a scenario, in order.
    levels
        (Q,) quantile levels.
    """

    baseline: Prediction
    responses: tuple[Response, ...]
    levels: tuple[float, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return scenario, series_id, target, timestamp, baseline, forecast, difference and its quantiles."""
        n, h, t = self.baseline.point.shape
        times = np.repeat(self.baseline.timestamps.reshape(-1), t)
        frames = []
        for each in self.responses:
            table: dict[str, Any] = {
                "scenario": each.scenario.name,
                ID: np.repeat(self.baseline.ids, h * t),
                "target": np.tile(self.baseline.targets, n * h),
                TIME: times,
                "baseline": self.baseline.point.reshape(-1),
                "forecast": each.forecast.point.reshape(-1),
                "difference": each.difference.reshape(-1),
            }
            table |= {f"q{level:g}": each.values[..., q].reshape(-1) for q, level in enumerate(self.levels)}
            frames.append(pd.DataFrame(table))
        return pd.concat(frames, ignore_index=True)

    def totals(self) -> pd.DataFrame:
        """Return scenario, series_id, target, baseline, difference over the whole horizon, its quantiles, flags."""
        n, _, t = self.baseline.point.shape
        base = self.baseline.point.sum(axis=1)
        frames = []
        for each in self.responses:
            flagged = {flag.series for flag in each.flags}
            table: dict[str, Any] = {
                "scenario": each.scenario.name,
                ID: np.repeat(self.baseline.ids, t),
                "target": np.tile(self.baseline.targets, n),
                "baseline": base.reshape(-1),
                "difference": each.total.reshape(-1),
            }
            table |= {f"q{level:g}": each.total_values[..., q].reshape(-1) for q, level in enumerate(self.levels)}
            table["extrapolates"] = np.repeat([name in flagged for name in self.baseline.ids], t)
            frames.append(pd.DataFrame(table))
        return pd.concat(frames, ignore_index=True)


def what_if(
    forecaster: Forecaster,
    history: Panel,
    future: pd.DataFrame | None,
    scenarios: Sequence[Scenario],
    *,
    levels: tuple[float, ...] = DEFAULT_LEVELS,
    limits: Limits | None = None,
    count: int = DRAWS,
    seed: int = 0,
    tell: Tell = silent,
) -> ScenarioResult:
    """Forecast several scenarios against one baseline.

    The uncertainty of a difference is joint: each of `count` models, drawn from what the history leaves open (see
    `training.inference.draws`), forecasts baseline and scenario alike, and the spread of their differences around
    the forecaster's own is given. Whatever does not depend on the changed drivers, the noise of what is forecast
    included, cancels. So the interval says how sure the model is of its response to the drivers. It does not cover
    a response that the model's family cannot express, an effect that the history confounds with another driver's,
    or how uncertain the changed drivers are themselves.

    Parameters
    ----------
    forecaster
        Fitted and calibrated, with columns known ahead.
    history
        The rows up to now of each series, best all that it was trained on: they say what has been seen, and models
        are fitted to resamples of them.
    future
        The baseline: what is known of the rows after, see `Forecaster.forecast`.
    scenarios
        1 or more, of different names.
    levels
        Quantile levels of forecasts and differences.
    limits
        How far beyond the history a scenario may go.
    count, seed
        Models drawn, 2 or more, and the seed of all draws.
    tell
        As in `draws`.

    Raises
    ------
    UserError
        The model ignores a changed driver; the history holds no evidence for a change, or the change goes beyond
        its limit; `future` has a fault.
    DataError
        A changed value is impossible by the schema.
    """
    check_names(scenarios)
    found, count = check_levels(levels), whole("count", count, low=2)
    for scenario in scenarios:
        _check_known(forecaster, scenario)
    context = forecaster.look_ahead(history.last(forecaster.context), future, history.schema)
    changed = [_changed(context, scenario, history.schema) for scenario in scenarios]
    _check_used(forecaster, history, context, scenarios)
    evidence = Evidence.of(history, forecaster.known)
    flags = [
        judge_all(evidence, scenario.name, _ahead(context), _ahead(after), limits or Limits())
        for scenario, after in zip(scenarios, changed, strict=True)
    ]
    batch = _stacked([context, *changed])
    shape = (len(changed) + 1, len(context), forecaster.horizon, len(forecaster.targets))
    points = forecaster.predict(batch).reshape(shape)
    train = history.windows(forecaster.context + forecaster.horizon)
    drawn = draws(forecaster, batch, train=train, count=count, seed=seed, tell=tell).reshape(count, *shape)
    forecasts = [
        forecaster.describe(each, point, forecaster.horizon, levels)
        for each, point in zip([context, *changed], points, strict=True)
    ]
    responses = []
    for i, (scenario, flag) in enumerate(zip(scenarios, flags, strict=True), start=1):
        around = _around(points[i] - points[0], drawn[:, i] - drawn[:, 0])
        responses.append(
            Response(
                scenario=scenario,
                forecast=forecasts[i],
                difference=points[i] - points[0],
                values=np.moveaxis(np.quantile(around, found, axis=0), 0, -1),
                total=(points[i] - points[0]).sum(axis=1),
                total_values=np.moveaxis(np.quantile(around.sum(axis=2), found, axis=0), 0, -1),
                flags=flag,
            )
        )
    return ScenarioResult(baseline=forecasts[0], responses=tuple(responses), levels=tuple(levels))


def _around(difference: Floats, drawn: Floats) -> Floats:
    """Return the draws (S, N, H, T) moved to the forecaster's own difference (N, H, T).

    Models fitted to resamples have seen less and respond a little less: their spread is wanted, not their mean.
    """
    moved: Floats = difference + drawn - drawn.mean(axis=0)
    return moved


def _check_known(forecaster: Forecaster, scenario: Scenario) -> None:
    for column in scenario.columns:
        if column not in forecaster.known:
            instead = "change one of these, or " if forecaster.known else ""
            raise UserError(
                f"scenario '{scenario.name}' changes '{column}', which '{forecaster.name}' ignores over the "
                f"horizon: it looks ahead at {', '.join(forecaster.known) or 'nothing'}; {instead}"
                f"train a model with '{column}' known ahead",
                scenario=scenario.name,
                column=column,
                known=list(forecaster.known),
            )


def _changed(context: Windows, scenario: Scenario, schema: Schema) -> Windows:
    """Return the windows with the scenario's future instead."""
    ahead = _ahead(context)
    before = {name: ahead.values[:, :, k] for k, name in enumerate(ahead.columns)}
    after = scenario.apply(before)
    table = {ID: np.repeat(ahead.ids, ahead.length), TIME: ahead.timestamps.reshape(-1)}
    frame = pd.DataFrame(table | {name: values.reshape(-1) for name, values in after.items()})
    for name in scenario.columns:
        check_values(frame, schema.column(name), where=f"scenario '{scenario.name}': ")
    rows = np.stack([after[name] for name in ahead.columns], axis=-1).reshape(-1, len(ahead.columns))
    return replace(context, ahead=_alone(ahead, rows))


def _ahead(context: Windows) -> Windows:
    if context.ahead is None:
        raise UserError("nothing is known ahead of these windows: give `future`")
    return context.ahead


def _alone(ahead: Windows, rows: Floats) -> Windows:
    """Return windows of the same ids and times over a table of their own (N * H, K)."""
    count = len(rows) // ahead.length
    edges = np.arange(count + 1, dtype=np.int64) * ahead.length
    times = np.tile(ahead.timestamps.reshape(-1), count // len(ahead))
    series = ahead.ids * (count // len(ahead))
    return replace(ahead, rows=rows, times=times, segments=edges, starts=edges[:-1], series=series)


def _stacked(parts: Sequence[Windows]) -> Windows:
    """Return the windows of one context under several futures, one after another."""
    first = parts[0]
    tables = [_ahead(part).values.reshape(-1, len(_ahead(first).columns)) for part in parts]
    ahead = _alone(_ahead(first), np.concatenate(tables))
    return replace(first, starts=np.tile(first.starts, len(parts)), ahead=ahead)


def _check_used(forecaster: Forecaster, history: Panel, context: Windows, scenarios: Sequence[Scenario]) -> None:
    """Raise UserError where a changed driver moves no forecast, wherever in its range it is put."""
    ahead = _ahead(context)
    for scenario in scenarios:
        for column in scenario.columns:
            seen = history.table.rows[:, history.table.positions((column,))[0]]
            probes = []
            for level in np.quantile(seen, PROBES, method="nearest"):
                rows = ahead.values.reshape(-1, len(ahead.columns)).copy()
                rows[:, ahead.columns.index(column)] = level
                probes.append(replace(context, ahead=_alone(ahead, rows)))
            points = forecaster.predict(_stacked(probes)).reshape(len(PROBES), -1)
            if np.ptp(seen) > 0 and not np.ptp(points, axis=0).any():
                raise UserError(
                    f"scenario '{scenario.name}' changes '{column}', which '{forecaster.name}' has learned to "
                    f"ignore: no forecast moves between {seen.min():.6g} and {seen.max():.6g}; leave it out of "
                    "the scenario",
                    scenario=scenario.name,
                    column=column,
                )
