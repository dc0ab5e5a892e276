"""Who sits the exams of regressors and classifiers, and the rows they are tried on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from training.core.catalog import Catalog
from training.core.component import build
from training.core.table import Feature, TableSchema, Values
from training.core.tabular import Classifier, HeldOut, Regressor, Tabular, TabularTags, Until
from training.core.windows import Floats

ROWS, LATER, COLUMNS, CLASSES = 240, 160, 5, 3
MISSING = 0.05
"""Share of the inputs that is missing, for families whose view leaves it to them."""

SCHEMA = TableSchema(
    name="exam",
    features=tuple(Feature(name=f"x{at}", kind="number") for at in range(COLUMNS)),
    target="y",
    task="regression",
)


def rows(count: int, seed: int, *, classes: int, missing: bool) -> tuple[Floats, Values]:
    """Return inputs and a target that two columns say much about: a number, or a class where there are some."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, COLUMNS))
    truth = 3 * inputs[:, 0] + np.sin(2 * inputs[:, 1]) + rng.normal(0, 0.3, count)
    if missing:
        inputs[rng.random(inputs.shape) < MISSING] = np.nan
    if classes:
        return inputs, np.digitize(truth, np.linspace(-1.5, 1.5, classes - 1)).astype(np.int64)
    return inputs, 100 + 20 * truth


@dataclass(frozen=True)
class TabularCandidate:
    """A family of a catalog, and what the checks ask of it again and again.

    Parameters
    ----------
    catalog
        Where it is listed: regressors or classifiers.
    name
        Its name there.
    """

    catalog: Catalog[Any]
    name: str

    @property
    def kind(self) -> type[Tabular]:
        """The class."""
        found: type[Tabular] = self.catalog.load(self.name)
        return found

    @property
    def tags(self) -> TabularTags:
        """What it says it can do."""
        tags = self.kind.tags
        return tags if isinstance(tags, TabularTags) else TabularTags()

    @property
    def classes(self) -> int:
        """How many classes it is tried on; 0 for a regressor."""
        return CLASSES if issubclass(self.kind, Classifier) else 0

    def make(self, **params: Any) -> Any:
        """Return an unfitted member of the example's size; `params` on top."""
        return build(self.catalog, self.name, self.kind.example_params() | params)

    def fit(
        self,
        train: tuple[Floats, Values] | None = None,
        *,
        held_out: HeldOut | None = None,
        until: Until | None = None,
        **params: Any,
    ) -> Any:
        """Return a member fitted on some rows, the usual ones when None."""
        inputs, target = self.train if train is None else train
        model = self.make(**params)
        if isinstance(model, Classifier):
            return model.fit(inputs, target, classes=self.classes, held_out=held_out, until=until)
        if isinstance(model, Regressor):
            return model.fit(inputs, target, held_out=held_out, until=until)
        raise TypeError(f"'{self.name}' is neither a regressor nor a classifier")

    def answers(self, model: Any, inputs: Floats | None = None) -> Floats:
        """Return (N, G) answers to rows, the later ones when None."""
        asked = self.later[0] if inputs is None else inputs
        if isinstance(model, Classifier):
            return model.probabilities(asked)
        found: Floats = model.predict(asked)[:, None]
        return found

    @cached_property
    def train(self) -> tuple[Floats, Values]:
        """What it learns from."""
        return rows(ROWS, 1, classes=self.classes, missing=self.tags.view == "plain")

    @cached_property
    def later(self) -> tuple[Floats, Values]:
        """What it is asked about."""
        return rows(LATER, 2, classes=self.classes, missing=self.tags.view == "plain")

    @cached_property
    def model(self) -> Any:
        """A fitted member that no check may change."""
        return self.fit()

    def digest(self, model: Any) -> str:
        """Return a fingerprint of its answers, to the last bit."""
        return hashlib.sha256(np.ascontiguousarray(self.answers(model)).tobytes()).hexdigest()


def digest_elsewhere(kind: type[Tabular]) -> str:
    """Return the digest of a member fitted here; called in another process."""
    alone = Catalog[Any]("family", {kind.name: f"{kind.__module__}:{kind.__qualname__}"})
    candidate = TabularCandidate(alone, kind.name)
    return candidate.digest(candidate.model)
