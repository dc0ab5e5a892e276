"""How much of each resource will be used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from training.core.prediction import check_levels
from training.core.schema import Schema
from training.core.validation import ID, TIME
from training.inference.paths import Paths

LEVELS = (0.05, 0.5, 0.95)


def steps(paths: Paths, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Return a row a step and resource: the forecast and its quantiles, within the physical range."""
    values, count = paths.quantiles(levels), len(paths.columns)
    table = {
        ID: paths.series,
        TIME: np.repeat(paths.times, count),
        "resource": np.tile(paths.columns, len(paths.times)),
        "prediction": paths.point.reshape(-1),
    }
    return pd.DataFrame(table | {f"q{level:g}": values[..., q].reshape(-1) for q, level in enumerate(levels)})


def summary(paths: Paths, schema: Schema, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Return a row a resource: now, and quantiles of its mean and its peak over the horizon, path by path.

    A peak's quantile is no peak of quantiles: paths do not all peak at the same step.
    """
    wanted = check_levels(tuple(levels))
    means = np.quantile(paths.values.mean(axis=1), wanted, axis=0, method="inverted_cdf")
    peaks = np.quantile(paths.values.max(axis=1), wanted, axis=0, method="inverted_cdf")
    rows = [
        {ID: paths.series, "resource": name, "unit": schema.column(name).unit, "now": float(paths.recent[-1, t])}
        | {f"mean_q{level:g}": float(means[q, t]) for q, level in enumerate(levels)}
        | {f"peak_q{level:g}": float(peaks[q, t]) for q, level in enumerate(levels)}
        for t, name in enumerate(paths.columns)
    ]
    return pd.DataFrame(rows)
