"""Meters that change their unit: a known factor, all at once, held since."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.core.windows import Floats

FACTORS = {
    3.6: "MJ and kWh, or m/s and km/h",
    24.0: "a mean a day and a sum of hours",
    60.0: "seconds, minutes, hours",
    100.0: "a ratio and percent",
    1e3: "Wh, kWh, MWh, or kg and t",
    3.6e3: "Ws and Wh, or seconds and hours",
    1e6: "Wh and MWh, or g and t",
}
"""Ratio of two units that are mistaken for each other -> which."""

TOLERANCE = 0.08
"""Decades (a fifth) by which a change may miss a known factor; the nearest two factors are .22 apart."""
SMALLEST = 0.4
"""Decades of a change worth a look: a factor of 2.5."""
SEASONS = 7
"""Seasons before and after that are compared, so that no weekend or night passes for another unit."""
FEWEST = 8
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, kw_only=True)
class UnitChange:
    """From one row on, values are a known factor of what they were.

    Parameters
    ----------
    row
        First row in the new unit.
    factor
        New over old: 1000 or 0.001 and so on, of `FACTORS` or their inverse.
    measured
        The factor between the medians before and after.
    """

    row: int
    factor: float
    measured: float

    @property
    def meaning(self) -> str:
        """Return which units have that factor."""
        return FACTORS[self.factor if self.factor > 1 else _known(1 / self.factor)]


def unit_changes(values: Floats, *, season: int) -> tuple[UnitChange, ...]:
    """Return where `values` (R,) change by a known factor, in order.

    A change of unit moves the logarithm of every value by the same amount; a plant that stops or a weekend moves
    some values more than others. So the .1, .25, .5, .75 and .9 quantiles of the 7 seasons after must all be the
    same known factor of those of the 7 seasons before, within a fifth. The row is where two medians fit best
    (least absolute deviations). Zeros, negative and missing values say nothing and are passed over; a change that
    is held for less than the rows compared (`hold`) is not found, nor is one where fewer than 8 rows lie on a side.
    """
    said = np.flatnonzero(values > 0)  # NaN is not
    logs = np.log10(values[said])
    hold = held_rows(len(logs), season)
    if hold < FEWEST:
        return ()
    middle = pd.Series(logs).rolling(hold).median().to_numpy()
    jump = np.full(len(logs) + 1, 0.0)
    jump[hold : len(logs) - hold + 1] = middle[2 * hold - 1 :] - middle[hold - 1 : len(logs) - hold]
    high = np.abs(jump) >= SMALLEST
    edges = np.flatnonzero(np.diff(np.concatenate([[0], high.astype(np.int8), [0]])))
    found = (_change(logs, int(a), int(b), hold) for a, b in edges.reshape(-1, 2))
    return tuple(
        UnitChange(row=int(said[change.row]), factor=change.factor, measured=change.measured)
        for change in found
        if change is not None
    )


def held_rows(rows: int, season: int) -> int:
    """Return the rows on each side that are compared: 7 seasons, less in a short series."""
    return min(SEASONS * season, rows // 4)


def _change(logs: Floats, begin: int, end: int, hold: int) -> UnitChange | None:
    """Return the change at the best split of rows around [begin, end), if it is by a known factor."""
    left, right = max(begin - hold, 0), min(end + hold, len(logs))
    part = logs[left:right]
    costs = _l1_left(part, hold) + _l1_left(part[::-1], hold)[::-1]
    row = left + hold + int(np.argmin(costs[hold : len(part) - hold + 1]))
    before, after = (np.quantile(side, QUANTILES) for side in (logs[row - hold : row], logs[row : row + hold]))
    moved = after - before
    middle = float(moved[len(QUANTILES) // 2])
    factor = _known(10 ** abs(middle))
    sign = 1.0 if middle > 0 else -1.0
    if np.abs(moved - sign * np.log10(factor)).max() > TOLERANCE:
        return None
    return UnitChange(row=row, factor=factor if sign > 0 else 1 / factor, measured=float(10**middle))


def _l1_left(part: Floats, hold: int) -> Floats:
    """Return (n + 1,) for each split the sum of absolute deviations of what is left of it from its first median."""
    return np.concatenate([[0.0], np.cumsum(np.abs(part - np.median(part[:hold])))])


def _known(ratio: float) -> float:
    return min(FACTORS, key=lambda factor: abs(np.log(factor / ratio)))


def in_one_unit(values: Floats, changes: tuple[UnitChange, ...]) -> Floats:
    """Return `values` (R,) in the unit that the most rows have; of equals, in the first."""
    borders = [0, *(change.row for change in changes), len(values)]
    scale = np.cumprod([1.0, *(change.factor for change in changes)])
    kept = scale[int(np.argmax(np.diff(borders)))]
    converted: Floats = values / np.repeat(scale / kept, np.diff(borders))
    return converted
