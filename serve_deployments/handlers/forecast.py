"""Forecasts: an ensemble as the nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import DataError, SignatureMismatch
from serve_deployments.handlers.arrow import BulkQuestion
from serve_deployments.handlers.explain import explain
from serve_deployments.handlers.forecast_face import ForecastFace, SleepingForecast
from serve_deployments.handlers.outline import Outline
from serve_deployments.handlers.validate import Job
from serve_deployments.resilience.quality import QualityPolicy
from serve_deployments.schemas import ForecastRequest
from training.core.prediction import Prediction
from training.core.schema import Schema
from training.core.windows import Floats, Windows
from training.models.ensemble import Ensemble

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ForecastModel(ForecastFace):
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

    ensemble: Ensemble
    outline: Outline = field(init=False, repr=False, compare=False)

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "outline", Outline.of(self.ensemble))

    @cached_property
    def quality(self) -> QualityPolicy:
        """What its forecasts must keep to."""
        return QualityPolicy.of(self.ensemble.intervals, self.schema, self.ensemble.targets)

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

    def explanation(self, question: ForecastRequest | BulkQuestion) -> Callable[[], list[dict[str, Any]]] | None:
        """Return what computes the key factors, where the question asks for them."""
        if isinstance(question, BulkQuestion) or not question.explain:
            return None
        return partial(explain, question, self.schema, self.ensemble)

    def asleep(self) -> SleepingForecast:
        """Return what stands for it while the ensemble is not in memory."""
        return SleepingForecast(
            name=self.name, version=self.version, schema=self.schema, metrics=self.metrics, outline=self.outline
        )


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
