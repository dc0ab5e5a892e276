"""Whether intervals hold: how much of the truth they cover, how wide they are, by step and over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cluster.errors import ConfigError, InsufficientHistoryError
from training.core.windows import Floats, Times
from training.evaluation.backtest import Backtest


@dataclass(frozen=True, kw_only=True)
class StepCoverage:
    """An interval's figures at each step and target.

    Parameters
    ----------
    share
        What the interval promises to cover, in (0, 1).
    targets
        (T,) names.
    coverage
        (H, T) share of the truth inside.
    width
        (H, T) mean, in the target's unit.
    score
        (H, T) mean interval score, in the target's unit: see `interval_score`.
    """

    share: float
    targets: tuple[str, ...]
    coverage: Floats
    width: Floats
    score: Floats

    @classmethod
    def of(cls, test: Backtest, share: float) -> StepCoverage:
        """Measure a backtest; raise ConfigError where it has not the interval's levels."""
        low, high = interval(test, share)
        inside = (test.actual >= low) & (test.actual <= high)
        return cls(
            share=share,
            targets=test.targets,
            coverage=inside.mean(axis=0),
            width=(high - low).mean(axis=0),
            score=interval_score(test.actual, low, high, share).mean(axis=0),
        )


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How coverage came back after a change.

    Parameters
    ----------
    steps
        Rows between the change and the first window of origins whose coverage is in the band; None for never.
    held
        Share of all windows after the change that are in the band.
    coverage
        Of all forecasts after the change.
    """

    steps: int | None
    held: float
    coverage: float


def interval(test: Backtest, share: float) -> tuple[Floats, Floats]:
    """Return the ends (N, H, T) of the central interval that should cover `share` of the truth.

    Raises
    ------
    ConfigError
        The backtest has no such levels.
    """
    ends = ((1 - share) / 2, (1 + share) / 2)
    places = [int(np.abs(np.subtract(test.levels, end)).argmin()) for end in ends]
    if any(abs(test.levels[place] - end) > 1e-9 for place, end in zip(places, ends, strict=True)):
        raise ConfigError(
            f"an interval of {share:.0%} needs the levels {ends[0]:g} and {ends[1]:g}: got {test.levels}; "
            "give them to backtest(levels=...)",
            share=share,
        )
    return test.quantiles[..., places[0]], test.quantiles[..., places[1]]


def interval_score(actual: Floats, low: Floats, high: Floats, share: float) -> Floats:
    """Return each interval's score: its width, and 2 / (1 - share) times what it missed the truth by.

    Smaller is better, and the true quantiles are the best.

    References
    ----------
    Winkler (1972), A decision-theoretic approach to interval estimation; Gneiting and Raftery (2007), Strictly
    proper scoring rules, prediction, and estimation, section 6.2.
    """
    missed = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    score: Floats = high - low + 2 / (1 - share) * missed
    return score


def rolling_coverage(test: Backtest, share: float, *, origins: int) -> tuple[Times, Floats]:
    """Return (W,) times and (W,) shares of the truth inside the intervals of `origins` consecutive origins.

    The time is the window's first origin. Steps, targets, and series with the same origin count alike.

    Raises
    ------
    InsufficientHistoryError
        There are fewer origins.
    """
    times, inside = _inside_by_origin(test, share)
    if len(times) < origins:
        raise InsufficientHistoryError(
            f"rolling coverage: got {len(times)} origins, expected {origins} or more; test on a longer part or "
            "roll over fewer",
            got=len(times),
            expected=origins,
        )
    total = np.concatenate([[0.0], np.cumsum(inside)])
    return times[: len(times) - origins + 1], (total[origins:] - total[:-origins]) / origins


def recovery(
    test: Backtest, share: float, *, since: np.datetime64, origins: int, band: tuple[float, float]
) -> Recovery:
    """Say when coverage over `origins` consecutive origins is back in the band after a change.

    Parameters
    ----------
    since
        Time of the first changed row; forecasts count whose every step lies at or after it.
    band
        Least and largest coverage, both allowed.
    """
    first = test.timestamps.min(axis=1)
    after = test[np.flatnonzero(first >= since)]
    _, rolled = rolling_coverage(after, share, origins=origins)
    fine = (rolled >= band[0]) & (rolled <= band[1])
    low, high = interval(after, share)
    covered = float(((after.actual >= low) & (after.actual <= high)).mean())
    steps = int(fine.argmax()) if fine.any() else None
    return Recovery(steps=steps, held=float(fine.mean()), coverage=covered)


def _inside_by_origin(test: Backtest, share: float) -> tuple[Times, Floats]:
    low, high = interval(test, share)
    inside = ((test.actual >= low) & (test.actual <= high)).mean(axis=(1, 2))
    times, place = np.unique(test.origins, return_inverse=True)
    return times, np.bincount(place, weights=inside) / np.bincount(place)
