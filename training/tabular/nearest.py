"""Nearest neighbours: what happened on the most similar rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.parameters import real, whole
from training.core.space import Real, Space, Whole
from training.core.table import Values
from training.core.tabular import Classifier, HeldOut, Regressor, Tabular, TabularTags, Until, one_hot, priors
from training.core.windows import Floats

CLOSEST = 1e-6
"""Added to distances, in units of standardised columns, so that an equal row's weight is finite."""


class _Nearest(Tabular):
    """A weighted mean over the nearest rows.

    Parameters
    ----------
    neighbours
        How many rows, 1 or more; all where there are fewer.
    power
        Of the inverse distance that weighs them; 0 weighs all the same.
    """

    name: ClassVar[str] = "nearest"
    tags: ClassVar[TabularTags] = TabularTags(view="robust")

    def __init__(self, *, neighbours: int = 10, power: float = 1.0) -> None:
        self.neighbours = whole("neighbours", neighbours, low=1)
        self.power = real("power", power, low=0, high=4)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return few neighbours."""
        return {"neighbours": 5}

    @classmethod
    def search_space(cls) -> Space:
        """Return how many, and how much nearer ones count more."""
        return {"neighbours": Whole(2, 50, log=True), "power": Real(0.0, 3.0)}

    def _keep(self, inputs: Floats, outputs: Floats) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._rows, self._known = np.ascontiguousarray(inputs), outputs
        self._search = NearestNeighbors(n_neighbors=min(self.neighbours, len(inputs))).fit(inputs)

    def _mean(self, inputs: Floats) -> tuple[Floats, Floats]:
        """Return (N, G) weighted sums, and (N,) the sums of the weights, the largest weight being 1."""
        distances, places = self._search.kneighbors(inputs)
        near = distances + CLOSEST
        weights = (near[:, :1] / near) ** self.power
        return np.einsum("nk,nkg->ng", weights, self._known[places]), weights.sum(axis=1)

    def learned(self) -> State:
        """Return the rows."""
        return {"rows": self._rows, "known": self._known}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._keep(state["rows"], state["known"])


class NearestRegressor(_Nearest, Regressor):
    """The weighted mean of the nearest rows' targets.

    References
    ----------
    Fix and Hodges (1951), Discriminatory Analysis: Nonparametric Discrimination; Dudani (1976), The
    distance-weighted k-nearest-neighbor rule.
    """

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:  # noqa: ARG002
        """Keep the rows."""
        self._keep(inputs, target[:, None])

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, 1)."""
        sums, weights = self._mean(inputs)
        means: Floats = sums / weights[:, None]
        return means


class NearestClassifier(_Nearest, Classifier):
    """The weighted shares of the classes among the nearest rows, one row's weight given to the usual shares."""

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:  # noqa: ARG002
        """Keep the rows."""
        self._prior = priors(target, self.classes)
        self._keep(inputs, one_hot(target, self.classes))

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, K)."""
        sums, weights = self._mean(inputs)
        shares: Floats = (sums + self._prior) / (weights + 1.0)[:, None]
        return shares

    def learned(self) -> State:
        """Return the rows and the usual shares."""
        return super().learned() | {"prior": self._prior}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        super().relearn(state)
        self._prior = state["prior"]
