"""Random forests and extremely randomised trees, kept as arrays."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from training.core.component import State
from training.core.parameters import flag, real, whole
from training.core.space import Choice, Real, Space, Whole
from training.core.table import Values
from training.core.tabular import Classifier, HeldOut, Regressor, Tabular, TabularTags, Until, priors
from training.core.windows import Floats

GROWN_AT_A_TIME = 10
"""Trees between two looks at whether to end."""
ROWS_AT_A_TIME = 2048
PRIOR_ROWS = 1.0
"""Rows of the usual shares that are mixed into a forest's probabilities, lest one that no tree gives be 0."""


class _Forest(Tabular):
    """The mean of deep trees that each see the rows differently.

    Parameters
    ----------
    trees
        How many, 1 or more.
    random_cuts
        Each column's cut is drawn at random and all rows are seen (extremely randomised trees); otherwise the best
        cut is taken and each tree sees a bootstrap sample (random forest).
    column_share
        Share of the columns looked at for each cut, above 0, at most 1; None takes the root of their number in a
        classification and all in a regression with random cuts, a third without.
    least_rows
        Fewest rows in a leaf.
    seed
        Of all draws.
    """

    name: ClassVar[str] = "forest"
    tags: ClassVar[TabularTags] = TabularTags(seeded=True, view="standard")

    def __init__(
        self,
        *,
        trees: int = 150,
        random_cuts: bool = True,
        column_share: float | None = None,
        least_rows: int = 1,
        seed: int = 0,
    ) -> None:
        self.trees = whole("trees", trees, low=1, high=2000)
        self.random_cuts = flag("random_cuts", random_cuts)
        self.column_share = (
            None if column_share is None else real("column_share", column_share, low=0, high=1, above=True)
        )
        self.least_rows = whole("least_rows", least_rows, low=1)
        self.seed = whole("seed", seed, low=0)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return few trees."""
        return {"trees": 20}

    @classmethod
    def search_space(cls) -> Space:
        """Return how random the cuts are, how many columns are seen, and the size of the leaves."""
        return {
            "random_cuts": Choice((True, False)),
            "column_share": Real(0.1, 1.0),
            "least_rows": Whole(1, 20, log=True),
        }

    def _grow(self, kind: str, inputs: Floats, target: Values, until: Until) -> Any:
        """Return a grown forest of scikit-learn, with fewer trees where time is up."""
        from sklearn import ensemble

        made = getattr(ensemble, f"{'ExtraTrees' if self.random_cuts else 'RandomForest'}{kind}")
        forest = made(
            n_estimators=min(GROWN_AT_A_TIME, self.trees),
            max_features=self._columns(kind),
            min_samples_leaf=self.least_rows,
            random_state=self.seed,
            warm_start=True,
        ).fit(inputs, target)
        while len(forest.estimators_) < self.trees and not until():
            forest.n_estimators = min(len(forest.estimators_) + GROWN_AT_A_TIME, self.trees)
            forest.fit(inputs, target)
        return forest

    def _columns(self, kind: str) -> Any:
        if self.column_share is not None:
            return self.column_share
        if kind == "Classifier":
            return "sqrt"
        return 1.0 if self.random_cuts else 1 / 3

    def _plant(self, trees: list[Any], leaves: list[Floats]) -> None:
        """Keep the trees one after the other; a leaf's children are itself."""
        sizes = np.cumsum([0, *(tree.node_count for tree in trees)])
        self._roots = sizes[:-1].astype(np.int32)
        self._depth = max(int(tree.max_depth) for tree in trees)
        leaf = [tree.children_left < 0 for tree in trees]
        self._feature = _joined([np.where(end, 0, tree.feature) for tree, end in zip(trees, leaf, strict=True)])
        self._cut = np.concatenate(
            [np.where(end, np.inf, tree.threshold) for tree, end in zip(trees, leaf, strict=True)]
        )
        self._left = _children([tree.children_left for tree in trees], leaf, sizes)
        self._right = _children([tree.children_right for tree in trees], leaf, sizes)
        self._leaves = np.concatenate(leaves).astype(np.float32)

    def _means(self, inputs: Floats) -> Floats:
        """Return (N, G): the mean over the trees of the leaves that rows end in."""
        chunks = [inputs[at : at + ROWS_AT_A_TIME] for at in range(0, len(inputs), ROWS_AT_A_TIME)]
        return np.vstack([self._chunk_means(chunk) for chunk in chunks])

    def _chunk_means(self, inputs: Floats) -> Floats:
        rows = inputs.astype(np.float32)  # as the trees were grown
        place, node = np.arange(len(rows))[:, None], np.tile(self._roots, (len(rows), 1))
        for _ in range(self._depth):
            left = rows[place, self._feature[node]] <= self._cut[node]
            node = np.where(left, self._left[node], self._right[node])
        means: Floats = self._leaves[node].mean(axis=1, dtype=np.float64)
        return means

    def learned(self) -> State:
        """Return the trees."""
        return {
            "roots": self._roots,
            "depth": self._depth,
            "feature": self._feature,
            "cut": self._cut,
            "left": self._left,
            "right": self._right,
            "leaves": self._leaves,
        }

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._roots, self._depth, self._leaves = state["roots"], state["depth"], state["leaves"]
        self._feature, self._cut = state["feature"], state["cut"]
        self._left, self._right = state["left"], state["right"]


class ForestRegressor(_Forest, Regressor):
    """A forest's mean.

    References
    ----------
    Breiman (2001), Random Forests; Geurts, Ernst and Wehenkel (2006), Extremely randomized trees.
    """

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:  # noqa: ARG002
        """Grow the trees."""
        forest = self._grow("Regressor", inputs, target, until)
        trees = [each.tree_ for each in forest.estimators_]
        self._plant(trees, [tree.value[:, :, 0] for tree in trees])

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, 1)."""
        return self._means(inputs)


class ForestClassifier(_Forest, Classifier):
    """The mean of the classes' shares in the leaves, with a row of the usual shares mixed in."""

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:  # noqa: ARG002
        """Grow the trees."""
        forest = self._grow("Classifier", inputs, target, until)
        trees = [each.tree_ for each in forest.estimators_]
        seen = np.asarray(forest.classes_, dtype=np.int64)
        leaves = []
        for tree in trees:
            shares = np.zeros((tree.node_count, self.classes))
            shares[:, seen] = tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True)
            leaves.append(shares)
        self._prior = priors(target, self.classes)
        self._plant(trees, leaves)

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, K)."""
        trees = len(self._roots)
        shares: Floats = (self._means(inputs) * trees + self._prior * PRIOR_ROWS) / (trees + PRIOR_ROWS)
        shares /= shares.sum(axis=1, keepdims=True)
        return shares

    def learned(self) -> State:
        """Return the trees and the usual shares."""
        return super().learned() | {"prior": self._prior}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        super().relearn(state)
        self._prior = state["prior"]


def _joined(parts: list[Any]) -> npt.NDArray[np.int32]:
    return np.concatenate(parts).astype(np.int32)


def _children(parts: list[Any], leaf: list[Any], sizes: Any) -> npt.NDArray[np.int32]:
    """Return each node's child among all trees' nodes."""
    found = [
        np.where(end, np.arange(len(part)), part) + start
        for part, end, start in zip(parts, leaf, sizes[:-1], strict=True)
    ]
    return _joined(found)
