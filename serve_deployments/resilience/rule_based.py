"""The forecast that needs no model: the request's own last season, with the errors it would have made before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.errors import PermanentError
from training.core.intervals import ConformalIntervals, bounds_of
from training.core.prediction import Prediction
from training.core.schema import Schema
from training.core.windows import Floats, Windows

RULE_NAME, DEFAULT_NAME = "seasonal_naive", "default"


class NoRuleError(PermanentError):
    """A question gives no ground for an answer without a model."""


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


def rule_based(
    histories: Sequence[Floats], context: Windows, schema: Schema, steps: int, levels: tuple[float, ...]
) -> Prediction:
    """Return the seasonal naive forecast of each series, its interval from the same series' past errors.

    The season is the schema's; where a history is too short to judge that, its last value is repeated, which needs
    fewer rows. Error number k of step h is what the rule would have missed by, had it forecast row k at that lag,
    so that errors stand at the lag they are used for. Levels are conformal ranks of these errors: see
    `ConformalIntervals`.

    Parameters
    ----------
    histories
        N series of (rows, T): all that the request has, more rows judge the rule better.
    context
        N windows that end with these rows: names and times.
    schema
        Season, targets and their physical ranges.
    steps
        H, steps ahead.
    levels
        (Q,) increasing.

    Raises
    ------
    NoRuleError
        A series has too few past errors for the outermost levels.
    """
    parts = [_one(history, schema, steps, levels) for history in histories]
    points, quantiles, confidences = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Prediction(
        ids=context.ids,
        origins=context.last_times,
        timestamps=context.future_times(steps),
        targets=schema.target_names,
        point=points,
        levels=levels,
        values=quantiles,
        confidence=confidences,
        model=RULE_NAME,
    )


def _one(history: Floats, schema: Schema, steps: int, levels: tuple[float, ...]) -> tuple[Floats, Floats, Floats]:
    """Return point (1, H, T), quantiles (1, H, T, Q) and confidence (1, H, T) of one series by its own past."""
    rows, chosen = len(history), _choose(len(history), schema, steps, levels)
    point = history[rows - chosen.lags + np.arange(steps)][None]
    judged_rows = np.arange(rows - chosen.errors, rows)
    actual = np.repeat(history[judged_rows][:, None], steps, axis=1)
    predicted = history[judged_rows[:, None] - chosen.lags]
    low, high = bounds_of(schema, schema.target_names)
    judged = ConformalIntervals.fit(actual, predicted, low=low, high=high)
    quantiles = judged.quantiles(point, np.asarray(levels, dtype=np.float64))
    # Where all past errors have one sign, the interval lies beside the point; it is widened to hold it.
    quantiles[..., 0] = np.minimum(quantiles[..., 0], point)
    quantiles[..., -1] = np.maximum(quantiles[..., -1], point)
    return point, quantiles, judged.confidence(point)


def _choose(rows: int, schema: Schema, steps: int, levels: tuple[float, ...]) -> Rule:
    rules, least = [rule(rows, season, steps) for season in (schema.season_length, 1)], least_errors(levels)
    chosen = next((each for each in rules if each.errors >= least), None)
    if chosen is None:
        most = max(0, *(each.errors for each in rules))
        raise NoRuleError(
            f"the rule-based forecast cannot judge itself: got {rows} rows, which leave {most} past errors at "
            f"{steps} steps ahead, expected {least} for levels {levels[0]:g} and {levels[-1]:g}; send more rows, "
            "fewer steps or less extreme levels",
            got=rows,
            expected=least,
        )
    return chosen


def stated_default(
    context: Windows, schema: Schema, steps: int, levels: tuple[float, ...], defaults: Mapping[str, float]
) -> Prediction:
    """Return the values an operator has stated, between the ends of what is physically possible.

    Nothing is known of the future here, and the answer says so: the interval is the whole physical range, the
    confidence 0.

    Parameters
    ----------
    context
        N windows: names and times.
    schema
        Targets and their ranges.
    steps, levels
        As asked.
    defaults
        Target -> value.

    Raises
    ------
    NoRuleError
        A target has no default, or its physical range is open.
    """
    targets = schema.target_names
    low, high = bounds_of(schema, targets)
    for target, bottom, top in zip(targets, low, high, strict=True):
        value = defaults.get(target, math.nan)
        if not -math.inf < bottom <= value <= top < math.inf:
            raise NoRuleError(
                f"no default for '{target}': got value {value:g} in {bottom:g} .. {top:g}, "
                "expected a stated value within a closed physical range"
            )
    shape = (len(context), steps, len(targets))
    point = np.broadcast_to([defaults[target] for target in targets], shape).copy()
    wanted = np.asarray(levels)
    values = np.where(wanted < 0.5, low[:, None], np.where(wanted > 0.5, high[:, None], point[..., None]))
    return Prediction(
        ids=context.ids,
        origins=context.last_times,
        timestamps=context.future_times(steps),
        targets=targets,
        point=point,
        levels=levels,
        values=values,
        confidence=np.zeros(shape),
        model=DEFAULT_NAME,
    )
