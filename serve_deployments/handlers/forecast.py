"""Forecasts: an ensemble as the nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import DataError, SignatureMismatch
from serve_deployments.cache.key import windows_digest
from serve_deployments.handlers.arrow import BulkQuestion
from serve_deployments.handlers.bulk import table_of, validate_table
from serve_deployments.handlers.explain import explain
from serve_deployments.handlers.quick import QuickReader
from serve_deployments.handlers.validate import Job, validate
from serve_deployments.schemas import ForecastRequest
from serve_deployments.servable import Servable
from training.core.prediction import Prediction
from training.core.schema import Column, Schema
from training.core.windows import Floats, Windows, future_times
from training.models.ensemble import Ensemble

Flags = npt.NDArray[np.bool_]
PROBE_ORIGIN = "2019-12-31T00:00:00"


@dataclass(frozen=True, kw_only=True)
class ForecastModel(Servable):
    """A version of a forecaster in memory.

    Parameters
    ----------
    name, version
        As registered.
    ensemble
        What computes.
    schema
        What requests must look like.
    metrics
        As measured before registration; `accuracy` is 1 - WAPE.
    """

    kind: ClassVar[str] = "forecast"
    result_type: ClassVar[type | None] = Prediction
    name: str
    version: str
    ensemble: Ensemble
    schema: Schema
    metrics: Mapping[str, float]

    @classmethod
    def of(
        cls, component: object, schema: Schema, *, name: str, version: str, metrics: Mapping[str, float]
    ) -> ForecastModel:
        """Return the servable of a loaded artifact.

        Raises
        ------
        SignatureMismatch
            The artifact is no ensemble, or its schema has other columns.
        """
        if not isinstance(component, Ensemble):
            raise SignatureMismatch(
                f"model '{name}' {version} cannot be served: got an artifact of '{type(component).__name__}', "
                "expected 'ensemble'"
            )
        if schema.names != component.columns:
            raise SignatureMismatch(
                f"model '{name}' {version} does not fit its own schema: got columns {schema.names}, "
                f"expected {component.columns}"
            )
        return cls(name=name, version=version, ensemble=component, schema=schema, metrics=dict(metrics))

    @property
    def members(self) -> tuple[str, ...]:
        """The ensemble's."""
        return tuple(member.name for member in self.ensemble.members)

    def validate(self, question: ForecastRequest | BulkQuestion) -> Job:
        """Return the job; see `handlers.validate` and `handlers.bulk`."""
        if isinstance(question, BulkQuestion):
            return validate_table(question, self.schema, self.ensemble)
        return validate(question, self.schema, self.ensemble, self._quick)

    @cached_property
    def _quick(self) -> QuickReader:
        return QuickReader(self.schema, self.ensemble.context)

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

    def prepare(self, jobs: Sequence[Job]) -> Windows:
        """Return the features of the jobs' contexts, compact."""
        with np.errstate(all="ignore"):  # overflow shows as a forecast that is not finite, see `_finite`
            return compact(self.ensemble.prepare(stack([job.context for job in jobs])))

    def join(self, features: Sequence[Windows]) -> Windows:
        """Return several requests' features as one table."""
        return stack(features)

    def member(self, index: int, features: Windows) -> Floats:
        """Return (N, H, T): what one member makes of the features."""
        with np.errstate(all="ignore"):
            return self.ensemble.members[index].predict(features)

    def combine(self, outputs: Sequence[Floats]) -> Floats:
        """Return (N, H, T): the members' forecasts as one."""
        with np.errstate(all="ignore"):
            return self.ensemble.combine(outputs)

    def describe(self, jobs: Sequence[Job], combined: Floats) -> list[Prediction | Exception]:
        """Return each job's Prediction around its point forecasts, intervals computed for all at once."""
        context = stack([job.context for job in jobs])
        with np.errstate(all="ignore"):
            all_of_them = self.ensemble.describe(context, combined, self.ensemble.horizon, jobs[0].levels)
        fine = _finite(np.concatenate([combined[..., None], all_of_them.values], axis=-1))
        found: list[Prediction | Exception] = []
        start = 0
        for job in jobs:
            here = slice(start, start + len(job.context))
            found.append(_part(all_of_them, here, job.steps) if fine[here].all() else _not_finite(job, fine[here]))
            start = here.stop
        return found

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

    def explanation(self, question: ForecastRequest | BulkQuestion) -> Callable[[], list[dict[str, Any]]] | None:
        """Return what computes the key factors, where the question asks for them."""
        if isinstance(question, BulkQuestion) or not question.explain:
            return None
        return partial(explain, question, self.schema, self.ensemble)

    def table(self, result: Prediction) -> pa.Table:
        """Return the forecasts as a table."""
        return table_of(result)

    def probe(self) -> Job:
        """Return a job in the middle of the schema's ranges."""
        model = self.ensemble
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
            "targets": list(self.ensemble.targets),
            "horizon": self.ensemble.horizon,
            "context": self.ensemble.context,
            "frequency": self.schema.frequency,
            "columns": [
                {"name": c.name, "unit": c.unit, "kind": c.kind, "low": c.low, "high": c.high}
                for c in self.schema.columns
            ],
            "known": list(self.ensemble.known),
            "members": list(self.members),
            "metrics": {name: value for name, value in self.metrics.items() if np.isfinite(value)},
        }


def compact(windows: Windows) -> Windows:
    """Return the same windows, and what is known ahead, over tables of no other rows: what travels."""
    n, length = len(windows), windows.length
    offsets = np.arange(0, (n + 1) * length, length, dtype=np.int64)
    if len(windows.rows) == n * length and np.array_equal(windows.starts, offsets[:-1]):
        ahead = windows.ahead
        return windows if ahead is None else replace(windows, ahead=compact(ahead))
    return Windows(
        rows=np.ascontiguousarray(windows.values).reshape(n * length, len(windows.columns)),
        times=windows.timestamps.reshape(-1).copy(),
        segments=offsets,
        starts=offsets[:-1],
        length=length,
        columns=windows.columns,
        series=windows.ids,
        frequency=windows.frequency,
        ahead=None if windows.ahead is None else compact(windows.ahead),
    )


def stack(requests: Sequence[Windows]) -> Windows:
    """Return the windows of several compact requests as one table."""
    first = requests[0]
    if len(requests) == 1:
        return first
    offsets = np.arange(0, (sum(map(len, requests)) + 1) * first.length, first.length, dtype=np.int64)
    return Windows(
        rows=np.concatenate([each.rows for each in requests]),
        times=np.concatenate([each.times for each in requests]),
        segments=offsets,
        starts=offsets[:-1],
        length=first.length,
        columns=first.columns,
        series=tuple(series for each in requests for series in each.series),
        frequency=first.frequency,
        ahead=None if first.ahead is None else stack([each.ahead for each in requests if each.ahead is not None]),
    )


def _finite(values: Floats) -> Flags:
    """Return (N,) whether all of a series' numbers are finite."""
    return np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))


class NotFiniteError(DataError):
    """The values are allowed, yet the model cannot compute with them."""


def _not_finite(job: Job, fine: Flags) -> NotFiniteError:
    at = int(np.argmin(fine))
    return NotFiniteError.at(
        f"series '{job.context.series[at]}': its values are allowed, yet the model cannot compute with them",
        got="a forecast that is not finite",
        expected="values of the size that the model was trained on",
        field=f"body.series[{at}].values",
    )


def _part(whole: Prediction, rows: slice, steps: int) -> Prediction:
    """Return some series and the first steps of a prediction."""
    return Prediction(
        ids=whole.ids[rows],
        origins=whole.origins[rows],
        timestamps=whole.timestamps[rows, :steps],
        targets=whole.targets,
        point=whole.point[rows, :steps],
        levels=whole.levels,
        values=whole.values[rows, :steps],
        confidence=whole.confidence[rows, :steps],
        model=whole.model,
    )


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
