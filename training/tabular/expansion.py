"""From a table's features to columns of numbers: dates taken apart, categories set beside the target's means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.core.component import State
from training.core.table import Feature, FeatureKind, Values
from training.core.windows import Floats

MOST_LEVELS = 10
"""Up to so many levels a category has a column each; beyond, it has the target's means."""
SMOOTHING_ROWS = 10.0
"""Rows of the overall mean that are mixed into a level's mean: a level seen once says little."""
PARTS = 5
"""Parts of the training rows: each row's level means come from the other parts, so that no row sees its target."""
NANOSECONDS_A_DAY = 86_400e9

Columns = list[tuple[str, Floats]]
"""Name and (N,) values."""


def learn_feature(kind: FeatureKind, values: Values, outputs: Floats, *, elapsed: bool) -> State:
    """Return what has to be known of a feature's training values to expand it.

    Parameters
    ----------
    values
        (N,) of the training rows.
    outputs
        (N, G) the target, or indicators of its classes.
    elapsed
        Whether the time since the first date counts; it cannot where later rows are asked about.
    """
    if kind == "number":
        return {}
    if kind == "date":
        return {"start": _first_day(values), "elapsed": elapsed}
    levels, counts = np.unique(_texts(values), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    state: State = {"levels": [str(level) for level in levels[order]], "counts": counts[order].astype(np.float64)}
    if len(levels) > MOST_LEVELS:
        codes = _codes(values, state["levels"])
        state |= {
            "overall": outputs.mean(axis=0),
            "means": _means(codes, outputs, len(levels), outputs.mean(axis=0)),
        }
    return state


def expand(feature: Feature, values: Values, state: Mapping[str, Any]) -> Columns:
    """Return the columns of a feature for any rows; a level never seen is as one that says nothing."""
    name = feature.name
    if feature.kind == "number":
        return [(name, values)]
    if feature.kind == "date":
        return _dated(name, values, state)
    levels = state["levels"]
    codes = _codes(values, levels)
    if "means" not in state:
        shown = levels[:1] if len(levels) == 2 else levels
        return [(f"{name}={level}", (codes == at).astype(np.float64)) for at, level in enumerate(shown)]
    known = codes >= 0
    means = np.where(known[:, None], np.asarray(state["means"])[codes], state["overall"])
    counts = np.where(known, np.asarray(state["counts"])[codes], 0.0)
    return [*_named(name, means), (f"{name} count", np.log1p(counts))]


def expand_training(
    feature: Feature, values: Values, state: Mapping[str, Any], outputs: Floats, seed: int
) -> Columns:
    """Return the columns of a feature for its training rows: each row's level means come from other rows."""
    columns = expand(feature, values, state)
    if "means" not in state:
        return columns
    part = np.random.default_rng(seed).permutation(len(values)) % PARTS
    codes, out = _codes(values, state["levels"]), np.empty((len(values), outputs.shape[1]))
    for each in range(PARTS):
        here, there = part == each, part != each
        means = _means(codes[there], outputs[there], len(state["levels"]), outputs[there].mean(axis=0))
        out[here] = means[codes[here]]
    return [*_named(feature.name, out), columns[-1]]


def _named(name: str, means: Floats) -> Columns:
    return [(f"{name} mean {at}", means[:, at]) for at in range(means.shape[1])]


def _means(codes: npt.NDArray[np.int64], outputs: Floats, levels: int, overall: Floats) -> Floats:
    """Return (L, G) smoothed means of the outputs by level."""
    counts = np.bincount(codes, minlength=levels)[:, None]
    sums = np.stack([np.bincount(codes, weights=each, minlength=levels) for each in outputs.T], axis=1)
    means: Floats = (sums + overall * SMOOTHING_ROWS) / (counts + SMOOTHING_ROWS)
    return means


def _texts(values: Values) -> Values:
    return np.array(["" if value is None else str(value) for value in values], dtype=object)


def _codes(values: Values, levels: list[str]) -> npt.NDArray[np.int64]:
    """Return (N,) the position of each value's level, -1 for one that is not known."""
    found = pd.Index(levels).get_indexer(pd.Index(_texts(values)))
    return np.asarray(found, dtype=np.int64)


def _first_day(values: Values) -> float:
    known = values[~np.isnat(values)]
    return float(known.min().astype(np.int64) / NANOSECONDS_A_DAY) if len(known) else 0.0


def _dated(name: str, values: Values, state: Mapping[str, Any]) -> Columns:
    times, gone = pd.DatetimeIndex(values), np.isnat(values)
    days = values.astype(np.int64) / NANOSECONDS_A_DAY
    of_year = (times.dayofyear.to_numpy(dtype=np.float64) - 1) / 365.25 * 2 * np.pi
    parts = {
        "month": times.month,
        "weekday": times.dayofweek,
        "hour": times.hour,
        "year sine": np.sin(of_year),
        "year cosine": np.cos(of_year),
    }
    if state["elapsed"]:
        parts["days"] = days - state["start"]
    return [
        (f"{name} {part}", np.where(gone, np.nan, np.asarray(found, dtype=np.float64)))
        for part, found in parts.items()
    ]
