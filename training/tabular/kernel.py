"""Kernel ridge regression on landmarks: smooth functions of a few columns, in closed form."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.parameters import one_of, real, whole
from training.core.space import Choice, Real, Space
from training.core.table import Values
from training.core.tabular import (
    Classifier,
    HeldOut,
    Regressor,
    Tabular,
    TabularTags,
    Until,
    log_loss,
    one_hot,
    softmax,
)
from training.core.windows import Floats
from training.tabular.leave_one_out import Factors, best_penalty

PENALTIES = np.logspace(-8, 1, 28)
TEMPERATURES = np.logspace(-0.5, 2, 26)
"""Factors on least-squares scores that are tried before they become probabilities."""
CHUNK_ROWS = 4096
SHAPES = ("gauss", "laplace")
LEAST_SHARE = 1e-9
"""Directions of the landmarks' kernel below this share of the largest are noise of rounding."""
PAIRED = 400
"""Rows whose distances give the unit of length."""


class _Kernel(Tabular):
    """Ridge regression on the kernel's values at landmarks drawn from the rows; with all rows it is exact.

    Parameters
    ----------
    length
        How far a row's influence reaches, in medians of the distance between rows; above 0.
    shape
        `gauss` for very smooth functions, `laplace` for rough ones.
    landmarks
        The most rows that stand for all; the cost grows with their square times the rows.
    seed
        Draws the landmarks.
    """

    name: ClassVar[str] = "kernel"
    tags: ClassVar[TabularTags] = TabularTags(seeded=True, view="robust")

    def __init__(self, *, length: float = 1.0, shape: str = "gauss", landmarks: int = 800, seed: int = 0) -> None:
        self.length = real("length", length, low=0, above=True)
        self.shape = one_of("shape", shape, SHAPES)
        self.landmarks = whole("landmarks", landmarks, low=2, high=4000)
        self.seed = whole("seed", seed, low=0)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return few landmarks."""
        return {"landmarks": 40}

    @classmethod
    def search_space(cls) -> Space:
        """Return the reach and the shape."""
        return {"length": Real(0.2, 5.0, log=True), "shape": Choice(SHAPES)}

    def _learn(self, inputs: Floats, outputs: Floats) -> Floats:
        """Solve for (N, G) outputs; return the leave-one-out predictions."""
        rng = np.random.default_rng(self.seed)
        count = min(self.landmarks, len(inputs))
        self._points = inputs[np.sort(rng.choice(len(inputs), count, replace=False))]
        few = inputs[rng.choice(len(inputs), min(PAIRED, len(inputs)), replace=False)]
        usual = np.median(np.sqrt(_squares(few, few)[~np.eye(len(few), dtype=bool)]))
        self._reach = self.length * float(usual or 1.0)
        values, vectors = np.linalg.eigh(self._values(self._points))
        kept = values > values[-1] * LEAST_SHARE
        whiten = vectors[:, kept] / np.sqrt(values[kept])
        factors = Factors.of(self._values(inputs) @ whiten, outputs)
        penalty = best_penalty(factors, PENALTIES)
        weights, self._intercept = factors.solve(penalty)
        self._weights = whiten @ weights
        left_out: Floats = outputs - factors.left_out(penalty)
        return left_out

    def _values(self, inputs: Floats) -> Floats:
        """Return (N, L) the kernel between rows and landmarks."""
        squares = _squares(inputs, self._points) / self._reach**2
        values: Floats = np.exp(-squares / 2) if self.shape == "gauss" else np.exp(-np.sqrt(squares))
        return values

    def _scores(self, inputs: Floats) -> Floats:
        chunks = [inputs[at : at + CHUNK_ROWS] for at in range(0, len(inputs), CHUNK_ROWS)]
        return np.vstack([self._values(chunk) @ self._weights + self._intercept for chunk in chunks])

    def learned(self) -> State:
        """Return the landmarks and their weights."""
        return {
            "points": self._points,
            "reach": self._reach,
            "weights": self._weights,
            "intercept": self._intercept,
        }

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._points, self._reach = state["points"], state["reach"]
        self._weights, self._intercept = state["weights"], state["intercept"]


class KernelRegressor(_Kernel, Regressor):
    """Kernel ridge regression.

    References
    ----------
    Saunders, Gammerman and Vovk (1998), Ridge Regression Learning Algorithm in Dual Variables; Williams and Seeger
    (2001), Using the Nyström Method to Speed Up Kernel Machines. Ours chooses the penalty by exact leave-one-out
    errors over the landmarks' directions.
    """

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:  # noqa: ARG002
        """Solve in closed form."""
        self._learn(inputs, target[:, None])

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, 1)."""
        return self._scores(inputs)


class KernelClassifier(_Kernel, Classifier):
    """Least squares on the classes' indicators, then one temperature that makes probabilities of scores.

    References
    ----------
    Rifkin, Yeo and Poggio (2003), Regularized Least-Squares Classification; Guo et al. (2017), On Calibration of
    Modern Neural Networks, for the temperature. Ours fits it on leave-one-out scores.
    """

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:  # noqa: ARG002
        """Solve in closed form, then try temperatures."""
        scores = self._learn(inputs, one_hot(target, self.classes))
        losses = [log_loss(target, softmax(scores * each)) for each in TEMPERATURES]
        self._temperature = float(TEMPERATURES[int(np.argmin(losses))])

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, K)."""
        return softmax(self._scores(inputs) * self._temperature)

    def learned(self) -> State:
        """Return the landmarks, their weights, the temperature."""
        return super().learned() | {"temperature": self._temperature}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        super().relearn(state)
        self._temperature = state["temperature"]


def _squares(left: Floats, right: Floats) -> Floats:
    """Return (N, M) squared distances."""
    squares = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1) - 2 * left @ right.T
    distances: Floats = squares.clip(0)
    return distances
