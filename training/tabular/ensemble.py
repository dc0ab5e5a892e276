"""The thing that is registered and served: encoders, fitted members and how they are blended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from cluster.errors import NotFittedError
from training.core.component import Component, State, build
from training.core.table import Labels, Table, TableSchema
from training.core.tabular import Classifier, Regressor
from training.core.windows import Floats
from training.tabular.bending import unbent
from training.tabular.blend import Blend
from training.tabular.encoding import TableEncoder

LEVELS = (0.05, 0.95)
KEPT_ERRORS = 401
"""Quantiles kept of the errors on rows that members had not seen."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A fitted family behind its encoder.

    Parameters
    ----------
    model
        A regressor or classifier.
    encoder
        Position of its encoder among the ensemble's.
    candidate
        Which candidate it is a part of: members of one candidate were fitted on different rows and are averaged.
    bend
        How the target was bent before it was learned; empty where it was not.
    """

    model: Regressor | Classifier
    encoder: int
    candidate: int
    bend: State

    def outputs(self, inputs: Floats) -> Floats:
        """Return (N, G) in the target's unit, or probabilities."""
        if isinstance(self.model, Classifier):
            return self.model.probabilities(inputs)
        values = self.model.predict(inputs)
        return (unbent(values, self.bend) if self.bend else values)[:, None]


@dataclass(frozen=True, kw_only=True)
class TabularPrediction:
    """What an ensemble says of N rows.

    Parameters
    ----------
    values
        (N,) predicted numbers; in a classification the position of the most probable class.
    low, high
        (N,) the interval that nine of ten truths lie in, by errors on rows not seen; None in a classification.
    probabilities
        (N, K); None in a regression.
    classes
        (K,) labels.
    """

    values: Floats | Labels
    low: Floats | None
    high: Floats | None
    probabilities: Floats | None
    classes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return a row a prediction."""
        if self.probabilities is None:
            return pd.DataFrame({"prediction": self.values, "low": self.low, "high": self.high})
        labels = np.array(self.classes, dtype=object)[self.values.astype(np.int64)]
        shares = {f"p({label})": self.probabilities[:, at] for at, label in enumerate(self.classes)}
        return pd.DataFrame({"prediction": labels} | shares)


class TabularEnsemble(Component):
    """Members over shared encoders, blended; fitted by AutoML, loaded from its artifact.

    Parameters
    ----------
    encoders
        Parameters of each encoder.
    members
        `name`, `params`, `encoder` and `candidate` of each member.
    task
        `regression` or `classification`.
    """

    name: ClassVar[str] = "tabular_ensemble"

    def __init__(
        self, *, task: str, encoders: Sequence[Mapping[str, Any]], members: Sequence[Mapping[str, Any]]
    ) -> None:
        self.task = task
        self.encoders = [dict(each) for each in encoders]
        self.members = [dict(each) for each in members]
        self._schema: TableSchema | None = None

    @classmethod
    def of(
        cls,
        schema: TableSchema,
        encoders: Sequence[TableEncoder],
        members: Sequence[Member],
        blend: Blend,
        errors: Floats,
    ) -> TabularEnsemble:
        """Return an ensemble of fitted parts.

        Parameters
        ----------
        errors
            (R,) truth minus prediction on rows that the members had not seen, for intervals; none of a classifier.
        """
        made = cls(
            task=schema.task,
            encoders=[each.params() for each in encoders],
            members=[
                {
                    "name": each.model.name,
                    "params": each.model.params(),
                    "encoder": each.encoder,
                    "candidate": each.candidate,
                }
                for each in members
            ],
        )
        made._schema, made._encoders, made._members = schema, list(encoders), list(members)
        made._blend = blend
        made._errors = np.quantile(errors, np.linspace(0, 1, KEPT_ERRORS)) if len(errors) else errors
        return made

    @property
    def schema(self) -> TableSchema:
        """Columns it reads, and what it predicts."""
        if self._schema is None:
            raise NotFittedError("the ensemble is not fitted: load it from its artifact")
        return self._schema

    @property
    def blend(self) -> Blend:
        """How its candidates are combined."""
        self.schema  # noqa: B018 - says what is missing
        return self._blend

    def predict(self, rows: pd.DataFrame | Table) -> TabularPrediction:
        """Predict the target of each row.

        Raises
        ------
        SchemaError, DataError
            A column is missing, or a value cannot be read.
        """
        table = self.schema.read(rows) if isinstance(rows, pd.DataFrame) else rows
        return self.describe(self.blend.apply(self.outputs(self.encode(table))))

    def encode(self, table: Table) -> list[Floats]:
        """Return the (N, F) numbers of each encoder."""
        return [encoder.transform(table) for encoder in self._encoders]

    @property
    def candidates(self) -> tuple[str, ...]:
        """Families of the candidates, in order; a second one of a family has a number."""
        families = list({part["candidate"]: part["name"] for part in self.members}.values())
        seen = [families[:at].count(family) for at, family in enumerate(families)]
        return tuple(f"{family}-{at + 1}" if at else family for family, at in zip(families, seen, strict=True))

    def outputs(self, inputs: Sequence[Floats]) -> Floats:
        """Return (C, N, G): each candidate's outputs."""
        return np.stack([self.candidate_outputs(at, inputs) for at in range(len(self.candidates))])

    def candidate_outputs(self, candidate: int, inputs: Sequence[Floats]) -> Floats:
        """Return (N, G): the mean of a candidate's members' outputs."""
        self.schema  # noqa: B018 - says what is missing
        members = [each for each in self._members if each.candidate == candidate]
        found: Floats = np.mean([each.outputs(inputs[each.encoder]) for each in members], axis=0)
        return found

    def describe(self, combined: Floats) -> TabularPrediction:
        """Return the prediction that (N, G) outputs stand for."""
        if self.task == "classification":
            return TabularPrediction(
                values=combined.argmax(axis=1),
                low=None,
                high=None,
                probabilities=combined,
                classes=self.schema.classes,
            )
        values = combined[:, 0]
        low, high = np.quantile(self._errors, LEVELS)
        return TabularPrediction(
            values=values, low=values + low, high=values + high, probabilities=None, classes=()
        )

    def state(self) -> State:
        """Return all that was learned."""
        if self._schema is None:
            return {}
        return {
            "schema": self._schema.to_json(),
            "encoders": [each.state() for each in self._encoders],
            "members": [{"model": each.model.state(), "bend": each.bend} for each in self._members],
            "blend": self._blend.state(),
            "errors": self._errors,
        }

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        if not state:
            return
        self._schema = TableSchema.from_json(state["schema"])
        self._encoders = [TableEncoder(**params) for params in self.encoders]
        for encoder, learned in zip(self._encoders, state["encoders"], strict=True):
            encoder.restore(learned)
        self._members = [
            _restored(self.task, part, learned)
            for part, learned in zip(self.members, state["members"], strict=True)
        ]
        self._blend, self._errors = Blend.from_state(state["blend"]), np.asarray(state["errors"])


def make(task: str, name: str, params: Mapping[str, Any]) -> Regressor | Classifier:
    """Return an unfitted family for a task."""
    from training.tabular import CLASSIFIERS, REGRESSORS

    if task == "classification":
        return build(CLASSIFIERS, name, params)
    return build(REGRESSORS, name, params)


def _restored(task: str, part: Mapping[str, Any], learned: State) -> Member:
    model = make(task, part["name"], part["params"])
    model.restore(learned["model"])
    return Member(model=model, encoder=part["encoder"], candidate=part["candidate"], bend=learned["bend"])
