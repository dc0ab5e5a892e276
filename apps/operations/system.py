"""A system's resources, and a model of their joint future that was chosen on its past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from cluster.errors import ConfigError, InsufficientHistoryError
from training.core.component import build
from training.core.estimator import Forecaster
from training.core.panel import Panel
from training.core.parameters import whole
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.core.windows import Floats, Windows
from training.inference.paths import LEAST_ROWS, ErrorPaths, Paths
from training.models import MODELS

FOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of the time line at which candidates are fitted on what lies before and tried on what follows."""
WINDOW_HORIZONS = 2
"""Horizons that a candidate looks back on. On the validation parts of both clusters 1, 2 and 4 were within 3 %."""
ALPHA = 0.1
FIT_ORIGINS, TRIED_ORIGINS = 1000, 400
"""Origins a series that one fit learns from, and that it is tried on, evenly apart: neighbours share all rows but
one, so that more of them add seconds and little else."""
RANGES: dict[str, tuple[float, float | None, str]] = {
    "_percent": (0.0, 100.0, "%"),
    "_ratio": (0.0, 1.0, "1"),
    "_per_s": (0.0, None, "1/s"),
    "_ms": (0.0, None, "ms"),
    "_s": (0.0, None, "s"),
}
"""What a column's name says of its unit, where the schema does not."""


def resources(panel: Panel, columns: Sequence[str]) -> Panel:
    """Return the panel with these columns alone, all of them forecast.

    A column without a physical range gets that of its name's unit: `..._percent` 0 .. 100, `..._ratio` 0 .. 1,
    `..._s`, `..._ms` and `..._per_s` 0 and more.

    Raises
    ------
    ConfigError
        No column is asked for.
    UnknownNameError
        There is no such column.
    DataError
        A value is outside the range.
    """
    names = tuple(dict.fromkeys(columns))
    if not names:
        raise ConfigError("columns: got none, expected one or more to forecast")
    schema = replace(
        panel.schema, targets=tuple(_ranged(panel.schema.column(name)) for name in names), covariates=()
    )
    return Panel(panel.frame[[ID, TIME, *names]], schema).validate()


def _ranged(column: Column) -> Column:
    column = replace(column, role="past", kind="float")
    for ending, (low, high, unit) in RANGES.items():
        if column.name.endswith(ending) and column.low is None and column.high is None:
            return replace(column, low=low, high=high, unit=unit)
    return column


Trials = list[tuple[Forecaster, Windows]]
"""Fitted models, each with the windows it is tried on."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A family with parameters, and its error on what followed each fit.

    Parameters
    ----------
    model, params
        Catalog name and parameters.
    error
        Mean over columns of the mean absolute error, over that of repeating the last value.
    """

    model: str
    params: dict[str, Any]
    error: float = float("nan")

    def told(self) -> str:
        """Return family and parameters in words."""
        given = ", ".join(f"{name} {value}" for name, value in self.params.items() if value is not None)
        return f"{self.model} ({given})"

    def fitted(self, panel: Panel, horizon: int, *, until: Any) -> Forecaster:
        """Return a model fitted on what lies before a time, or on all rows when None."""
        model: Forecaster = build(MODELS, self.model, self.params)
        windows = panel.windows(model.context + horizon).ahead_within(horizon, until=until)
        windows = _thinned(windows, FIT_ORIGINS * len(panel.series))
        return model.fit(windows, horizon=horizon, targets=panel.schema.target_names)

    def trial(self, panel: Panel, horizon: int, since: Any, until: Any) -> tuple[Forecaster, Windows]:
        """Return a model fitted before `since`, and windows whose first forecast row lies in [since, until)."""
        model = self.fitted(panel, horizon, until=since)
        windows = panel.windows(model.context + horizon).ahead_within(horizon, since)
        if until is not None:
            windows = windows[np.flatnonzero(windows.times[windows.starts + model.context] < until)]
        return model, _thinned(windows, TRIED_ORIGINS * len(panel.series))


@dataclass(frozen=True, kw_only=True)
class System:
    """A fitted model of all resources at once, with the errors it made before.

    Candidates (the last value; the last season; linear models of each resource's past, around the mean season or
    not) are fitted at five moments of the history on what lies before, and tried on what follows. The best is
    taken, its errors are what sample paths are made of, and it is fitted once more on all rows.

    Parameters
    ----------
    panel
        Its resources, all targets.
    candidates
        What was compared, the best first.
    errors
        The fitted model, and its errors out of sample.
    apart
        Series -> why it was left out.
    """

    panel: Panel
    candidates: tuple[Candidate, ...]
    errors: ErrorPaths
    apart: Mapping[str, InsufficientHistoryError]

    @classmethod
    def fit(cls, panel: Panel, columns: Sequence[str], *, horizon: int) -> Self:
        """Choose and fit. A series that is too short is left out, unless there is no other.

        Parameters
        ----------
        panel
            The history of one or more systems.
        columns
            To forecast.
        horizon
            Steps ahead, 1 or more.

        Raises
        ------
        InsufficientHistoryError
            All series are too short for this horizon.
        """
        horizon = whole("horizon", horizon, low=1)
        window = max(WINDOW_HORIZONS * horizon, 2)
        everything = resources(panel, columns)
        times = np.unique(everything.table.times)
        view, apart = _long_enough(everything, window, horizon, since=times[int(len(times) * FOLDS[0])])
        shortest = np.diff(view.table.segments).min()
        moments = [times[int(len(times) * share)] for share in FOLDS]
        folds = list(zip(moments, [*moments[1:], None], strict=True))
        tried: list[tuple[Candidate, Trials]] = []
        for candidate in _candidates(view.schema, window, rows=shortest * FOLDS[0]):
            trials = [candidate.trial(view, horizon, since, until) for since, until in folds]
            naive = _mean_errors(tried[0][1] if tried else trials)
            error = float(np.mean(_ratio(_mean_errors(trials), naive)))
            tried.append((replace(candidate, error=error), trials))
        tried.sort(key=lambda each: each[0].error)
        best, trials = tried[0]
        model = best.fitted(view, horizon, until=None)
        return cls(
            panel=view,
            candidates=tuple(candidate for candidate, _ in tried),
            errors=ErrorPaths.of(model, trials, view),
            apart=apart,
        )

    def paths(self) -> tuple[Paths, ...]:
        """Return the futures of each series after its last row."""
        return self.errors.after(self.panel)


def _long_enough(
    panel: Panel, window: int, horizon: int, *, since: Any
) -> tuple[Panel, dict[str, InsufficientHistoryError]]:
    """Return the series that fits have windows of, with errors since a time, and why the others are left out.

    Raises
    ------
    InsufficientHistoryError
        There is no such series.
    """
    least = int(np.ceil((window + horizon + 2 * LEAST_ROWS) / (1 - FOLDS[0])))
    late = LEAST_ROWS + horizon - 1
    table, apart = panel.table, {}
    for name, start, stop in zip(table.series, table.segments[:-1], table.segments[1:], strict=True):
        recent = int((table.times[start:stop] >= since).sum())
        size = int(stop - start)
        if size < least or recent < late:
            got, expected = (size, f"{least}") if size < least else (recent, f"{late} since {str(since)[:16]}")
            apart[name] = InsufficientHistoryError(
                f"series '{name}' is too short for the horizon: got {got} rows, expected at least {expected}; give "
                "more rows or a shorter horizon",
                series=name,
                got=got,
                expected=expected,
            )
    if len(apart) == len(table.series):
        raise next(iter(apart.values()))
    left = panel.frame[~panel.frame[ID].isin(list(apart))].reset_index(drop=True)
    return (Panel(left, panel.schema) if apart else panel), apart


def _candidates(schema: Schema, window: int, *, rows: float) -> tuple[Candidate, ...]:
    """Return what is compared, repeating the last value first; a season must fit twice into `rows`."""
    season = schema.season_length
    seasons = [None, season] if 2 <= season <= rows / 2 else [None]
    linear = [
        Candidate(
            model="channel_ridge",
            params={"window": window, "alpha": ALPHA, "anchor": anchor, "season": each},
        )
        for anchor in ("last", "none")
        for each in seasons
    ]
    repeated = [Candidate(model="seasonal_naive", params={"season": each or 1}) for each in seasons]
    return (*repeated, *linear)


def _thinned(windows: Windows, most: int) -> Windows:
    """Return about so many of the windows, evenly apart."""
    stride = len(windows) // most
    return windows if stride <= 1 else windows[slice(None, None, stride)]


def _mean_errors(trials: Trials) -> Floats:
    """Return (T,) mean absolute errors over all trials."""
    sums, count = np.zeros(len(trials[0][0].targets)), 0
    for model, windows in trials:
        context, actual = model.split(windows)
        errors = np.abs(actual - model.predict(context))
        sums, count = sums + errors.sum(axis=(0, 1)), count + errors.shape[0] * errors.shape[1]
    return sums / max(count, 1)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole; 1 where a column never moves."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 1.0)
