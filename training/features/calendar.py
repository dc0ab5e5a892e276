"""Where a moment stands in the day, the week and the year."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from training.core.parameters import flag
from training.core.windows import Floats, Ints, Times
from training.data.public_holidays import check_country, is_holiday
from training.data.time_grid import check_zone, local_times
from training.features.added import AddedColumns, Block

MINUTES = 24 * 60
CYCLES = {"hour": MINUTES, "weekday": 7, "month": 12}
"""Cyclic features, and the positions in one turn: the time of day turns by the minute."""

YEAR_DAYS = 366
"""Days in the turn of a year: the last day of one that is no leap year stands a day before the first."""


class Calendar(AddedColumns):
    """Adds hour, weekday (0 is Monday), day of month, month, quarter, weekend, holiday: `calendar_hour` and so on.

    Hour, weekday and month come as plain numbers, which trees split, and as points on a circle (`_sin`, `_cos`),
    on which a network sees that December is next to January. Offices open and people rise by the local clock:
    name its zone, and hour, weekday, month and holiday are the local ones on both sides of daylight saving.

    Parameters
    ----------
    country
        ISO 3166 code of the country whose public holidays are marked; None marks none and adds no column.
    zone
        Time zone, such as `Europe/Berlin`, of what is computed from timestamps in UTC; None reads them as they
        stand.
    year
        True adds the day of the year as well, as a number and as a point on a circle (`calendar_year_sin`, `_cos`):
        where the seasons of nature count, which do not change with the month.
    """

    name = "calendar"

    def __init__(self, *, country: str | None = None, zone: str | None = None, year: bool = False) -> None:
        if country is not None:
            check_country(country)
        if zone is not None:
            check_zone(zone)
        self.country = country
        self.zone = zone
        self.year = flag("year", year)

    def added(self) -> tuple[str, ...]:
        """Return the new names; `calendar_holiday` only with a country, the day of the year only where asked."""
        plain = ("hour", "weekday", "day_of_month", "month", "quarter", "weekend")
        holiday = ("holiday",) if self.country else ()
        year = ("day_of_year", "year_sin", "year_cos") if self.year else ()
        return (*_named(plain), *circles(), *_named(holiday), *_named(year))

    def ahead_columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names, then the calendar's own: the time ahead is always known."""
        return (*columns, *self.added())

    def compute_ahead(self, values: Floats, times: Times, columns: tuple[str, ...]) -> Floats:
        """Return (S, T, K + A)."""
        return self.compute(values, times, columns)

    def compute_added(self, block: Block) -> Floats:
        """Return (S, T, A)."""
        times = block.times if self.zone is None else local_times(block.times, self.zone)
        days = times.astype("datetime64[D]")
        months = times.astype("datetime64[M]")
        minute: Ints = (times - days).astype("timedelta64[m]").astype(np.int64)
        weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
        month = months.astype(np.int64) % 12
        features: list[npt.NDArray[np.generic]] = [
            minute // 60,
            weekday,
            (days - months).astype(np.int64) + 1,
            month + 1,
            month // 3 + 1,
            weekday >= 5,
        ]
        for name, position in {"hour": minute, "weekday": weekday, "month": month}.items():
            features += [wave[position] for wave in _circle(CYCLES[name])]
        if self.country:
            features.append(is_holiday(days, self.country))
        if self.year:
            day: Ints = (days - times.astype("datetime64[Y]")).astype(np.int64)
            features += [day + 1, *(wave[day] for wave in _circle(YEAR_DAYS))]
        return np.stack(features, axis=2, dtype=np.float64)


def circles() -> tuple[str, ...]:
    """Return the names of the columns on circles: `calendar_hour_sin` and so on."""
    return _named(tuple(f"{name}_{wave}" for name in CYCLES for wave in ("sin", "cos")))


def _named(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"calendar_{name}" for name in names)


@cache
def _circle(turn: int) -> tuple[Floats, Floats]:
    """Return sine and cosine of each position; a table, so that equal moments have equal bits."""
    angle = 2 * np.pi * np.arange(turn) / turn
    return np.sin(angle), np.cos(angle)
