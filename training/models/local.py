"""What the local models share: each forecast comes from one window alone, by a structure that fitting chose."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from cluster.errors import ConfigError
from training.core.windows import Floats, Windows

JUDGED = 256
"""Windows that candidates are compared on: the standard error of the comparison is below a tenth of the differences
seen on the samples, and more cost time."""

C = TypeVar("C")


def check_seasons(name: str, window: int, season: int, least: int) -> None:
    """Raise ConfigError unless `window` holds `least` seasons."""
    if window < least * season:
        raise ConfigError(
            f"'{name}' looks back on too few seasons: got window={window}, expected at least {least} times "
            f"season={season}, {least * season} rows",
            parameter="window",
            got=window,
            expected=least * season,
        )


def spread(windows: Windows, count: int) -> Windows:
    """Return at most `count` of the windows, evenly spread, the last one among them."""
    picked = len(windows) - 1 - np.arange(min(count, len(windows))) * len(windows) // max(count, 1)
    if len(windows) <= count:
        picked = np.arange(len(windows))[::-1]
    return windows[picked[::-1]]


def best(candidates: Sequence[C], forecast: Callable[[C], Floats], context: Floats, actual: Floats) -> C:
    """Return the first of the candidates with the smallest error.

    Each window counts in units of its own standard deviation, so that large series do not decide alone; windows
    that stand still cannot tell candidates apart and do not count.

    Parameters
    ----------
    candidates
        One or more.
    forecast
        Gives a candidate's forecasts (N, H).
    context, actual
        (N, L) windows and the (N, H) truth after each.
    """
    spreads = context.std(axis=1)
    moving = spreads > np.finfo(float).eps * np.abs(context).max(axis=1)
    if not moving.any():
        return candidates[0]
    errors = [
        float((np.abs(forecast(each) - actual)[moving] / spreads[moving, None]).mean()) for each in candidates
    ]
    return candidates[int(np.argmin(errors))]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a library's warnings to itself: what they announce is checked here by the result."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
