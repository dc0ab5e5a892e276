"""What is asked of a forecaster and told of its answers: all of a version but its weights."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from serve_deployments.cache.key import windows_digest
from serve_deployments.handlers.arrow import BulkQuestion
from serve_deployments.handlers.bulk import table_of, validate_table
from serve_deployments.handlers.outline import Outline
from serve_deployments.handlers.quick import QuickReader
from serve_deployments.handlers.validate import Job, validate
from serve_deployments.schemas import ForecastRequest
from serve_deployments.servable import Asleep, Servable
from training.core.prediction import Prediction
from training.core.schema import Column, Schema
from training.core.windows import Windows, future_times

PROBE_ORIGIN = "2019-12-31T00:00:00"


@dataclass(frozen=True, kw_only=True)
class ForecastFace(Servable):
    """A forecaster as its callers see it: questions become jobs, results become answers. It may be without weights.

    Parameters
    ----------
    name, version
        As registered.
    schema, outline
        What requests must look like.
    metrics
        As measured before registration; `accuracy` is 1 - WAPE.
    """

    kind: ClassVar[str] = "forecast"
    result_type: ClassVar[type | None] = Prediction
    name: str
    version: str
    schema: Schema
    metrics: Mapping[str, float]
    outline: Outline

    @property
    def members(self) -> tuple[str, ...]:
        """The ensemble's."""
        return self.outline.members

    def validate(self, question: ForecastRequest | BulkQuestion) -> Job:
        """Return the job; see `handlers.validate` and `handlers.bulk`."""
        if isinstance(question, BulkQuestion):
            return validate_table(question, self.schema, self.outline)
        return validate(question, self.schema, self.outline, self._quick)

    @cached_property
    def _quick(self) -> QuickReader:
        return QuickReader(self.schema, self.outline.context)

    def may_be_kept(self, question: ForecastRequest | BulkQuestion) -> bool:
        """Return whether it asks for forecasts alone: neither tables nor reasons are kept."""
        return not (isinstance(question, BulkQuestion) or question.explain)

    def identity(self, job: Job) -> bytes:
        """Return the digest of all that the forecast follows from, see `cache.key`."""
        return windows_digest(job.context, job.steps, job.levels)

    def weight(self, job: Job) -> int:
        """Return how many series it has."""
        return len(job.context)

    def alike(self, job: Job) -> Hashable:
        """Return its quantile levels: one pass describes a batch at the same levels."""
        return job.levels

    def plain(self, result: Prediction) -> dict[str, Any]:
        """Return the fields of a ForecastResponse that the forecast fills."""
        times = np.datetime_as_string(result.timestamps, unit="s").tolist()
        return {
            "interval_level": round(result.levels[-1] - result.levels[0], 12),
            "forecasts": [
                {
                    "series_id": series,
                    "target": target,
                    "unit": self.schema.column(target).unit,
                    "steps": _steps(result, times[n], n, t),
                }
                for n, series in enumerate(result.ids)
                for t, target in enumerate(result.targets)
            ],
        }

    def table(self, result: Prediction) -> pa.Table:
        """Return the forecasts as a table."""
        return table_of(result)

    def probe(self) -> Job:
        """Return a job in the middle of the schema's ranges."""
        model = self.outline
        context = _middling(self.schema, self.schema.names, model.context, np.datetime64(PROBE_ORIGIN, "ns"))
        if model.known:
            ahead = _middling(self.schema, model.known, model.horizon, context.last_times[0])
            context = replace(context, ahead=ahead)
        return Job(context=context, steps=1, levels=(0.05, 0.95))

    def info(self, *, default: bool) -> dict[str, Any]:
        """Return what GET /api/models tells."""
        return {
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "default": default,
            "targets": list(self.outline.targets),
            "horizon": self.outline.horizon,
            "context": self.outline.context,
            "frequency": self.schema.frequency,
            "columns": [
                {"name": c.name, "unit": c.unit, "kind": c.kind, "low": c.low, "high": c.high}
                for c in self.schema.columns
            ],
            "known": list(self.outline.known),
            "members": list(self.members),
            "metrics": {name: value for name, value in self.metrics.items() if np.isfinite(value)},
        }


class SleepingForecast(ForecastFace, Asleep):
    """A forecaster whose ensemble is not in memory: it validates, tells and describes, and computes nothing."""


def _steps(prediction: Prediction, times: list[str], n: int, t: int) -> list[dict[str, Any]]:
    names = [repr(level) for level in prediction.levels]
    rows = zip(
        times,
        prediction.point[n, :, t].tolist(),
        prediction.confidence[n, :, t].tolist(),
        prediction.values[n, :, t].tolist(),
        strict=True,
    )
    return [
        {
            "timestamp": time,
            "prediction": point,
            "lower": values[0],
            "upper": values[-1],
            "confidence": confidence,
            "quantiles": dict(zip(names, values, strict=True)),
        }
        for time, point, confidence, values in rows
    ]


def _middling(schema: Schema, names: tuple[str, ...], rows: int, after: np.datetime64) -> Windows:
    """Return one window of the middles of some columns' ranges."""
    row = np.array([_middle(schema.column(name)) for name in names])
    return Windows(
        rows=np.tile(row, (rows, 1)),
        times=future_times(np.array([after]), rows, schema.frequency)[0],
        segments=np.array([0, rows], dtype=np.int64),
        starts=np.zeros(1, dtype=np.int64),
        length=rows,
        columns=names,
        series=("probe",),
        frequency=schema.frequency,
    )


def _middle(column: Column) -> float:
    low = column.low if column.low is not None else (column.high or 0.0) - 2.0
    high = column.high if column.high is not None else low + 2.0
    middle = (low + high) / 2
    return float(np.floor(middle)) if column.kind == "int" else middle
