"""What trees look at: one row an origin, or one a pair of origin and step, and where each input came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.core.windows import Floats, Windows

Singles = npt.NDArray[np.float32]

NEWEST = 3
"""Values before the last that are shown one by one; older ones are shown as means."""
MEANS = (3, 6)
"""Rows of the shortest means; the others are over seasons."""
SEASONS_BACK = 4
"""Same steps of earlier seasons that are averaged, where the window holds as many."""
NEAR = (-3, -1, 1, 3)
"""Steps beside the target time to which the known columns' differences are shown."""
DAMPING = 0.1
"""Ridge penalty of a window's own regression, on known columns in units of their spread. On the gas turbine's
validation part .05 suits NOX, .3 CO, by a few percent each."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns play which part.

    Parameters
    ----------
    targets
        T, forecast.
    known
        K, known ahead.
    newest
        M others, of which the newest value is shown.
    """

    targets: tuple[str, ...]
    known: tuple[str, ...]
    newest: tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Each column once, in the order of its first part."""
        return tuple(dict.fromkeys((*self.targets, *self.known, *self.newest)))


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Inputs of N origins.

    Parameters
    ----------
    values
        (N, F) for all steps together, or (N, H, F).
    sources
        (F,) the column that each input was made from.
    own
        (N, H, T) the part of the trees' starting point that comes from the target's own history.
    driven
        (N, H, T, K) the parts that come from known columns. The trees add to `own` and `driven` together.
    """

    values: Singles
    sources: tuple[str, ...]
    own: Floats
    driven: Floats

    @property
    def anchor(self) -> Floats:
        """(N, H, T) what the trees' answer is added to."""
        total: Floats = self.own + self.driven.sum(axis=-1)
        return total


@dataclass(frozen=True, kw_only=True)
class WholeHorizon:
    """One row an origin: last values as differences from the last, the newest row, all that is known ahead."""

    columns: Columns

    def of(self, past: Floats, known: Floats, newest: Floats) -> Inputs:
        """Return inputs (N, F) of targets (N, L, T), known columns (N, L + H, K), newest values (N, M)."""
        columns, (count, length, targets) = self.columns, past.shape
        steps = known.shape[1] - length
        lags = (past[:, :-1] - past[:, -1:]).reshape(count, (length - 1) * targets)
        ahead = known[:, length:].reshape(count, steps * known.shape[2])
        return Inputs(
            values=np.concatenate([lags, newest, ahead], axis=1, dtype=np.float32, casting="same_kind"),
            sources=columns.targets * (length - 1) + columns.newest + columns.known * steps,
            own=np.repeat(past[:, -1:], steps, axis=1),
            driven=np.zeros((count, steps, targets, known.shape[2])),
        )


@dataclass(frozen=True, kw_only=True)
class EachStep:
    """One row an origin and step, so that one model serves all steps.

    Shown are the step's number; known columns at the target time, and their differences from the newest row, from
    the same step of the last season, from the mean of the season that ends there (a building is as warm as the last
    day was) and from near steps; of each target the same step of last seasons, the newest
    values and means; the newest value of other columns. All but levels are differences, which a drift of the level
    leaves as they are.

    With a `regression`, the trees start from what it says, not from the last value, and are shown its parts and
    what it left over so far.

    Parameters
    ----------
    seasons
        Rows in a season, none longer than the window.
    levels
        Whether the last values and the newest values of other columns are shown as they are.
    regression
        Of the targets on the known columns; None starts from the last value.
    """

    columns: Columns
    seasons: tuple[int, ...]
    levels: bool
    regression: Regression | None

    def of(self, past: Floats, known: Floats, newest: Floats) -> Inputs:
        """Return inputs (N, H, F) of targets (N, L, T), known columns (N, L + H, K), newest values (N, M)."""
        (count, length, targets), steps = past.shape, known.shape[1] - past.shape[1]
        sheet = _Sheet(count, length, steps, self.seasons)
        own = np.repeat(past[:, -1:], steps, axis=1)
        driven = np.zeros((count, steps, targets, known.shape[2]))
        if self.regression is not None:
            own, driven = self._regress(sheet, past, known, self.regression)
        for i, name in enumerate(self.columns.targets):
            sheet.show_history(name, past[:, :, i])
            if self.levels:
                sheet.show(name, past[:, -1:, i])
        for i, name in enumerate(self.columns.known):
            sheet.show_known(name, known[:, :, i])
        for i, name in enumerate(self.columns.newest):
            sheet.show(name, newest[:, i : i + 1])
        sheet.show(self.columns.targets[0], np.arange(1.0, steps + 1)[None])
        return Inputs(values=sheet.values(), sources=tuple(sheet.sources), own=own, driven=driven)

    def _regress(self, sheet: _Sheet, past: Floats, known: Floats, regression: Regression) -> tuple[Floats, Floats]:
        """Show what the windows' own regressions say; return their constant and their parts over the horizon."""
        length = past.shape[1]
        level, parts = regression.of(past, known)
        left = past - level - parts[:, :length].sum(axis=-1)
        for i, target in enumerate(self.columns.targets):
            sheet.show_history(target, left[:, :, i])
            sheet.show(target, left[:, -1:, i])
            for k, name in enumerate(self.columns.known):
                sheet.show(name, parts[:, length:, i, k] - parts[:, length - 1 : length, i, k])
        return np.repeat(level, known.shape[1] - length, axis=1), parts[:, length:]


class _Sheet:
    """Inputs as they are put down, each with its source.

    Parameters
    ----------
    count, length, steps
        N origins, L rows before them, H steps ahead.
    seasons
        Rows in a season.
    """

    def __init__(self, count: int, length: int, steps: int, seasons: Sequence[int]) -> None:
        self.sources: list[str] = []
        self._shape, self._length, self._seasons = (count, steps), length, seasons
        self._shown: list[Singles] = []

    def show(self, source: str, values: Floats) -> None:
        """Put down values (N, H), or what can be broadcast to it."""
        self.sources.append(source)
        self._shown.append(np.broadcast_to(values, self._shape).astype(np.float32))

    def show_history(self, source: str, past: Floats) -> None:
        """Put down what values (N, L) were, as differences from the last."""
        last = past[:, -1:]
        for back in range(2, min(NEWEST, self._length - 1) + 2):
            self.show(source, past[:, -back, None] - last)
        for rows in sorted({*MEANS, *self._seasons}):
            self.show(source, past[:, -rows:].mean(axis=1, keepdims=True) - last)
        for season in self._seasons:
            same = past[:, self._same_step(season)]
            self.show(source, same[:, 0] - last)
            if same.shape[1] > 1:
                self.show(source, same[:, 1] - last)
                self.show(source, same.mean(axis=1) - last)

    def show_known(self, source: str, known: Floats) -> None:
        """Put down known values (N, L + H) at the target time, and how they differ from those at other times."""
        ahead = known[:, self._length :]
        self.show(source, ahead)
        self.show(source, ahead - known[:, self._length - 1 : self._length])
        for season in self._seasons[:1]:
            self.show(source, ahead - known[:, self._same_step(season)[0]])
            self.show(source, ahead - _trailing_mean(known, season)[:, -self._shape[1] :])
        steps = np.arange(self._length, known.shape[1])
        for near in NEAR:
            self.show(source, ahead - known[:, np.clip(steps + near, 0, known.shape[1] - 1)])

    def _same_step(self, season: int) -> npt.NDArray[np.int64]:
        """Return (back, H) the rows of the window at each step's place in the last seasons, newest first."""
        ahead = np.arange(1, self._shape[1] + 1)
        newest = self._length - 1 + ahead - season * -(-ahead // season)
        back = np.arange(min(SEASONS_BACK, self._length // season))[:, None]
        rows: npt.NDArray[np.int64] = newest - season * back
        return rows

    def values(self) -> Singles:
        """Return (N, H, F)."""
        return np.stack(self._shown, axis=-1)


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Ridge regressions of targets on known columns, each window's by itself, newer rows weighing more.

    It follows a plant whose ways drift over the years, as trees grown on those years cannot.

    Parameters
    ----------
    spread
        (K,) standard deviations of the known columns.
    half_life
        Rows after which a row weighs half.
    products
        Whether squares and products of the columns take part.
    """

    spread: Floats
    half_life: float
    products: bool

    def of(self, past: Floats, known: Floats) -> tuple[Floats, Floats]:
        """Regress targets (N, L, T) on known columns (N, L + H, K).

        Returns
        -------
        tuple[Floats, Floats]
            The weighted means (N, 1, T), and each column's part (N, L + H, T, K); a forecast is the sum. Two
            columns share their product evenly, as Shapley would.
        """
        count, length, targets = past.shape
        weights = 0.5 ** (np.arange(length)[::-1] / self.half_life)
        weights = (weights / weights.sum())[:, None]
        terms, shares = self._terms(_centred(known, weights) / self.spread)
        terms = _centred(terms, weights)
        level = (past * weights).sum(axis=1, keepdims=True)
        turned = (terms[:, :length] * weights).transpose(0, 2, 1)
        moments = turned @ terms[:, :length] + DAMPING * np.eye(terms.shape[2])
        slopes = np.linalg.solve(moments, turned @ (past - level))
        shared = slopes[:, :, :, None] * shares[:, None, :]  # (N, P, T, K)
        parts = terms @ shared.reshape(count, len(shares), targets * shares.shape[1])
        return level, parts.reshape(count, known.shape[1], targets, shares.shape[1])

    def _terms(self, columns: Floats) -> tuple[Floats, Floats]:
        """Return the regressors (N, R, P) made of columns (N, R, K), and whose they are (P, K)."""
        own = np.eye(columns.shape[2])
        if not self.products:
            return columns, own
        left, right = np.triu_indices(columns.shape[2])
        terms = np.concatenate([columns, columns[:, :, left] * columns[:, :, right]], axis=2)
        return terms, np.concatenate([own, (own[left] + own[right]) / 2])


def _centred(values: Floats, weights: Floats) -> Floats:
    """Return values (N, R, P) less their weighted means over the first rows (L, 1)."""
    centred: Floats = values - (values[:, : len(weights)] * weights).sum(axis=1, keepdims=True)
    return centred


def _trailing_mean(values: Floats, rows: int) -> Floats:
    """Return (N, R - rows + 1) the means of the rows up to each one of values (N, R)."""
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    means: Floats = (sums[:, rows:] - sums[:, :-rows]) / rows
    return means


def parts_of(context: Windows, columns: Columns) -> tuple[Floats, Floats, Floats]:
    """Return targets (N, L, T), known columns (N, L + H, K), newest values (N, M) of windows that look ahead."""
    past = context.select(columns.targets)
    newest = context.tail(1).select(columns.newest)[:, 0]
    if context.ahead is None:
        raise ValueError("the windows carry nothing ahead: Forecaster.predict and Windows.split see to it")
    known = np.concatenate([context.select(columns.known), context.ahead.select(columns.known)], axis=1)
    return past, known, newest
