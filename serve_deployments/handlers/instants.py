"""Times as requests carry them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from cluster.errors import DataError
from training.core.validation import EARLIEST, LATEST
from training.core.windows import Times

YEARS = f"{EARLIEST.year} .. {LATEST.year - 1}"


def is_time(text: str) -> bool:
    """Return whether a text is a time as requests write it: ISO 8601 without zone, of a year that is possible."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return False
    return _possible(time)


def instants(texts: Sequence[str], field: str) -> Times:
    """Return (R,) times; raise the DataError that names `field` and the first place that is none."""
    try:
        times = [datetime.fromisoformat(text) for text in texts]
        fine = all(map(_possible, times))
    except ValueError:
        fine = False
    if not fine:
        row = next(row for row, text in enumerate(texts) if not is_time(text))
        raise _not_a_time(texts[row], f"{field}[{row}]")
    return np.array(times, dtype="datetime64[ns]")


def instant(text: str, field: str) -> np.datetime64:
    """Return one time; raise the DataError that names `field`."""
    if not is_time(text):
        raise _not_a_time(text, field)
    return np.datetime64(datetime.fromisoformat(text), "ns")


def _possible(time: datetime) -> bool:
    return time.tzinfo is None and EARLIEST.year <= time.year <= LATEST.year


def _not_a_time(text: str, field: str) -> DataError:
    return DataError.at(
        f"{field} is not a time",
        got=repr(text),
        expected=f"ISO 8601 without time zone, years {YEARS}, such as 2015-06-01T13:00:00",
        field=field,
    )
