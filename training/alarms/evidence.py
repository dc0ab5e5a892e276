"""What is known of an event before anybody names it: figures, each computed from rows, scores and history."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.alarms.usual import Deviations, Usual
from training.core.windows import Floats, Times

FACTORS = 3
"""Factors that are told."""
STILL_SHARE = 1e-6
"""A column stands still when its range within the event is below this share of its usual deviation."""


@dataclass(frozen=True, kw_only=True)
class Factor:
    """One column's part in an event.

    Parameters
    ----------
    column, unit
        Which, in what.
    share
        Of all that is strange in the event, 0 .. 1.
    deviation
        Signed, in standard deviations given time and other columns, at the row where the column is strangest.
    value
        What was measured there; NaN where it is missing.
    low, high
        What would have been normal there, 95 %.
    contribution
        By how much the column raised the detector's highest score, in that score's unit; None where the detector
        does not see it, or could not be asked.
    """

    column: str
    unit: str
    share: float
    deviation: float
    value: float
    low: float
    high: float
    contribution: float | None = None

    def sentence(self) -> str:
        """Return the factor in words."""
        unit = "" if self.unit == "1" else f" {self.unit}"
        value = "missing" if np.isnan(self.value) else f"{_figure(self.value)}{unit}"
        normal = f"{_figure(self.low)} .. {_figure(self.high)}{unit}"
        return f"{self.column} {value}, normal {normal} ({self.share:.0%})"


def _figure(value: float) -> str:
    """Return four digits, or a whole number where that is longer."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Figures of one event.

    Parameters
    ----------
    rows, season
        Its length, and that of the season; 1 is none.
    gap
        Rows within which strange rows are one event.
    factors
        All columns, the largest share first.
    plain, seasonal, conditional
        Column -> largest absolute deviation, see `Deviations`.
    shift
        Column -> mean signed seasonal deviation over the event.
    spread
        Column -> standard deviation within the event over the usual one; NaN for a single row.
    missing
        Column -> share of rows without a value.
    beyond
        Columns with a value outside of all but two in a thousand of the history's.
    still
        Columns that stand still over three rows or more, though they usually move.
    unseen
        Whole-number columns with a value that the history never had.
    """

    rows: int
    season: int
    gap: int
    factors: tuple[Factor, ...]
    plain: dict[str, float]
    seasonal: dict[str, float]
    conditional: dict[str, float]
    shift: dict[str, float]
    spread: dict[str, float]
    missing: dict[str, float]
    beyond: tuple[str, ...]
    still: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def main(self) -> Factor:
        """The factor with the largest share."""
        return self.factors[0]


def gather(
    usual: Usual, values: Floats, times: Times, *, gap: int, contributions: Floats | None = None
) -> Evidence:
    """Compute an event's evidence.

    Shares follow the squared conditional deviations, summed over the rows. What the columns that the detector sees
    have of them together is divided by what each contributed to its score, where that is known: two columns may be
    as far out, and the detector cares for one of them.

    Parameters
    ----------
    usual
        Of its series.
    values, times
        (n, C), (n,) its rows.
    gap
        Of the budget, in rows.
    contributions
        (C,) by how much each column raised the detector's score; NaN of those that it does not see. None where it
        cannot be asked.
    """
    apart = usual.deviations(values, times)
    names = usual.names
    missing = np.isnan(values).mean(axis=0)
    told = np.full(len(names), np.nan) if contributions is None else np.asarray(contributions)
    share = _shares(apart, missing, told)
    factors = [
        replace(_factor(usual, values, apart, c), share=float(share[c]), contribution=_known(told[c]))
        for c in range(len(names))
    ]
    by_name = {
        "plain": _most(apart.plain, names),
        "seasonal": _most(apart.seasonal, names),
        "conditional": _most(apart.conditional, names),
        "shift": _named(_means(apart.seasonal), names),
        "spread": _named(_spreads(values, usual), names),
        "missing": _named(missing, names),
    }
    return Evidence(
        rows=len(values),
        season=usual.season,
        gap=gap,
        factors=tuple(sorted(factors, key=lambda factor: -factor.share)),
        beyond=_beyond(values, usual),
        still=_still(values, usual),
        unseen=_unseen(values, usual),
        **by_name,
    )


def _shares(apart: Deviations, missing: Floats, contributions: Floats) -> Floats:
    """Return (C,) with the sum 1; see `gather`."""
    weight = np.nan_to_num(np.square(apart.conditional)).sum(axis=0)
    # a value that ought to be there is as strange as one three deviations off
    weight = weight + 9.0 * missing * len(apart.conditional)
    share = weight / weight.sum() if weight.sum() > 0 else np.full(len(weight), 1.0 / len(weight))
    seen = np.isfinite(contributions) & (missing == 0)
    raised = np.where(seen, contributions, 0.0).clip(0)
    if raised.sum() > 0:
        share[seen] = share[seen].sum() * raised[seen] / raised.sum()
    out: Floats = share
    return out


def _known(figure: float) -> float | None:
    return float(figure) if np.isfinite(figure) else None


def _factor(usual: Usual, values: Floats, apart: Deviations, c: int) -> Factor:
    strange = np.abs(apart.conditional[:, c])
    row = int(np.nanargmax(strange)) if np.isfinite(strange).any() else 0
    deviation = apart.conditional[row, c]
    return Factor(
        column=usual.columns[c].name,
        unit=usual.columns[c].unit,
        share=0.0,
        deviation=float(deviation) if np.isfinite(deviation) else 0.0,
        value=float(values[row, c]),
        low=float(apart.low[row, c]),
        high=float(apart.high[row, c]),
    )


def _named(figures: Floats, names: tuple[str, ...]) -> dict[str, float]:
    return dict(zip(names, map(float, figures), strict=True))


def _most(deviations: Floats, names: tuple[str, ...]) -> dict[str, float]:
    return _named(np.nan_to_num(np.abs(deviations)).max(axis=0), names)


def _means(deviations: Floats) -> Floats:
    known = np.isfinite(deviations)
    out: Floats = np.where(known, deviations, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return out


def _spreads(values: Floats, usual: Usual) -> Floats:
    if len(values) < 3:
        return np.full(values.shape[1], np.nan)
    steps = np.diff(values, axis=0)
    known = np.isfinite(steps).sum(axis=0)
    squares = np.nansum(np.square(steps), axis=0) / np.maximum(known, 1)
    # neighbours of independent rows differ by sqrt 2 standard deviations
    out: Floats = np.where(known > 0, np.sqrt(squares / 2) / usual.scale, np.nan)
    return out


def _beyond(values: Floats, usual: Usual) -> tuple[str, ...]:
    outside = (values < usual.lowest) | (values > usual.highest)  # a missing value is not
    return tuple(name for c, name in enumerate(usual.names) if outside[:, c].any())


def _still(values: Floats, usual: Usual) -> tuple[str, ...]:
    if len(values) < 3:
        return ()
    found = []
    for c, column in enumerate(usual.columns):
        known = values[np.isfinite(values[:, c]), c]
        moves = column.kind == "float" and usual.scale[c] > 1e-9
        if moves and len(known) >= 3 and float(np.ptp(known)) < STILL_SHARE * usual.scale[c]:
            found.append(column.name)
    return tuple(found)


def _unseen(values: Floats, usual: Usual) -> tuple[str, ...]:
    new = []
    for c, column in enumerate(usual.columns):
        if column.name in usual.seen:
            known = set(values[np.isfinite(values[:, c]), c].tolist())
            if known - usual.seen[column.name]:
                new.append(column.name)
    return tuple(new)
