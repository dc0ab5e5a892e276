"""Ridge regression on windows that start from their last value: linear, closed form, hard to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from training.core.attribution import Attribution, Explains
from training.core.component import State
from training.core.estimator import Forecaster, Tags
from training.core.parameters import real, whole
from training.core.runner import Runner
from training.core.space import Choice, Real, Space, Whole
from training.core.windows import Floats, Windows
from training.models.normal_equations import NormalEquations

CHUNK_ROWS = 4096
"""Windows gathered at a time: some megabytes, which stay in the processor's cache, whatever the series' length."""


class Ridge(Forecaster, Explains):
    """Linear in the last `window` values of all targets, and in the newest row's other columns where asked.

    The last value is subtracted from inputs and outputs, so that the level of a series needs no learning and a
    drift of the level does no harm. Inputs are standardised, which makes `alpha` free of units and of the number
    of windows. The normal equations are summed over chunks of windows: memory does not grow with the series.

    Parameters
    ----------
    window
        Rows looked back on, 2 or more.
    alpha
        Weight of the penalty on squared coefficients, beside the mean squared error; 0 or more.
    covariates
        Whether the newest row's columns, targets included, are inputs too.
    ahead
        Which of the columns that are known ahead are inputs, each at the newest row and at all steps of the
        horizon; all when None.

    References
    ----------
    Hoerl and Kennard (1970), Ridge Regression: Biased Estimation for Nonorthogonal Problems; Zeng et al. (2023),
    Are Transformers Effective for Time Series Forecasting?, for linear models on last-value-subtracted windows
    (NLinear). Ours is solved in closed form, lets targets see each other, and takes covariates.
    """

    name: ClassVar[str] = "ridge"

    together: ClassVar[int] = 4
    tags: ClassVar[Tags] = Tags(known_future=True, past_covariates=True, static=True)

    def __init__(
        self,
        *,
        window: int = 168,
        alpha: float = 1e-3,
        covariates: bool = False,
        ahead: Sequence[str] | None = None,
    ) -> None:
        self.window = whole("window", window, low=2)
        self.alpha = real("alpha", alpha, low=0)
        self.covariates = covariates
        self.ahead = None if ahead is None else tuple(ahead)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return a window of 24 that looks at every column."""
        return {"window": 24, "covariates": True}

    @classmethod
    def search_space(cls) -> Space:
        """Return the window, the penalty, and whether covariates help."""
        return {
            "window": Whole(8, 512, log=True),
            "alpha": Real(1e-6, 10.0, log=True),
            "covariates": Choice((False, True)),
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
        """Solve the normal equations of the training windows."""
        sums, lasts = NormalEquations(), np.zeros(len(self.targets))
        for _, chunk in train.chunks(CHUNK_ROWS):
            context, actual = self.split(chunk)
            last = context.tail(1).select(self.targets)
            sums.add(self._inputs(context), (actual - last).reshape(len(chunk), -1))
            lasts += last.sum(axis=(0, 1))
        self._weights, self._intercept = sums.solve(self.alpha)
        self._usual, self._usual_last = sums.means[0], lasts / len(train)

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): the last value plus the forecast difference."""
        last = context.tail(1).select(self.targets)
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for rows, chunk in context.chunks(CHUNK_ROWS):
            difference = self._inputs(chunk) @ self._weights + self._intercept
            out[rows] = difference.reshape(len(chunk), self.horizon, -1)
        out += last
        return out

    def _inputs(self, context: Windows) -> Floats:
        """Return (N, F): differences from the last value, the newest row's columns, the known rows ahead."""
        values = context.select(self.targets)
        parts = [(values[:, :-1] - values[:, -1:]).reshape(len(context), -1)]
        newest = self._newest()
        if newest:
            parts.append(context.tail(1).select(newest)[:, 0])
        if self.known and context.ahead is not None:
            parts.append(context.ahead.select(self.known).reshape(len(context), -1))
        return np.hstack(parts)

    def contributions(self, context: Windows) -> Attribution:
        """Explain forecasts by what each column adds where it differs from its mean in training; exact."""
        point = self.predict(context)  # says what is wrong with the windows
        context = context.tail(self.context).looking_ahead(self.horizon, self.known)
        off, sources = self._inputs(context) - self._usual, np.array(self._sources())
        columns = tuple(dict.fromkeys(self._sources()))
        values = np.empty((*point.shape, len(columns)))
        for at, column in enumerate(columns):
            of = sources == column
            values[..., at] = (off[:, of] @ self._weights[of]).reshape(point.shape)
        last = context.tail(1).select(self.targets)
        for target, name in enumerate(self.targets):
            values[..., target, columns.index(name)] += last[..., target] - self._usual_last[target]
        usual = (self._usual @ self._weights + self._intercept).reshape(point.shape[1:]) + self._usual_last
        return Attribution(columns=columns, base=np.broadcast_to(usual, point.shape), values=values)

    def _newest(self) -> tuple[str, ...]:
        """Return the columns whose newest value is an input: what is known ahead counts from where it stands."""
        return self.columns if self.covariates else tuple(name for name in self.known if name in self.columns)

    def _sources(self) -> tuple[str, ...]:
        """Return (F,) the column that each input comes from, in the order of `_inputs`."""
        return self.targets * (self.window - 1) + self._newest() + self.known * self.horizon

    def learned(self) -> State:
        """Return coefficients, intercepts, and the training means that contributions are told against."""
        means = {"usual": self._usual, "usual_last": self._usual_last}
        return {"weights": self._weights, "intercept": self._intercept} | means

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._weights, self._intercept = state["weights"], state["intercept"]
        self._usual, self._usual_last = state["usual"], state["usual_last"]
