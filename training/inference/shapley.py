"""Contributions of drivers to any forecaster's forecasts, by trying them in random order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from training.core.estimator import Forecaster
from training.core.windows import Floats, Ints, Windows
from training.inference.drivers import CALENDAR

Flags = npt.NDArray[np.bool_]

CHUNK_VALUES = 4_000_000
"""Numbers in the mixed windows that are forecast at a time: 32 MB."""


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Sampled contributions of F drivers.

    Parameters
    ----------
    drivers
        (F,) names.
    base
        (H, T) mean forecast of the background.
    values
        (H, T, F); `base + values.sum(-1)` is the forecast.
    errors
        (H, T, F) standard errors of the values.
    total_errors
        (T, F) standard errors of their sums over the steps.
    """

    drivers: tuple[str, ...]
    base: Floats
    values: Floats
    errors: Floats
    total_errors: Floats


def sampled_contributions(
    forecaster: Forecaster, context: Windows, background: Windows, names: dict[str, str], *, pairs: int, seed: int
) -> Sampled:
    """Explain one forecast against background windows.

    A driver is taken from the explained window or from a background window, its past and what is known ahead
    together; the time, where the forecaster looks at it, is a driver too. Drivers are switched from background to
    explained one after another in a random order and in its reverse, and each is given what the forecast moves by.
    The mean over orders and backgrounds is the Shapley value; whatever the sample, contributions sum to the
    forecast minus the background's mean forecast exactly.

    Parameters
    ----------
    forecaster
        Any, fitted.
    context
        1 window of `context` rows with what is known ahead.
    background
        M windows of the same form, M of 1 or more: what is usual.
    names
        Column -> driver, for every column.
    pairs
        Orders drawn, 2 or more, each with its reverse and one background window.
    seed
        Of orders and backgrounds.

    References
    ----------
    Castro, Gomez and Tejada (2009), Polynomial calculation of the Shapley value based on sampling; Mitchell et al.
    (2022), Sampling permutations for Shapley value estimation, for reversed orders; Lundberg and Lee (2017), A
    Unified Approach to Interpreting Model Predictions. Ours moves whole histories and futures of a driver, not
    single lags.
    """
    rng = np.random.default_rng(seed)
    drivers = tuple(dict.fromkeys((*names.values(), CALENDAR)))
    mix = _Mix(forecaster, context, background, drivers, names)
    chosen = np.resize(rng.permutation(len(background)), pairs)  # each window as often as the others, or once
    masks, owner = [], []
    orders = [rng.permutation(len(drivers)) for _ in range(pairs)]
    for pair, order in enumerate(orders):
        for path in (order, order[::-1]):
            masks.append(_path(path))
            owner.append(np.full(len(path) + 1, chosen[pair]))
    points = mix.forecast(np.concatenate(masks), np.concatenate(owner))
    points = points.reshape(pairs, 2, len(drivers) + 1, *points.shape[1:])
    values = np.zeros((pairs, *points.shape[3:], len(drivers)))
    for pair, order in enumerate(orders):
        for way, path in enumerate((order, order[::-1])):
            values[pair][..., path] += np.moveaxis(np.diff(points[pair, way], axis=0), 0, -1) / 2
    return Sampled(
        drivers=drivers,
        base=points[:, 0, 0].mean(axis=0),
        values=values.mean(axis=0),
        errors=values.std(axis=0, ddof=1) / np.sqrt(pairs),
        total_errors=values.sum(axis=1).std(axis=0, ddof=1) / np.sqrt(pairs),
    )


def _path(order: Ints) -> Flags:
    """Return (F + 1, F) which drivers are explained ones: none, then one more of `order` in each row."""
    return np.argsort(order) < np.arange(len(order) + 1)[:, None]


class _Mix:
    """Forecasts of windows whose drivers come partly from the explained window, partly from background windows."""

    def __init__(
        self,
        forecaster: Forecaster,
        context: Windows,
        background: Windows,
        drivers: Sequence[str],
        names: dict[str, str],
    ) -> None:
        self._forecaster, self._context, self._background = forecaster, context, background
        self._owner = np.array([drivers.index(names[column]) for column in context.columns])
        ahead = context.ahead.columns if context.ahead is not None else ()
        self._ahead_owner = np.array([drivers.index(names[column]) for column in ahead], dtype=np.int64)
        self._time = drivers.index(CALENDAR)
        width = len(context.columns) + len(ahead) + 2
        self._chunk = max(CHUNK_VALUES // (context.length * width), 1)

    def forecast(self, masks: Flags, owner: Ints) -> Floats:
        """Return (M, H, T) for masks (M, F) and the background window (M,) of each."""
        parts = [
            self._forecaster.predict(self._windows(masks[at : at + self._chunk], owner[at : at + self._chunk]))
            for at in range(0, len(masks), self._chunk)
        ]
        return np.concatenate(parts)

    def _windows(self, masks: Flags, owner: Ints) -> Windows:
        usual = self._background[owner]
        mixed = _mixed(self._context, usual, masks[:, self._owner], masks[:, self._time])
        if self._context.ahead is None or usual.ahead is None:
            return mixed
        ahead = _mixed(self._context.ahead, usual.ahead, masks[:, self._ahead_owner], masks[:, self._time])
        return replace(mixed, ahead=ahead)


def _mixed(explained: Windows, usual: Windows, columns: Flags, time: Flags) -> Windows:
    """Return M windows over a table of their own: columns (M, C) and times (M,) from `explained` where True."""
    count, length = len(usual), explained.length
    values = np.where(columns[:, None], explained.values, usual.values)
    times = np.where(time[:, None], explained.timestamps, usual.timestamps)
    edges = np.arange(count + 1, dtype=np.int64) * length
    return replace(
        explained,
        rows=values.reshape(count * length, -1),
        times=times.reshape(-1),
        segments=edges,
        starts=edges[:-1],
        series=explained.ids * count,
        ahead=None,
    )
