"""The forecast that needs no model: the request's own last season, with the errors it would have made before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cluster.errors import InsufficientHistoryError
from training.core.intervals import ConformalIntervals, bounds_of
from training.core.prediction import Prediction
from training.core.schema import Schema
from training.core.windows import Floats, Windows

RULE_NAME, DEFAULT_NAME = "seasonal_naive", "default"


@dataclass(frozen=True)
class Rule:
    """A lag for each step ahead, and how many past errors the history has at these lags.

    Parameters
    ----------
    season
        Rows in a season; 1 repeats the last value.
    lags
        (H,) step h is forecast by the value `lags[h]` rows before it.
    errors
        Rows for which that value is known too: past forecasts that can be judged.
    """

    season: int
    lags: np.ndarray[tuple[int], np.dtype[np.int64]]
    errors: int


def least_errors(levels: tuple[float, ...]) -> int:
    """Return how many errors the outermost levels need: with fewer, no rank stands for them."""
    outermost = min(levels[0], 1 - levels[-1])
    return max(1, math.ceil(1 / outermost - 1e-9) - 1)


def rule(rows: int, season: int, steps: int) -> Rule:
    """Return the seasonal rule on a history of `rows`."""
    lags = season * (np.arange(steps, dtype=np.int64) // season + 1)
    return Rule(season, lags, rows - int(lags[-1]))


def rule_based(history: Windows, schema: Schema, steps: int, levels: tuple[float, ...]) -> Prediction:
    """Return the seasonal naive forecast of each window, its interval from the same window's past errors.

    The season is the schema's; where the history is too short to judge that, the last value is repeated, which
    needs fewer rows. Error number k of step h is what the rule would have missed by, had it forecast row k at that
    lag, so that errors stand at the lag they are used for. Levels are conformal ranks of these errors: see
    `ConformalIntervals`.

    Parameters
    ----------
    history
        N windows of the request's rows, as many as there are: more rows judge the rule better.
    schema
        Season, targets and their physical ranges.
    steps
        H, steps ahead.
    levels
        (Q,) increasing.

    Raises
    ------
    InsufficientHistoryError
        There are too few past errors for the outermost levels.
    """
    targets, least = schema.target_names, least_errors(levels)
    rules = [rule(history.length, season, steps) for season in dict.fromkeys((schema.season_length, 1))]
    chosen = next((each for each in rules if each.errors >= least), None)
    if chosen is None:
        most = max(each.errors for each in rules)
        raise InsufficientHistoryError(
            f"the rule-based forecast cannot judge itself: got {history.length} rows, which leave {max(0, most)} "
            f"past errors at {steps} steps ahead, expected {least} for levels {levels[0]:g} and {levels[-1]:g}; "
            "send more rows, fewer steps or less extreme levels",
            got=history.length,
            expected=least,
        )
    values = history.select(targets)
    point = values[:, history.length - chosen.lags + np.arange(steps)]
    parts = [_interval(series, chosen, point[n : n + 1], schema, levels) for n, series in enumerate(values)]
    return Prediction(
        ids=history.ids,
        origins=history.last_times,
        timestamps=history.future_times(steps),
        targets=targets,
        point=point,
        levels=levels,
        values=np.concatenate([quantiles for quantiles, _ in parts]),
        confidence=np.concatenate([confidence for _, confidence in parts]),
        model=RULE_NAME,
    )


def _interval(
    series: Floats, chosen: Rule, point: Floats, schema: Schema, levels: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Return quantiles (1, H, T, Q) and confidence (1, H, T) of one series (L, T) by its own past."""
    rows = np.arange(len(series) - chosen.errors, len(series))
    actual = np.repeat(series[rows][:, None], len(chosen.lags), axis=1)
    predicted = series[rows[:, None] - chosen.lags]
    low, high = bounds_of(schema, schema.target_names)
    judged = ConformalIntervals.fit(actual, predicted, low=low, high=high)
    wanted = np.asarray(levels, dtype=np.float64)
    quantiles = judged.quantiles(point, wanted)
    # Where all past errors have one sign, the interval lies beside the point; it is widened to hold it.
    quantiles[..., 0] = np.minimum(quantiles[..., 0], point)
    quantiles[..., -1] = np.maximum(quantiles[..., -1], point)
    return quantiles, judged.confidence(point)


def stated_default(
    history: Windows, schema: Schema, steps: int, levels: tuple[float, ...], defaults: Mapping[str, float]
) -> Prediction:
    """Return the values an operator has stated, between the ends of what is physically possible.

    Nothing is known of the future here, and the answer says so: the interval is the whole physical range, the
    confidence 0.

    Parameters
    ----------
    history
        N windows.
    schema
        Targets and their ranges.
    steps, levels
        As asked.
    defaults
        Target -> value.

    Raises
    ------
    InsufficientHistoryError
        A target has no default, or its physical range is open.
    """
    targets = schema.target_names
    low, high = bounds_of(schema, targets)
    for target, bottom, top in zip(targets, low, high, strict=True):
        value = defaults.get(target, math.nan)
        if not -math.inf < bottom <= value <= top < math.inf:
            raise InsufficientHistoryError(
                f"no default for '{target}': got value {value:g} in {bottom:g} .. {top:g}, "
                "expected a stated value within a closed physical range"
            )
    shape = (len(history), steps, len(targets))
    point = np.broadcast_to([defaults[target] for target in targets], shape).copy()
    wanted = np.asarray(levels)
    values = np.where(wanted < 0.5, low[:, None], np.where(wanted > 0.5, high[:, None], point[..., None]))
    return Prediction(
        ids=history.ids,
        origins=history.last_times,
        timestamps=history.future_times(steps),
        targets=targets,
        point=point,
        levels=levels,
        values=values,
        confidence=np.zeros(shape),
        model=DEFAULT_NAME,
    )
