"""What is usual for a series: by time of season, and given its other columns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Self

import numpy as np
import pandas as pd

from cluster.errors import DataError, InsufficientHistoryError, SchemaError
from training.core.component import State
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.windows import Floats, Ints, Times

FEWEST_ROWS = 30
FEWEST_SEASONS = 3
"""From so many seasons on, each time of season has a median of its own."""
LARGEST = 50.0
"""Deviations are cut here: a column that never moved has no scale to measure a larger one by."""
SHRINK = 0.05
"""Share of independence in the columns' correlations, so that doubled columns do not explain each other away."""
AROUND = 12
"""Rows on either side of an event whose median is the level around it."""
NORMAL_95 = 1.96
UNUSUAL = 3.0
"""Deviations from which a row is unusual by itself."""


@dataclass(frozen=True, kw_only=True)
class Deviations:
    """How far n rows are from usual, in robust standard deviations, C columns; NaN where a value is missing.

    Parameters
    ----------
    plain
        (n, C) from the median of the whole history.
    seasonal
        (n, C) from the median at that time of season.
    conditional
        (n, C) from what the other columns of the row let expect; `seasonal` where there is one column.
    low, high
        (n, C) 95 % range of usual values in the columns' units, given the time and the other columns.
    """

    plain: Floats
    seasonal: Floats
    conditional: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True)
class Usual:
    """Medians, scales and relations of one series' columns, learned from history.

    Parameters
    ----------
    series
        Its id.
    columns
        C columns, with units.
    step_s
        Seconds between rows.
    profile
        (P, C) median at each of P times of season; P is 1 where the history is too short for a season.
    scale
        (C,) robust standard deviation around the profile.
    median, spread
        (C,) of the whole history.
    lowest, highest
        (C,) between which all but two in a thousand of its values lay.
    precision
        (C, C) inverse correlation of what the profile leaves.
    seen
        Whole-number column -> the values it took.

    References
    ----------
    Conditional Gaussian deviations: Mardia, Kent and Bibby (1979), Multivariate Analysis, 3.2. Ours takes medians
    and median absolute deviations, so that anomalies in the history do not widen what is usual.
    """

    series: str
    columns: tuple[Column, ...]
    step_s: float
    profile: Floats
    scale: Floats
    median: Floats
    spread: Floats
    lowest: Floats
    highest: Floats
    precision: Floats
    seen: dict[str, frozenset[float]]

    @classmethod
    def fit(cls, panel: Panel) -> Self:
        """Learn from a panel of one series.

        Raises
        ------
        SchemaError
            A column is missing or not of numbers.
        DataError
            The clock runs backwards, or a column has no value, an infinite or an impossible one.
        InsufficientHistoryError
            There are fewer than 30 rows.
        """
        values, times = table_of(panel)
        if len(values) < FEWEST_ROWS:
            raise InsufficientHistoryError(
                f"what is usual cannot be learned: got {len(values)} rows, expected at least {FEWEST_ROWS}; "
                "give a longer history",
                got=len(values),
                expected=FEWEST_ROWS,
            )
        step_s = step_of(panel.schema)
        season = panel.schema.season_length
        known_season = season > 1 and len(values) >= FEWEST_SEASONS * season
        phases = phases_of(times, step_s, season if known_season else 1)
        median = np.nanmedian(values, axis=0)
        profile = _profile(values, phases, season if known_season else 1, median)
        left = values - profile[phases]
        scale = robust_scale(left)
        return cls(
            series=panel.series[0],
            columns=panel.schema.columns,
            step_s=step_s,
            profile=profile,
            scale=scale,
            median=median,
            spread=robust_scale(values - median),
            lowest=np.nanquantile(values, 0.001, axis=0),
            highest=np.nanquantile(values, 0.999, axis=0),
            precision=_precision(left / scale),
            seen={
                column.name: frozenset(values[np.isfinite(values[:, c]), c].tolist())
                for c, column in enumerate(panel.schema.columns)
                if column.kind == "int"
            },
        )

    def state(self) -> State:
        """Return what was learned, for an artifact."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        columns = [asdict(column) for column in self.columns]
        return own | {"columns": columns, "seen": {name: np.array(sorted(self.seen[name])) for name in self.seen}}

    @classmethod
    def restored(cls, state: State) -> Self:
        """Rebuild what `state` gave."""
        columns = tuple(Column(**column) for column in state["columns"])
        seen = {name: frozenset(np.asarray(each).tolist()) for name, each in state["seen"].items()}
        return cls(**(state | {"columns": columns, "seen": seen}))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def season(self) -> int:
        """Rows of the season that the profile knows; 1 is none."""
        return len(self.profile)

    def deviations(self, values: Floats, times: Times) -> Deviations:
        """Return how far rows (n, C) at `times` (n,) are from usual."""
        middle = self.profile[phases_of(times, self.step_s, self.season)]
        scaled = np.clip((values - middle) / self.scale, -LARGEST, LARGEST)
        known = np.where(np.isfinite(scaled), scaled, 0.0)  # a missing neighbour says nothing
        own = np.diag(self.precision)
        left = (known @ self.precision) / own
        left = np.where(np.isfinite(scaled), left, np.nan)
        # where a value is missing the others alone say what it should have been
        others = known - (known @ self.precision) / own
        expected = middle + others * self.scale
        half = NORMAL_95 * self.scale / np.sqrt(own)
        low, high = (
            np.array([getattr(column, end) for column in self.columns], dtype=float) for end in ("low", "high")
        )
        return Deviations(
            plain=np.clip((values - self.median) / self.spread, -LARGEST, LARGEST),
            seasonal=scaled,
            conditional=np.clip(left * np.sqrt(own), -LARGEST, LARGEST),
            low=np.fmax(expected - half, low),
            high=np.fmin(expected + half, high),
        )

    def gone_on(self, values: Floats, times: Times, rows: slice) -> Floats:
        """Return (n, C) the table with some rows as they would have been: the season's course at the level around.

        The level goes straight from that of up to `AROUND` rows before to that of as many rows after; where one
        side is not there the other one's stays.

        Parameters
        ----------
        values, times
            (n, C), (n,) of the whole table.
        rows
            Those that are replaced.
        """
        middle = self.profile[phases_of(times, self.step_s, self.season)]
        left = values - middle
        before, after = _level(left[max(rows.start - AROUND, 0) : rows.start]), _level(left[rows.stop :][:AROUND])
        before, after = np.where(np.isnan(before), after, before), np.where(np.isnan(after), before, after)
        count = rows.stop - rows.start
        along = (np.arange(1, count + 1) / (count + 1))[:, None]
        out: Floats = values.copy()
        out[rows] = middle[rows] + np.nan_to_num(before + along * (after - before))
        return out

    def narrowed(self, values: Floats, times: Times, rows: slice) -> slice:
        """Return the part of some rows from the first to the last that is unusual itself or has a value missing.

        All of them where none is: then their course is what is strange.

        Parameters
        ----------
        values, times
            (n, C), (n,) of the whole table.
        rows
            Those that belong together.
        """
        apart = self.deviations(values[rows], times[rows])
        far = np.fmax(np.abs(apart.seasonal), np.abs(apart.conditional))
        unusual = np.flatnonzero((np.isnan(far) | (far >= UNUSUAL)).any(axis=1))
        if not len(unusual):
            return rows
        return slice(rows.start + int(unusual[0]), rows.start + int(unusual[-1]) + 1)


def _level(left: Floats) -> Floats:
    """Return (C,) medians of some rows; NaN of a column that has no value."""
    known = np.isfinite(left)
    return np.array(
        [np.median(left[known[:, c], c]) if known[:, c].any() else np.nan for c in range(left.shape[1])]
    )


def table_of(panel: Panel) -> tuple[Floats, Times]:
    """Return values (N, C) and times (N,) of a panel of one series; raise what `Usual.fit` raises."""
    for name in panel.schema.names:
        if name not in panel.frame.columns:
            raise SchemaError.at("a column is missing", column=name, got="none", expected=f"column '{name}'")
        if not pd.api.types.is_numeric_dtype(panel.frame[name].dtype):
            got = panel.frame[name].dtype
            raise SchemaError.at("a column is not of numbers", column=name, got=got, expected="a numeric column")
    if len(panel.series) != 1:
        raise DataError.at("events are joined series by series", got=f"{len(panel.series)} series", expected="one")
    table = panel.table
    back = np.flatnonzero(np.diff(table.times) <= np.timedelta64(0, "ns"))
    if len(back):
        row = int(back[0]) + 1
        raise DataError.at(
            "the clock runs backwards", row=row, got=table.times[row], expected=f"later than {table.times[row - 1]}"
        )
    infinite = np.argwhere(np.isinf(table.rows) | (np.abs(table.rows) > 1e100))
    if len(infinite):
        row, c = (int(each) for each in infinite[0])
        raise DataError.at(
            "a value cannot be measured",
            column=table.columns[c],
            row=row,
            got=table.rows[row, c],
            expected="within 1e100 of 0, or NaN where it is missing",
        )
    empty = np.flatnonzero(len(table.rows) and ~np.isfinite(table.rows).any(axis=0))
    if len(empty):
        raise DataError.at("a column is empty", column=table.columns[empty[0]], got="all NaN", expected="numbers")
    return table.rows, table.times


def step_of(schema: Schema) -> float:
    """Return the seconds of a schema's step; of a calendar step (months) the mean."""
    times = pd.date_range("2001-01-01", periods=13, freq=schema.frequency)
    return float((times[-1] - times[0]).total_seconds()) / 12


def phases_of(times: Times, step_s: float, season: int) -> Ints:
    """Return (n,) the place of each time within the season."""
    seconds = times.astype("datetime64[ns]").astype(np.int64) / 1e9
    phases: Ints = (np.floor(seconds / step_s + 0.5).astype(np.int64)) % season
    return phases


def robust_scale(left: Floats) -> Floats:
    """Return (C,): 1.4826 median absolute deviations; the standard deviation where most values are equal."""
    absolute = np.abs(left - np.nanmedian(left, axis=0))
    scale = 1.4826 * np.nanmedian(absolute, axis=0)
    plain = np.nanstd(left, axis=0)
    scale = np.where(scale > 0, scale, plain)
    still: Floats = np.where(scale > 0, scale, 1e-9)
    return still


def _profile(values: Floats, phases: Ints, season: int, median: Floats) -> Floats:
    frame = pd.DataFrame(values).groupby(phases).median()
    profile: Floats = frame.reindex(range(season)).to_numpy(dtype=float)
    return np.where(np.isfinite(profile), profile, median)


def _precision(scaled: Floats) -> Floats:
    """Return the inverse correlation of (N, C), missing values and far ones held back."""
    known = np.clip(np.where(np.isfinite(scaled), scaled, 0.0), -5.0, 5.0)
    known = known - known.mean(axis=0)
    spread = known.std(axis=0)
    known = known / np.where(spread > 0, spread, 1.0)
    relation = known.T @ known / len(known)
    shrunk = (1 - SHRINK) * relation + SHRINK * np.eye(len(relation))
    np.fill_diagonal(shrunk, 1.0)
    inverse: Floats = np.linalg.inv(shrunk)
    return inverse
