"""Times as requests carry them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from cluster.errors import DataError
from training.core.windows import Times

# datetime64[ns] ends in 2262; a horizon must fit behind the last row.
FIRST_YEAR, LAST_YEAR = 1900, 2200


def instants(texts: Sequence[str], field: str) -> Times:
    """Return (R,) times; raise the DataError that names `field` and the first place that is none."""
    try:
        times = [datetime.fromisoformat(text) for text in texts]
        fine = all(time.tzinfo is None and FIRST_YEAR <= time.year <= LAST_YEAR for time in times)
    except ValueError:
        fine = False
    if not fine:
        row = next(row for row, text in enumerate(texts) if not _is_time(text))
        raise not_a_time(texts[row], f"{field}[{row}]")
    return np.array(times, dtype="datetime64[ns]")


def instant(text: str, field: str) -> np.datetime64:
    """Return one time; raise the DataError that names `field`."""
    if not _is_time(text):
        raise not_a_time(text, field)
    return np.datetime64(datetime.fromisoformat(text), "ns")


def not_a_time(text: str, field: str) -> DataError:
    """Return the error for a text that is no time."""
    return DataError.at(
        f"{field} is not a time",
        got=repr(text),
        expected=f"ISO 8601 without time zone, years {FIRST_YEAR} .. {LAST_YEAR}, such as 2015-06-01T13:00:00",
        field=field,
    )


def _is_time(text: str) -> bool:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return False
    return time.tzinfo is None and FIRST_YEAR <= time.year <= LAST_YEAR
