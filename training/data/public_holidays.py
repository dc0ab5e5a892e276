"""Public holidays of countries, by the `holidays` library."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from cluster.errors import UnknownNameError
from training.core.windows import Times


def is_holiday(days: Times, country: str) -> npt.NDArray[np.bool_]:
    """Return for each of `days` (datetime64[D]) whether it is a public holiday of `country`."""
    if not days.size:
        return np.zeros(days.shape, dtype=bool)
    first, last = (int(day.astype("datetime64[Y]").astype(np.int64)) + 1970 for day in (days.min(), days.max()))
    known = np.concatenate([_holidays(country, year) for year in range(first, last + 1)])
    calendar = np.zeros(int((days.max() - days.min()).astype(np.int64)) + 1, dtype=bool)
    inside = known[(known >= days.min()) & (known <= days.max())]
    calendar[(inside - days.min()).astype(np.int64)] = True
    marked: npt.NDArray[np.bool_] = calendar[(days - days.min()).astype(np.int64)]
    return marked


@cache
def _holidays(country: str, year: int) -> Times:
    import holidays

    return np.array(sorted(holidays.country_holidays(country, years=year)), dtype="datetime64[D]")


def check_country(country: str) -> None:
    """Raise UnknownNameError unless holidays of `country` are known."""
    import holidays

    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known:
        raise UnknownNameError.of("country", country, known)
