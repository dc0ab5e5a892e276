"""Rows or pieces that few random cuts set apart from all others."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.detector import DetectorTags
from training.core.parameters import whole
from training.core.runner import Runner
from training.core.space import Space, Whole
from training.core.windows import Floats
from training.detectors.subsequences import Subsequences

EULER = 0.5772156649015329
ROWS_AT_A_TIME = 1024
"""Rows whose places in all trees fit into a processor's cache."""


class IsolationForest(Subsequences):
    """How few random cuts, on average over many trees, isolate a row (or a piece, where `window` is above 1).

    Parameters
    ----------
    window
        Rows in a piece; 1 looks at single rows, None takes the dominant period of the rows it is fitted on.
    align
        Which rows a piece's score goes to: `centre`, `cover` or `end`; see `Subsequences`.
    trees
        Of random cuts, 1 or more.
    samples
        Pieces that each tree is grown on, 2 or more.
    seed
        Of the cuts.

    References
    ----------
    Liu, Ting and Zhou (2008), Isolation Forest. scikit-learn grows the trees; ours keeps them as arrays and walks
    through all of them at once.
    """

    name: ClassVar[str] = "isolation_forest"
    tags: ClassVar[DetectorTags] = DetectorTags(online=True, seeded=True)

    def __init__(
        self,
        *,
        window: int | None = 1,
        align: str = "centre",
        trees: int = 100,
        samples: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__(window=window, align=align)
        self.trees = whole("trees", trees, low=1)
        self.samples = whole("samples", samples, low=2)
        self.seed = whole("seed", seed, low=0)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return a small forest."""
        return {"window": 4, "align": "end", "trees": 20, "samples": 64}

    @classmethod
    def search_space(cls) -> Space:
        """Return how many trees there are, and how much each sees."""
        return {"trees": Whole(25, 200, log=True), "samples": Whole(64, 1024, log=True)}

    def learn_pieces(self, pieces: Floats, runner: Runner | None) -> State:  # noqa: ARG002 - no loop of ours
        """Return the trees, one after the other, each node with its cut, its children, and its leaf's length."""
        from sklearn.ensemble import IsolationForest as Forest

        count = min(self.samples, len(pieces))
        forest = Forest(n_estimators=self.trees, max_samples=count, random_state=self.seed).fit(pieces)
        nodes = [_nodes(each.tree_) for each in forest.estimators_]
        sizes = np.cumsum([0, *(len(tree["cut"]) for tree in nodes)])
        for tree, start in zip(nodes, sizes[:-1], strict=True):
            tree["child"] = tree["child"] + start
        state = {name: np.concatenate([tree[name] for tree in nodes]) for name in nodes[0]}
        return {
            **state,
            "roots": sizes[:-1],
            "depth": max(tree.max_depth for tree in _raw(forest)),
            "samples": count,
        }

    def judge_pieces(self, state: State, pieces: Floats) -> Floats:
        """Return (P,) 2 to the power of minus the mean path length over its expectation."""
        usual = float(unsuccessful_search(np.array([state["samples"]], dtype=np.float64))[0])
        found = [_paths(state, pieces[at : at + ROWS_AT_A_TIME]) for at in range(0, len(pieces), ROWS_AT_A_TIME)]
        scores: Floats = 2.0 ** (-np.concatenate(found) / max(usual, 1.0))
        return scores


def _raw(forest: Any) -> list[Any]:
    return [each.tree_ for each in forest.estimators_]


def _nodes(tree: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return a tree's nodes; a leaf's cut is never passed, and both its children are itself."""
    leaf = tree.children_left < 0
    itself = np.arange(len(leaf))
    depth = np.zeros(len(leaf))
    for node in itself[~leaf]:  # parents stand before their children
        depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
    return {
        "feature": np.where(leaf, 0, tree.feature),
        "cut": np.where(leaf, np.inf, tree.threshold),
        "child": np.stack(
            [np.where(leaf, itself, tree.children_left), np.where(leaf, itself, tree.children_right)], axis=1
        ),
        "length": depth + unsuccessful_search(tree.n_node_samples.astype(np.float64)),
    }


def unsuccessful_search(sizes: Floats) -> Floats:
    """Return the mean path of an unsuccessful search in a binary tree of so many samples."""
    more = sizes.clip(3)
    long = 2.0 * (np.log(more - 1.0) + EULER) - 2.0 * (more - 1.0) / more
    return np.where(sizes <= 1, 0.0, np.where(sizes == 2, 1.0, long))


def _paths(state: State, pieces: Floats) -> Floats:
    """Return (P,) the mean length of the pieces' paths through all trees."""
    rows = pieces.astype(np.float32)  # as the trees were grown
    place = np.repeat(np.arange(len(rows)), len(state["roots"]))
    node = np.tile(state["roots"], len(rows))
    for _ in range(int(state["depth"])):
        beyond = rows[place, state["feature"][node]] > state["cut"][node]
        node = state["child"][node, beyond.astype(np.intp)]
    lengths: Floats = state["length"][node].reshape(len(rows), -1).mean(axis=1)
    return lengths
