"""Ridge regression on windows that start from their last value: linear, closed form, hard to beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.estimator import Forecaster, Tags
from training.core.parameters import real, whole
from training.core.runner import Runner
from training.core.space import Choice, Real, Space, Whole
from training.core.windows import Floats, Windows

CHUNK_ROWS = 4096
"""Windows gathered at a time: some megabytes, which stay in the processor's cache, whatever the series' length."""


class Ridge(Forecaster):
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
        Which of the columns that are known ahead are inputs, each at all steps of the horizon; all when None.

    References
    ----------
    Hoerl and Kennard (1970), Ridge Regression: Biased Estimation for Nonorthogonal Problems; Zeng et al. (2023),
    Are Transformers Effective for Time Series Forecasting?, for linear models on last-value-subtracted windows
    (NLinear). Ours is solved in closed form, lets targets see each other, and takes covariates.
    """

    name: ClassVar[str] = "ridge"

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
        sums = _Moments()
        for chunk in _chunks(train):
            context, actual = self.split(chunk)
            last = context.tail(1).select(self.targets)
            sums.add(self._inputs(context), (actual - last).reshape(len(chunk), -1))
        self._weights, self._intercept = sums.solve(self.alpha)

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): the last value plus the forecast difference."""
        last = context.tail(1).select(self.targets)
        out = np.empty((len(context), self.horizon, len(self.targets)))
        start = 0
        for chunk in _chunks(context):
            rows = slice(start, start + len(chunk))
            difference = self._inputs(chunk) @ self._weights + self._intercept
            out[rows] = difference.reshape(len(chunk), self.horizon, -1)
            start = rows.stop
        out += last
        return out

    def _inputs(self, context: Windows) -> Floats:
        """Return (N, F): differences from the last value, the newest row's columns, the known rows ahead."""
        values = context.select(self.targets)
        parts = [(values[:, :-1] - values[:, -1:]).reshape(len(context), -1)]
        if self.covariates:
            parts.append(context.tail(1).values[:, 0])
        if self.known and context.ahead is not None:
            parts.append(context.ahead.select(self.known).reshape(len(context), -1))
        return np.hstack(parts)

    def learned(self) -> State:
        """Return coefficients and intercepts."""
        return {"weights": self._weights, "intercept": self._intercept}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._weights, self._intercept = state["weights"], state["intercept"]


def _chunks(windows: Windows) -> Iterator[Windows]:
    for start in range(0, len(windows), CHUNK_ROWS):
        yield windows[slice(start, start + CHUNK_ROWS)]


class _Moments:
    """First and second moments of inputs (N, F) and outputs (N, G), summed around the first chunk's means."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, inputs: Floats, outputs: Floats) -> None:
        """Count a chunk in."""
        joint = np.hstack([inputs, outputs])
        if not self._count:
            self._split, self._shift = inputs.shape[1], joint.mean(axis=0)
            self._sum = np.zeros(joint.shape[1])
            self._products = np.zeros((inputs.shape[1], joint.shape[1]))
        joint = joint - self._shift
        self._count += len(joint)
        self._sum += joint.sum(axis=0)
        self._products += joint[:, : self._split].T @ joint

    def solve(self, alpha: float) -> tuple[Floats, Floats]:
        """Return coefficients (F, G) and intercepts (G,) of the standardised ridge regression."""
        means = self._sum / self._count
        moments = self._products / self._count - np.outer(means[: self._split], means)
        spread = np.sqrt(np.diag(moments).clip(0))
        scale = np.where(spread > 0, spread, 1.0)
        scaled = moments[:, : self._split] / np.outer(scale, scale)
        target = moments[:, self._split :] / scale[:, None]
        weights, *_ = np.linalg.lstsq(scaled + alpha * np.eye(self._split), target)
        weights /= scale[:, None]
        means += self._shift
        return weights, means[self._split :] - means[: self._split] @ weights
