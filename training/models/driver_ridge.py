"""Regression on drivers that are known ahead, and on what it was off by: for targets that follow from causes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from training.core.attribution import Attribution, Explains
from training.core.component import State
from training.core.estimator import Forecaster, Tags
from training.core.parameters import real, whole
from training.core.runner import Runner
from training.core.space import Real, Space, Whole
from training.core.windows import Floats, Windows
from training.models.mean_season import covered_rows, series_of_rows
from training.models.normal_equations import NormalEquations

CHUNK_ROWS = 65_536
"""Rows of the regression gathered at a time: some tens of megabytes with fifty columns."""
CHUNK_WINDOWS = 4096
"""Windows gathered at a time."""


class DriverRidge(Forecaster, Explains):
    """One linear map from drivers to targets for all series and steps, and a second one of its own errors.

    A forecast is what the known columns of its own row say, plus what the last `window` errors of that regression
    say of the next ones: an error that lasts, such as the level of a site, is carried on as far as it lasted in
    training. Slopes are found within series, so that a site's level is not taken for what its drivers do. Where
    `ridge` gives every step the known columns of all steps, here one row decides, and all steps learn together: far
    fewer coefficients. Bends and products are for features to add, such as `degree_days`.

    Parameters
    ----------
    window
        Errors looked back on, 2 or more.
    alpha
        Weight of the penalty on squared coefficients of drivers, beside the mean squared error; 0 or more.
    error_alpha
        The same for the coefficients of errors. Large forgets what the regression was off by.
    ahead
        Which of the columns that are known ahead are drivers; all when None.

    References
    ----------
    Pankratz (1991), Forecasting with Dynamic Regression Models; Cochrane and Orcutt (1949), Application of least
    squares regression to relationships containing auto-correlated error terms. Ours takes both steps once, in
    closed form, and forecasts errors directly at each step.
    """

    name: ClassVar[str] = "driver_ridge"
    together: ClassVar[int] = 4
    tags: ClassVar[Tags] = Tags(known_future=True)

    def __init__(
        self,
        *,
        window: int = 28,
        alpha: float = 1e-6,
        error_alpha: float = 1e-3,
        ahead: Sequence[str] | None = None,
    ) -> None:
        self.window = whole("window", window, low=2)
        self.alpha = real("alpha", alpha, low=0)
        self.error_alpha = real("error_alpha", error_alpha, low=0)
        self.ahead = None if ahead is None else tuple(ahead)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return a window of 24."""
        return {"window": 24}

    @classmethod
    def search_space(cls) -> Space:
        """Return the window and both penalties."""
        return {
            "window": Whole(4, 336, log=True),
            "alpha": Real(1e-6, 1.0, log=True),
            "error_alpha": Real(1e-5, 10.0, log=True),
        }

    @property
    def context(self) -> int:
        """The window."""
        return self.window

    def fit_windows(
        self,
        train: Windows,
        validation: Windows | None,  # noqa: ARG002 - closed form: nothing to stop early,
        runner: Runner | None,  # noqa: ARG002 - and no loop to run
    ) -> None:
        """Regress targets on drivers, row by row, then the errors ahead on the errors before."""
        self._regress(train)
        lasting = [NormalEquations() for _ in self.targets]
        for _, chunk in train.chunks(CHUNK_WINDOWS):
            context, actual = self.split(chunk)
            off = self._off(context)
            later = actual - self._driven(self._ahead_of(context))
            for each, before, after in zip(lasting, _by_target(off), _by_target(later), strict=True):
                each.add(before, after)
        solved = [each.solve(self.error_alpha) for each in lasting]
        self._lasting = np.stack([weights for weights, _ in solved])
        self._bias = np.stack([intercepts for _, intercepts in solved], axis=1)

    def _regress(self, train: Windows) -> None:
        """Find slopes by what moves together within each series: its level is nobody's driver."""
        covered, sums = covered_rows(train), NormalEquations()
        own, at = train.positions(self.targets), train.positions(self.known)
        owner, total = series_of_rows(train)[covered], np.zeros(len(train.columns))
        for mine in np.split(covered, np.flatnonzero(np.diff(owner)) + 1):
            mean = train.rows[mine].mean(axis=0)
            total += len(mine) * mean
            for start in range(0, len(mine), CHUNK_ROWS):
                rows = train.rows[mine[start : start + CHUNK_ROWS]] - mean
                sums.add(rows[:, at], rows[:, own])
        usual = total / len(covered)
        self._usual, self._usual_own = usual[at], usual[own]
        self._slopes, _ = sums.solve(self.alpha)
        self._constant = self._usual_own - self._usual @ self._slopes

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): what the drivers say, plus the forecast error of the regression."""
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for here, chunk in context.chunks(CHUNK_WINDOWS):
            out[here] = self._driven(self._ahead_of(chunk)) + self._carried(self._off(chunk)) + self._bias
        return out

    def _driven(self, drivers: Floats) -> Floats:
        """Return (N, R, T) of known columns (N, R, K)."""
        driven: Floats = drivers @ self._slopes + self._constant
        return driven

    def _off(self, context: Windows) -> Floats:
        """Return (N, L, T): the targets less what the drivers say of them."""
        return context.select(self.targets) - self._driven(context.select(self.known))

    def _carried(self, off: Floats) -> Floats:
        """Return (N, H, T): what values (N, L, T) mean for the next H steps."""
        return np.stack([each @ maps for each, maps in zip(_by_target(off), self._lasting, strict=True)], axis=2)

    def _ahead_of(self, context: Windows) -> Floats:
        """Return (N, H, K)."""
        ahead = context.looking_ahead(self.horizon, self.known).ahead
        if ahead is None:
            raise ValueError("looking_ahead made no rows ahead")
        return ahead.select(self.known)

    def contributions(self, context: Windows) -> Attribution:
        """Explain forecasts by what each column adds where it differs from its mean in training; exact.

        A driver counts at its own step, and against what it made of the window, which is no error.
        """
        point = self.predict(context)  # says what is wrong with the windows
        context = self.ready(context)
        values = np.zeros((*point.shape, len(self.targets) + len(self.known)))
        own = self._carried(context.select(self.targets) - self._usual_own)
        each = np.arange(len(self.targets))
        values[..., each, each] = own
        past = context.select(self.known) - self._usual
        ahead = self._ahead_of(context) - self._usual
        for k in range(len(self.known)):
            slopes = self._slopes[k]
            values[..., len(self.targets) + k] = ahead[..., k, None] * slopes - self._carried(
                past[..., k, None] * slopes
            )
        base = np.broadcast_to(self._base(), point.shape)
        return Attribution(columns=(*self.targets, *self.known), base=base, values=values)

    def _base(self) -> Floats:
        """Return (H, T): the forecast where every column is at its mean."""
        driven = self._usual @ self._slopes + self._constant
        off = np.broadcast_to(self._usual_own - driven, (1, self.window, len(self.targets)))
        base: Floats = driven + self._carried(off)[0] + self._bias
        return base

    def learned(self) -> State:
        """Return both maps, and the training means that contributions are told against."""
        return {
            "slopes": self._slopes,
            "constant": self._constant,
            "lasting": self._lasting,
            "bias": self._bias,
            "usual": self._usual,
            "usual_own": self._usual_own,
        }

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._slopes, self._constant = state["slopes"], state["constant"]
        self._lasting, self._bias = state["lasting"], state["bias"]
        self._usual, self._usual_own = state["usual"], state["usual_own"]


def _by_target(values: Floats) -> Floats:
    """Return (T, N, R) of (N, R, T)."""
    return np.moveaxis(values, 2, 0)
