"""Ridge and logistic regression: the fewest parameters, and hard to beat where rows are few."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.parameters import real
from training.core.space import Real, Space
from training.core.table import Values
from training.core.tabular import Classifier, HeldOut, Regressor, TabularTags, Until, softmax
from training.core.windows import Floats
from training.tabular.leave_one_out import Factors, best_penalty

PENALTIES = np.logspace(-4, 4, 25)
"""Weights of the squared coefficients beside the mean squared error that are tried."""
MOST_STEPS, LEAST_STEPS = 300, 20
STEPS_WORK = 3e9
"""Steps times rows, columns and classes: some seconds on one processor."""


class LinearRegressor(Regressor):
    """Ridge regression whose penalty has the least leave-one-out error; nothing to tune.

    References
    ----------
    Hoerl and Kennard (1970), Ridge Regression; Golub, Heath and Wahba (1979), Generalized cross-validation as a
    method for choosing a good ridge parameter. Ours takes the exact leave-one-out errors, which cost nothing more.
    """

    name: ClassVar[str] = "linear"
    tags: ClassVar[TabularTags] = TabularTags(view="standard")

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:  # noqa: ARG002
        """Solve for all penalties from one eigendecomposition."""
        factors = Factors.of(inputs, target[:, None])
        weights, intercept = factors.solve(best_penalty(factors, PENALTIES))
        self._weights, self._intercept = weights[:, 0], float(intercept[0])

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, 1)."""
        values: Floats = (inputs @ self._weights + self._intercept)[:, None]
        return values

    def learned(self) -> State:
        """Return the coefficients."""
        return {"weights": self._weights, "intercept": self._intercept}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._weights, self._intercept = state["weights"], state["intercept"]


class LinearClassifier(Classifier):
    """Multinomial logistic regression.

    Parameters
    ----------
    strength
        Inverse of the weight of the squared coefficients beside the summed loss, above 0: smaller is simpler.

    References
    ----------
    Cox (1958), The regression analysis of binary sequences.
    """

    name: ClassVar[str] = "linear"
    tags: ClassVar[TabularTags] = TabularTags(view="standard")

    def __init__(self, *, strength: float = 0.3) -> None:
        self.strength = real("strength", strength, low=0, above=True)

    @classmethod
    def search_space(cls) -> Space:
        """Return the penalty."""
        return {"strength": Real(1e-3, 1e2, log=True)}

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:  # noqa: ARG002
        """Minimise with L-BFGS; a limit on its steps bounds the time, and near it nothing changes that counts."""
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            steps = int(np.clip(STEPS_WORK / (inputs.size * self.classes), LEAST_STEPS, MOST_STEPS))
            found = LogisticRegression(C=self.strength, max_iter=steps, tol=1e-4).fit(inputs, target)
        weights, intercept = found.coef_, found.intercept_
        if len(found.classes_) == 2:
            weights, intercept = np.vstack([-weights, weights]) / 2, np.hstack([-intercept, intercept]) / 2
        self._weights = np.zeros((inputs.shape[1], self.classes))
        self._intercept = np.full(self.classes, -np.log(len(target)) + float(intercept.min()))
        self._weights[:, found.classes_] = weights.T
        self._intercept[found.classes_] = intercept

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, K)."""
        return softmax(inputs @ self._weights + self._intercept)

    def learned(self) -> State:
        """Return the coefficients."""
        return {"weights": self._weights, "intercept": self._intercept}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._weights, self._intercept = state["weights"], state["intercept"]

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return a usual penalty."""
        return {"strength": 1.0}
