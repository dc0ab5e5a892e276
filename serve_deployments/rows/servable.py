"""Models of rows in a graph: rows of a table in, numbers or classes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from cluster.errors import DataError, SignatureMismatch, UnknownNameError
from serve_deployments.rows.schemas import PredictRequest
from serve_deployments.servable import Asleep, Servable
from training.core.component import Component
from training.core.table import Table, TableSchema
from training.core.windows import Floats
from training.tabular.ensemble import TabularEnsemble, TabularPrediction


@dataclass(frozen=True)
class RowFeatures:
    """What the encoders made of the rows: what travels to the members.

    Parameters
    ----------
    inputs
        (N, F) of each encoder.
    """

    inputs: tuple[Floats, ...]

    def __len__(self) -> int:
        return len(self.inputs[0])


@dataclass(frozen=True, kw_only=True)
class RowsFace(Servable):
    """A tabular ensemble as its callers see it: questions in, answers out. It may be without weights.

    Parameters
    ----------
    name, version, metrics
        See `Servable`.
    schema
        What rows must look like.
    candidates
        Names of the members.
    """

    kind: ClassVar[str] = "predict"
    result_type: ClassVar[type | None] = TabularPrediction
    name: str
    version: str
    metrics: Mapping[str, float]
    schema: TableSchema
    candidates: tuple[str, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """The ensemble's candidates."""
        return self.candidates

    def validate(self, question: PredictRequest) -> Table:
        """Return the rows as a table; raise the fault of the first bad one with its place in the body."""
        names = self.schema.names
        for at, row in enumerate(question.rows):
            for name in row:
                if name not in names:
                    error = UnknownNameError.of("column", name[:100], names)
                    error.context.update(field=f"body.rows[{at}]", got=name[:100], expected=", ".join(names[:20]))
                    raise error
        columns = {name: [row.get(name) for row in question.rows] for name in names}
        try:
            return self.schema.read(pd.DataFrame(columns, dtype=object))
        except DataError as fault:
            fault.context["field"] = f"body.rows[{fault.context['row']}].{fault.context['column']}"
            raise

    def weight(self, job: Table) -> int:
        """Return how many rows are asked about."""
        return len(job)

    def plain(self, result: TabularPrediction) -> dict[str, Any]:
        """Return the fields of a PredictResponse."""
        return {"target": self.schema.target, "task": self.schema.task, "predictions": _rows(result)}

    def probe(self) -> Table:
        """Return a row of which nothing is known."""
        schema = self.schema
        return schema.read(pd.DataFrame({name: [None] for name in schema.names}, dtype=object))

    def info(self, *, default: bool) -> dict[str, Any]:
        """Return what GET /api/models tells."""
        schema = self.schema
        return {
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "default": default,
            "targets": [schema.target],
            "horizon": 0,
            "context": 1,
            "frequency": "",
            "columns": [
                {"name": each.name, "unit": "1", "kind": each.kind, "low": None, "high": None}
                for each in schema.features
            ],
            "known": [],
            "members": list(self.members),
            "metrics": {name: value for name, value in self.metrics.items() if np.isfinite(value)},
        }


class SleepingRows(RowsFace, Asleep):
    """A tabular ensemble that is not in memory: it validates, tells and describes, and computes nothing."""


@dataclass(frozen=True, kw_only=True)
class RowsServable(RowsFace):
    """A version of a tabular ensemble in memory; each of its candidates is a node.

    Parameters
    ----------
    name, version, metrics
        See `Servable`.
    ensemble
        What computes.
    """

    ensemble: TabularEnsemble
    schema: TableSchema = field(init=False, repr=False, compare=False)
    candidates: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", self.ensemble.schema)
        object.__setattr__(self, "candidates", self.ensemble.candidates)

    def asleep(self) -> SleepingRows:
        """Return what stands for it while the ensemble is not in memory."""
        return SleepingRows(
            name=self.name,
            version=self.version,
            metrics=self.metrics,
            schema=self.schema,
            candidates=self.candidates,
        )

    @classmethod
    def of(
        cls, component: Component, schema: TableSchema, *, name: str, version: str, metrics: Mapping[str, float]
    ) -> Self:
        """Wrap a loaded artifact; raise SignatureMismatch where it is no ensemble of its own schema."""
        if not isinstance(component, TabularEnsemble) or component.schema != schema:
            raise SignatureMismatch(
                f"model '{name}' {version} cannot be served: got an artifact of '{component.name}', expected a "
                "tabular ensemble with the schema that its manifest tells"
            )
        return cls(name=name, version=version, metrics=dict(metrics), ensemble=component)

    def prepare(self, jobs: Sequence[Table]) -> RowFeatures:
        """Return the encoders' numbers of all jobs' rows."""
        parts = [self.ensemble.encode(job) for job in jobs]
        return RowFeatures(tuple(np.vstack(each) for each in zip(*parts, strict=True)))

    def join(self, features: Sequence[RowFeatures]) -> RowFeatures:
        """Return several requests' rows as one."""
        return RowFeatures(tuple(np.vstack(each) for each in zip(*(one.inputs for one in features), strict=True)))

    def member(self, index: int, features: RowFeatures) -> Floats:
        """Return (N, G): what one candidate makes of the rows."""
        return self.ensemble.candidate_outputs(index, features.inputs)

    def combine(self, outputs: Sequence[Floats]) -> Floats:
        """Return (N, G): the candidates' outputs as one."""
        return self.ensemble.blend.apply(np.stack(outputs))

    def describe(self, jobs: Sequence[Table], combined: Floats) -> list[TabularPrediction | Exception]:
        """Return each job's predictions."""
        ends = np.cumsum([len(job) for job in jobs])[:-1]
        return [self.ensemble.describe(part) for part in np.split(combined, ends)]


def _rows(result: TabularPrediction) -> list[dict[str, Any]]:
    if result.probabilities is None or result.low is not None:
        bounds = zip(result.values, result.low, result.high, strict=True)  # type: ignore[arg-type]
        return [
            {"prediction": float(value), "lower": float(low), "upper": float(high), "probabilities": None}
            for value, low, high in bounds
        ]
    return [
        {
            "prediction": result.classes[int(value)],
            "lower": None,
            "upper": None,
            "probabilities": dict(zip(result.classes, shares.tolist(), strict=True)),
        }
        for value, shares in zip(result.values, result.probabilities, strict=True)
    ]
