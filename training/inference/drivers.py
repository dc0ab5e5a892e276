"""Names of what drives a forecast: which columns a feature was made of, and what a reader calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from cluster.errors import ConfigError, UnknownNameError
from training.core.transform import Transform
from training.core.windows import Floats, Windows

CALENDAR = "calendar"
"""The driver behind features that follow from the time alone, and behind a model's own sense of time."""

Groups = Mapping[str, Sequence[str]]
"""Driver -> columns that a reader wants to see as one: `{"calendar": ("day_of_week", "holiday")}`."""


def driver_names(columns: Sequence[str], targets: Sequence[str], groups: Groups | None) -> dict[str, str]:
    """Return column -> driver: a target's past is `NOX history`, grouped columns their group, others themselves.

    Raises
    ------
    UnknownNameError
        A group names a column that is not there.
    ConfigError
        A column is in two groups.
    """
    names = {column: f"{column} history" if column in targets else column for column in columns}
    seen: dict[str, str] = {}
    for driver, members in (groups or {}).items():
        for column in members:
            if column not in names:
                raise UnknownNameError.of("column", column, names)
            if column in seen:
                raise ConfigError(
                    f"groups: '{column}' is in '{seen[column]}' and in '{driver}', expected one of them"
                )
            seen[column] = driver
    return names | seen


def sources(features: Sequence[Transform], windows: Windows) -> dict[str, tuple[str, ...]]:
    """Return each column behind some fitted features -> the columns before them that it depends on.

    Found by trying: a column before is replaced, and what changes behind depends on it. So it holds for any
    transform, and for chains of them. What depends on no column follows from the time.

    Parameters
    ----------
    features
        In order; none leave the columns as they are.
    windows
        Any windows with the columns before; their values do not matter.
    """
    rows = sum(feature.lookback for feature in features) + 2
    rng = np.random.default_rng(0)
    before = rng.uniform(1, 2, (rows, len(windows.columns)))
    behind, plain = _through(features, _table(windows, before))
    found: dict[str, list[str]] = {column: [] for column in behind}
    for at, name in enumerate(windows.columns):
        tried = before.copy()
        tried[:, at] = rng.uniform(1, 2, rows)
        _, values = _through(features, _table(windows, tried))
        for column in np.flatnonzero((values != plain).any(axis=0)):
            found[behind[column]].append(name)
    return {column: tuple(names) for column, names in found.items()}


def _through(features: Sequence[Transform], windows: Windows) -> tuple[tuple[str, ...], Floats]:
    for feature in features:
        windows = feature.transform(windows)
    return windows.columns, windows.values[0]


def _table(windows: Windows, rows: Floats) -> Windows:
    times = pd.date_range("2024-01-01", periods=len(rows), freq=windows.frequency).to_numpy()
    return replace(
        windows,
        rows=rows,
        times=times.astype("datetime64[ns]"),
        segments=np.array([0, len(rows)], dtype=np.int64),
        starts=np.zeros(1, dtype=np.int64),
        length=len(rows),
        series=("tried",),
        ahead=None,
    )
