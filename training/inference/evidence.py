"""What the history can say about a change: the range of each driver, and of drivers together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from cluster.errors import UserError
from training.core.panel import Panel
from training.core.windows import Floats, Windows

KEPT_ROWS = 1000
"""Rows of a series' history that combinations are compared with, spread evenly over it."""
RARE = 0.99
"""Share of the history's rows that lie nearer to another row than the distance which is called far."""
THIN = 1e-6
"""Variances below this share of the largest count as this: leaving an exact relation between drivers is far, not
infinitely far."""
BESIDE = 30
"""Rows most like the asked one in all other drivers; what the driver did in these is its range beside them."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far beyond what was seen a scenario may go before it is refused; what is beyond at all is flagged.

    Parameters
    ----------
    range_share
        Of one driver: distance from the seen range, in widths of that range; 0 or more.
    combination_ratio
        Of the drivers together: distance to the most similar row seen, in units of the distance which 99 % of the
        history's rows keep within; 1 or more.
    """

    range_share: float = 0.25
    combination_ratio: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """A value, or a combination of values, that the history does not hold.

    Parameters
    ----------
    scenario, series, column
        Where; of a combination the driver that stands out most.
    kind
        `range` of one driver, or `combination` of several.
    asked
        The value furthest out.
    low, high
        The range seen: over the series' history, or, of a combination, in the rows most like it otherwise.
    excess
        How far out, in the unit of its limit.
    timestamp
        When, ISO.
    """

    scenario: str
    series: str
    column: str
    kind: str
    asked: float
    low: float
    high: float
    excess: float
    timestamp: str

    def text(self) -> str:
        """Return it in words."""
        if self.kind == "range":
            return (
                f"'{self.column}' of series '{self.series}' is asked to be {self.asked:.6g} at {self.timestamp}; "
                f"range seen {self.low:.6g} .. {self.high:.6g}"
            )
        return (
            f"the drivers of series '{self.series}' at {self.timestamp} are {self.excess:.1f} times as far from "
            f"any row seen as rows usually are: '{self.column}' is asked to be {self.asked:.6g}; range seen "
            f"beside such values of the others {self.low:.6g} .. {self.high:.6g}"
        )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The rows of one series' history, as far as a model's drivers go.

    Parameters
    ----------
    series
        Its id.
    columns
        (K,) drivers.
    rows
        (R, K).
    """

    series: str
    columns: tuple[str, ...]
    rows: Floats

    @classmethod
    def of(cls, history: Panel, columns: Sequence[str]) -> dict[str, Self]:
        """Return each series' evidence."""
        table = history.table
        picked = table.rows[:, table.positions(columns)]
        borders = zip(table.series, table.segments[:-1], table.segments[1:], strict=True)
        return {name: cls(series=name, columns=tuple(columns), rows=picked[a:b]) for name, a, b in borders}

    def judge(
        self, scenario: str, before: Floats, after: Floats, times: Sequence[str], limits: Limits
    ) -> list[Extrapolation]:
        """Return what of a scenario lies outside the history.

        Parameters
        ----------
        scenario
            Its name.
        before, after
            (H, K) baseline and scenario. What the scenario leaves as it is, is not judged.
        times
            (H,) for messages.
        limits
            Beyond them it is refused.

        Raises
        ------
        UserError
            A changed driver never varied in the history, or is beyond its limit; the message names driver, asked
            value and range seen.
        """
        changed = (after != before).any(axis=0)
        found = [
            self._range(scenario, column, before[:, column], after[:, column], times)
            for column in np.flatnonzero(changed).tolist()
        ]
        found.append(self._combination(scenario, before, after, times))
        flags = [each for each in found if each is not None]
        for flag in flags:
            limit = limits.range_share if flag.kind == "range" else limits.combination_ratio
            if flag.excess > limit:
                raise _refusal(flag, limit)
        return flags

    def _range(
        self, scenario: str, column: int, before: Floats, after: Floats, times: Sequence[str]
    ) -> Extrapolation | None:
        seen = self.rows[:, column]
        low, high = float(seen.min()), float(seen.max())
        name = self.columns[column]
        if low == high:
            raise UserError(
                f"scenario '{scenario}' changes '{name}' of series '{self.series}', which never varied in the "
                f"history: got {after[after != before][0]:.6g}, seen {low:.6g} in all {len(seen)} rows; nothing "
                "says what a change of it does: leave it as it is, or give a history in which it varied",
                scenario=scenario,
                series=self.series,
                column=name,
                expected=f"{low:.6g}",
            )
        beyond = np.where(after != before, np.maximum(low - after, after - high), -np.inf)
        worst = int(beyond.argmax())
        if beyond[worst] <= 0:
            return None
        return Extrapolation(
            scenario=scenario,
            series=self.series,
            column=name,
            kind="range",
            asked=float(after[worst]),
            low=low,
            high=high,
            excess=float(beyond[worst] / (high - low)),
            timestamp=times[worst],
        )

    def _combination(
        self, scenario: str, before: Floats, after: Floats, times: Sequence[str]
    ) -> Extrapolation | None:
        vary = np.ptp(self.rows, axis=0) > 0
        touched = np.flatnonzero((after != before).any(axis=1))
        if vary.sum() < 2 or not len(touched):
            return None
        whitened, usual = self._whitened
        asked, base = (
            self._nearest((each[touched][:, vary] - self._centre) @ whitened) for each in (after, before)
        )
        ratio = asked / np.maximum(usual, base)  # a future that is unusual by itself is not the scenario's doing
        worst = int(ratio.argmax())
        if ratio[worst] <= 1:
            return None
        step = int(touched[worst])
        column, low, high = self._standing_out(after[step], after[step] != before[step])
        return Extrapolation(
            scenario=scenario,
            series=self.series,
            column=self.columns[column],
            kind="combination",
            asked=float(after[step, column]),
            low=low,
            high=high,
            excess=float(ratio[worst]),
            timestamp=times[step],
        )

    @cached_property
    def _kept(self) -> Floats:
        keep = np.unique(np.linspace(0, len(self.rows) - 1, min(len(self.rows), KEPT_ROWS)).round().astype(int))
        kept: Floats = self.rows[keep]
        return kept[:, np.ptp(self.rows, axis=0) > 0]

    @cached_property
    def _centre(self) -> Floats:
        centre: Floats = self._kept.mean(axis=0)
        return centre

    @cached_property
    def _whitened(self) -> tuple[Floats, float]:
        """Return the map to uncorrelated units, and how far rows of the history usually are from the next one."""
        scale = self._kept.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        variances, axes = np.linalg.eigh(np.cov((self._kept - self._centre).T / scale[:, None]))
        whiten: Floats = (axes / np.sqrt(variances.clip(THIN * variances.max()))) / scale[:, None]
        rows = (self._kept - self._centre) @ whiten
        apart = _distances(rows, rows)
        np.fill_diagonal(apart, np.inf)
        return whiten, float(np.quantile(apart.min(axis=1), RARE))

    def _nearest(self, points: Floats) -> Floats:
        rows = (self._kept - self._centre) @ self._whitened[0]
        nearest: Floats = _distances(points, rows).min(axis=1)
        return nearest

    def _standing_out(
        self, asked: Floats, changed: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> tuple[int, float, float]:
        """Return the changed driver that is furthest from what it was beside such others, and its range there."""
        spread = self.rows.std(axis=0)
        unit = np.where(spread > 0, spread, 1.0)
        gaps = np.square((self.rows - asked) / unit)
        found = []
        for column in np.flatnonzero(changed).tolist():
            others = gaps.sum(axis=1) - gaps[:, column]
            near = self.rows[np.argsort(others, kind="stable")[:BESIDE], column]
            low, high = float(near.min()), float(near.max())
            found.append((float(max(low - asked[column], asked[column] - high) / unit[column]), column, low, high))
        return max(found)[1:]


def _distances(points: Floats, rows: Floats) -> Floats:
    """Return (P, R)."""
    squares = np.square(points).sum(axis=1)[:, None] + np.square(rows).sum(axis=1) - 2 * points @ rows.T
    distances: Floats = np.sqrt(squares.clip(0))
    return distances


def _refusal(flag: Extrapolation, limit: float) -> UserError:
    how = (
        f"{flag.excess:.2f} widths of that range outside, at most {limit:g}"
        if flag.kind == "range"
        else (f"at most {limit:g} times is allowed")
    )
    return UserError(
        f"scenario '{flag.scenario}' goes beyond what the history can tell: {flag.text()} ({how}); ask for less, "
        "or raise the limit if you trust the model there",
        scenario=flag.scenario,
        series=flag.series,
        column=flag.column,
        got=flag.asked,
        expected=f"{flag.low:.6g} .. {flag.high:.6g}",
    )


def judge_all(
    evidence: Mapping[str, Evidence], scenario: str, before: Windows, after: Windows, limits: Limits
) -> tuple[Extrapolation, ...]:
    """Judge one scenario for all series; `before` and `after` are N windows of known rows ahead."""
    stamps = np.datetime_as_string(before.timestamps, unit="s")
    flags: list[Extrapolation] = []
    for n, series in enumerate(before.ids):
        flags += evidence[series].judge(scenario, before.values[n], after.values[n], stamps[n].tolist(), limits)
    return tuple(flags)
