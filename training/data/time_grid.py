"""From the times a source has to a regular grid: zones, daylight saving, order, duplicates, steps."""

from __future__ import annotations

from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd

from cluster.errors import ConfigError, DataError
from training.core.validation import TIME
from training.core.windows import Ints, Times

Ambiguous = Literal["order", "first", "second", "refuse"]
Nonexistent = Literal["refuse", "shift"]
Clock = Literal["utc", "standard"]

MAXIMUM_STEPS = 262_800
"""Steps between two rows: 30 years of hours, half a year of minutes. More is a slip of the clock, not a gap."""


def check_zone(zone: str) -> None:
    """Raise ConfigError unless `zone` is in the time zone database."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"zone: got '{zone}', expected a name of the time zone database, such as Europe/Berlin",
            parameter="zone",
            got=zone,
        ) from error


def is_calendar(frequency: str) -> bool:
    """Return whether a step is a day or longer: such rows are labelled by a local date, which no clock moves."""
    offset = pd.tseries.frequencies.to_offset(frequency)
    return not isinstance(offset, pd.offsets.Tick) or pd.Timedelta(offset) >= pd.Timedelta(days=1)


def to_utc(
    local: Times, zone: str, *, frequency: str, ambiguous: Ambiguous, nonexistent: Nonexistent, series: str
) -> Times:
    """Return one series' wall-clock times in UTC; no hour is lost or doubled over daylight saving.

    In autumn an hour is written twice. `order` takes the first of two equal times as summer time and the second as
    standard time, in the order of the rows; one that stands alone is settled by its neighbour a step away.

    Parameters
    ----------
    local
        (R,) wall-clock times in the order of the source.
    zone
        Name in the time zone database.
    frequency
        The step between rows.
    ambiguous
        What an hour written twice means.
    nonexistent
        What a time in spring's missing hour means: a fault, or the first moment after it (`shift`).
    series
        Its id, for messages.

    Raises
    ------
    DataError
        A time does not exist in the zone, or it is not settled which of two it is.
    """
    index = pd.DatetimeIndex(local)
    summer = index.tz_localize(zone, ambiguous=np.ones(len(index), dtype=bool), nonexistent="shift_forward")
    winter = index.tz_localize(zone, ambiguous=np.zeros(len(index), dtype=bool), nonexistent="shift_forward")
    shifted = np.asarray(summer.tz_localize(None) != index)
    if nonexistent == "refuse" and shifted.any():
        raise _fault(
            "a local time does not exist", series, local, shifted, f"a time that {zone}'s clocks show; or 'shift'"
        )
    first, second = (_plain(times) for times in (summer, winter))
    if (first == second).all():
        return first
    chosen = _is_first(local, (first, second), frequency=frequency, ambiguous=ambiguous, series=series)
    return np.where(chosen, first, second)


def twice_and_never(local: Times, zone: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return (R,) which times are in the hour that autumn doubles, and which in the one spring leaves out."""
    index = pd.DatetimeIndex(local)
    summer, winter = (
        index.tz_localize(zone, ambiguous=np.full(len(index), dst), nonexistent="shift_forward")
        for dst in (True, False)
    )
    return np.asarray(summer != winter), np.asarray(summer.tz_localize(None) != index)


def _plain(times: pd.DatetimeIndex) -> Times:
    return times.tz_convert("UTC").tz_localize(None).to_numpy(dtype="datetime64[ns]")


def _is_first(
    local: Times, moments: tuple[Times, Times], *, frequency: str, ambiguous: Ambiguous, series: str
) -> npt.NDArray[np.bool_]:
    first, second = moments
    twice = first != second
    if ambiguous in {"first", "second"}:
        return np.full(len(local), ambiguous == "first")
    rank, count = _occurrences(local)
    if ambiguous == "refuse" or (count[twice] > 2).any():
        wrong = twice if ambiguous == "refuse" else twice & (count > 2)
        raise _fault(
            "a local time is ambiguous",
            series,
            local,
            wrong,
            "a zone offset, or at most two rows and ambiguous='order'",
        )
    chosen: npt.NDArray[np.bool_] = rank == 0
    step = pd.Timedelta(pd.tseries.frequencies.to_offset(frequency)).to_timedelta64()  # type: ignore[arg-type]
    for at in np.flatnonzero(twice & (count == 1)):
        settled = _beside(int(at), np.where(chosen, first, second), (first[at], second[at]), step)
        if settled is None:
            lone = np.arange(len(local)) == at
            raise _fault("a local time is ambiguous", series, local, lone, "both of its rows, or a row a step away")
        chosen[at] = settled == 0
    return chosen


def _occurrences(local: Times) -> tuple[Ints, Ints]:
    """Return for each time how many equal ones come before it, and how many there are."""
    groups = pd.Series(np.arange(len(local))).groupby(local)
    rank, count = groups.cumcount(), groups.transform("size")
    return np.asarray(rank, dtype=np.int64), np.asarray(count, dtype=np.int64)


def _beside(at: int, times: Times, choices: tuple[Any, Any], step: np.timedelta64) -> int | None:
    """Return which of two moments of row `at` is a step from the row before it, else from the row after it."""
    for neighbour, distance in ((at - 1, step), (at + 1, -step)):
        if 0 <= neighbour < len(times):
            for which, choice in enumerate(choices):
                if choice - times[neighbour] == distance:
                    return which
    return None


def local_times(utc: Times, zone: str) -> Times:
    """Return what the zone's clocks show at each moment of UTC, in the shape of `utc`."""
    index = pd.DatetimeIndex(utc.ravel()).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return index.to_numpy(dtype="datetime64[ns]").reshape(utc.shape)


def on_clock(utc: Times, zone: str, clock: Clock) -> Times:
    """Return UTC as it is, or the zone's standard time all year: both run on evenly."""
    if clock == "utc" or not len(utc):
        return utc
    moved: Times = utc + _standard(utc, zone)
    return moved


def local_dates(even: Times, zone: str | None, clock: Clock, frequency: str) -> Times:
    """Return (R,) the local dates (datetime64[D]) of prepared times; longer steps have them as labels."""
    if zone is None or is_calendar(frequency) or not len(even):
        return even.astype("datetime64[D]")
    utc = even if clock == "utc" else even - _standard(even, zone)
    return local_times(utc, zone).astype("datetime64[D]")


def _standard(times: Times, zone: str) -> np.timedelta64:
    year = pd.DatetimeIndex(times[:1]).year[0]
    ends = (pd.Timestamp(year=year, month=month, day=1, tz=zone).utcoffset() for month in (1, 7))
    return np.timedelta64(min(offset for offset in ends if offset is not None))


def grid_of(times: Times, frequency: str, series: str) -> tuple[Times, Ints]:
    """Return the regular times from the first row to the last, and the rows' places in them.

    Parameters
    ----------
    times
        (R,) sorted, without duplicates.
    frequency
        pandas offset alias of the step.
    series
        Its id, for messages.

    Raises
    ------
    DataError
        The rows have another step, or more than one; the message names the series and both steps.
    """
    offset = pd.tseries.frequencies.to_offset(frequency)
    if isinstance(offset, pd.offsets.Tick) and len(times) > 1:
        # in microseconds: 300 years of nanoseconds overflow
        steps = np.diff(times.astype("datetime64[us]")) // pd.Timedelta(offset).to_timedelta64()
        if steps.max() > MAXIMUM_STEPS:
            expected = f"at most {MAXIMUM_STEPS} steps of {frequency} between two rows; mend the times"
            raise _another_step(series, times, int(steps.argmax()) + 1, expected)
    grid = pd.date_range(times[0], times[-1], freq=frequency)
    places = grid.get_indexer(pd.DatetimeIndex(times))
    off = np.flatnonzero(places < 0)
    if len(off):
        at = int(off[0])
        raise _mixed(series, times, max(at, 1), frequency)
    jumps = np.diff(places)
    usual = int(np.bincount(jumps).argmax()) if len(jumps) else 1
    if usual > 1 and len(jumps) > 1:
        raise _mixed(series, times, int(np.flatnonzero(jumps == usual)[0]) + 1, frequency)
    return grid.to_numpy(dtype="datetime64[ns]"), places.astype(np.int64)


def _mixed(series: str, times: Times, at: int, frequency: str) -> DataError:
    expected = f"{frequency} throughout; resample the series, or prepare each frequency under its own schema"
    return _another_step(series, times, at, expected)


def _another_step(series: str, times: Times, at: int, expected: str) -> DataError:
    time = pd.Timestamp(times[min(at, len(times) - 1)])
    before = pd.Timestamp(times[at - 1])
    got = (
        f"{time.as_unit('us') - before.as_unit('us')} before {time}" if len(times) > 1 else f"{time}, off the grid"
    )
    return DataError.at(
        f"series '{series}' has another step", column=TIME, got=got, expected=expected, series=series
    )


def _fault(what: str, series: str, times: Times, wrong: npt.NDArray[np.bool_], expected: str) -> DataError:
    at = int(np.argmax(wrong))
    return DataError.at(
        f"series '{series}': {what}",
        column=TIME,
        row=at,
        got=pd.Timestamp(times[at]),
        expected=expected,
        series=series,
        count=int(wrong.sum()),
    )
