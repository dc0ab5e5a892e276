"""From a table to the numbers that a family learns from: learned on training rows, the same for any others."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cluster.errors import NotFittedError
from training.core.component import Component, State
from training.core.parameters import flag, one_of, real, whole
from training.core.table import Feature, Table, Values
from training.core.tabular import one_hot
from training.core.windows import Floats
from training.tabular.expansion import expand, expand_training, learn_feature
from training.tabular.scaling import learn_scale, scaled

VIEWS = ("plain", "standard", "robust")
MOST_CLASSES = 10
"""Beyond so many classes a level's means would be more columns than the table has; it keeps its count."""
LEAST_RELEVANCE = 1e-3
"""Gain of a column, as a share of the largest, below which it counts as this."""
RELEVANCE_ROUNDS = 60
RELEVANCE_ROWS = 10_000


class TableEncoder(Component):
    """Turns a table's rows into (N, F) numbers.

    What it knows comes from the rows and targets it was fitted on; a row that it transforms adds nothing. Of its
    own training rows, those features that look at the target are computed out of the other rows.

    Parameters
    ----------
    view
        `plain`: as it is, NaN where missing; `standard` or `robust`: without gaps and on one scale, see `scaling`.
    products
        Squares and products of the so many columns that go along most with the target are added; 0 for none. Only
        for columns on one scale.
    relevance
        Power of each column's share in the gain of a few boosted trees that it is multiplied by: 0 for none, 1 lets
        columns without a say vanish from distances.
    elapsed
        Whether time since the first date counts; not where later rows than all known are asked about.
    seed
        Of what is drawn.

    References
    ----------
    Micci-Barreca (2001), A preprocessing scheme for high-cardinality categorical attributes; Holzmueller,
    Grinsztajn and Steinwart (2024), Better by Default, for the bent tails.
    """

    name: ClassVar[str] = "table_encoder"

    def __init__(
        self,
        *,
        view: str = "plain",
        products: int = 0,
        relevance: float = 0.0,
        elapsed: bool = True,
        seed: int = 0,
    ) -> None:
        self.view = one_of("view", view, VIEWS)
        self.products = whole("products", products, low=0, high=60)
        self.relevance = real("relevance", relevance, low=0, high=1)
        self.elapsed = flag("elapsed", elapsed)
        self.seed = whole("seed", seed, low=0)
        self._state: State = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns it makes, those of products and of gaps included."""
        return tuple(self._known()["names"])

    def fit_transform(self, table: Table, target: Values, classes: int = 0) -> Floats:
        """Learn from training rows, and return their (N, F) numbers.

        Parameters
        ----------
        table, target
            Rows and their targets: numbers, or positions of classes.
        classes
            How many there are; 0 in a regression.
        """
        outputs = _outputs(target, classes)
        learned = {
            each.name: learn_feature(each.kind, table.columns[each.name], outputs, elapsed=self.elapsed)
            for each in table.features
        }
        named = [
            column
            for each in table.features
            for column in expand_training(each, table.columns[each.name], learned[each.name], outputs, self.seed)
        ]
        raw = np.stack([values for _, values in named], axis=1)
        kept = _useful(raw)
        self._state = {
            "features": [{"name": each.name, "kind": each.kind} for each in table.features],
            "learned": [learned[each.name] for each in table.features],
            "kept": kept,
            "names": [named[at][0] for at in kept],
        }
        return self._fit_view(raw[:, kept], target, outputs, classes)

    def transform(self, table: Table) -> Floats:
        """Return the (N, F) numbers of any rows."""
        state = self._known()
        features = [Feature(**each) for each in state["features"]]
        columns = [
            values
            for each, learned in zip(features, state["learned"], strict=True)
            for _, values in expand(each, table.columns[each.name], learned)
        ]
        inputs = np.stack(columns, axis=1)[:, state["kept"]]
        if self.view == "plain":
            return inputs
        inputs = self._with_products(scaled(inputs, state["scale"]))
        return inputs * state["weights"] if "weights" in state else inputs

    def _fit_view(self, raw: Floats, target: Values, outputs: Floats, classes: int) -> Floats:
        if self.view == "plain":
            return raw
        state = self._state
        state["scale"] = learn_scale(raw, robust=self.view == "robust")
        state["names"] += [f"{state['names'][at]} missing" for at in state["scale"]["gaps"]]
        inputs = scaled(raw, state["scale"])
        if self.products:
            state["crossed"] = _along(inputs, outputs)[: self.products]
            crossed = [state["names"][at] for at in state["crossed"]]
            state["names"] += [f"{crossed[i]} * {crossed[j]}" for i, j in zip(*_pairs(len(crossed)), strict=True)]
            state["cross_scale"] = learn_scale(_crossed(inputs, state["crossed"]), robust=False)
            inputs = self._with_products(inputs)
        if self.relevance:
            state["weights"] = _gains(inputs, target, classes, self.seed) ** self.relevance
            inputs = inputs * state["weights"]
        return inputs

    def _with_products(self, inputs: Floats) -> Floats:
        state = self._state
        if "crossed" not in state:
            return inputs
        return np.hstack([inputs, scaled(_crossed(inputs, state["crossed"]), state["cross_scale"])])

    def state(self) -> State:
        """Return all that fitting learned."""
        return self._state

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        self._state = state

    def _known(self) -> dict[str, Any]:
        if not self._state:
            raise NotFittedError("the encoder is not fitted: call fit_transform() first")
        return self._state


def _outputs(target: Values, classes: int) -> Floats:
    """Return (N, G) what level means are taken of."""
    if not classes:
        return target[:, None].astype(np.float64)
    if classes > MOST_CLASSES:
        return np.empty((len(target), 0))
    indicators = one_hot(target, classes)
    return indicators[:, 1:] if classes == 2 else indicators


def _useful(inputs: Floats) -> list[int]:
    """Return the columns that vary, the first of those that are equal."""
    kept: list[int] = []
    seen: set[bytes] = set()
    for at, values in enumerate(inputs.T):
        known = values[~np.isnan(values)]
        key = values.tobytes()
        constant = not len(known) or (bool((known == known[0]).all()) and len(known) == len(values))
        if not constant and key not in seen:
            kept.append(at)
            seen.add(key)
    return kept or [0]


def _along(inputs: Floats, outputs: Floats) -> list[int]:
    """Return the columns by how much they correlate with any output, the most first."""
    if not outputs.shape[1]:
        return list(range(inputs.shape[1]))
    centred, sides = inputs - inputs.mean(axis=0), outputs - outputs.mean(axis=0)
    lengths = np.sqrt(np.square(centred).sum(axis=0))[:, None] * np.sqrt(np.square(sides).sum(axis=0))
    shares = np.abs(centred.T @ sides) / np.where(lengths > 0, lengths, np.inf)
    return [int(at) for at in np.argsort(-shares.max(axis=1), kind="stable")]


def _pairs(count: int) -> tuple[Any, Any]:
    return np.triu_indices(count)


def _crossed(inputs: Floats, columns: list[int]) -> Floats:
    chosen = inputs[:, columns]
    first, second = _pairs(len(columns))
    products: Floats = chosen[:, first] * chosen[:, second]
    return products


def _gains(inputs: Floats, target: Values, classes: int, seed: int) -> Floats:
    """Return (F,) the root of each column's gain in a few boosted trees, the largest as 1."""
    import lightgbm

    rows = np.random.default_rng(seed).permutation(len(inputs))[:RELEVANCE_ROWS]
    objective = {"objective": "multiclass", "num_class": classes} if classes else {"objective": "regression"}
    parameters = objective | {"num_leaves": 8, "verbose": -1, "num_threads": 1, "seed": seed, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(inputs[rows], target[rows], params=parameters)
    gains = lightgbm.train(parameters, data, RELEVANCE_ROUNDS).feature_importance("gain")
    shares: Floats = np.sqrt(gains / max(float(gains.max()), 1e-300)).clip(LEAST_RELEVANCE)
    return shares
