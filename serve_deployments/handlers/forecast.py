"""The graph's nodes as plain functions: prepare -> members -> combine -> describe -> answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.errors import DataError
from training.core.prediction import Prediction
from training.core.windows import Floats, Windows

if TYPE_CHECKING:
    from serve_deployments.handlers.models import LoadedModel
    from serve_deployments.handlers.validate import Job

Answer = Floats | Exception
"""What one request of a batch gets: its forecast, or its own error."""


def compact(windows: Windows) -> Windows:
    """Return the same windows, and what is known ahead, over tables of no other rows: what travels."""
    n, length = len(windows), windows.length
    offsets = np.arange(0, (n + 1) * length, length, dtype=np.int64)
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


def prepare(model: LoadedModel, context: Windows) -> Windows:
    """Return the features of compact contexts, compact again."""
    with np.errstate(all="ignore"):  # overflow shows as a forecast that is not finite, see `checked`
        return compact(model.ensemble.prepare(context))


def member(model: LoadedModel, index: int, features: Windows) -> Floats:
    """Return (N, H, T): what one member makes of the features."""
    with np.errstate(all="ignore"):
        return model.ensemble.members[index].predict(features)


def combine(model: LoadedModel, points: Sequence[Floats]) -> Floats:
    """Return (N, H, T): the members' forecasts as one."""
    with np.errstate(all="ignore"):
        return model.ensemble.combine(list(points))


def whole(model: LoadedModel, context: Windows) -> Floats:
    """Return (N, H, T): all nodes after another in this process."""
    features = prepare(model, context)
    points = [member(model, index, features) for index in range(len(model.ensemble.members))]
    return combine(model, points)


def each(node: Callable[[Windows], Floats], requests: Sequence[Windows]) -> list[Answer]:
    """Run a node once for several requests; where that fails, once for each, so that a bad one fails alone."""
    try:
        together = node(stack(requests))
    except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to its request
        if len(requests) == 1:
            return [error]
        return [each(node, [request])[0] for request in requests]
    borders = np.cumsum([len(request) for request in requests])[:-1]
    return list(np.split(together, borders))


def checked(values: Floats, job: Job) -> Floats:
    """Return the forecasts (N, ...); raise DataError for a series whose forecast is not finite."""
    fine = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not fine.all():
        at = int(np.argmin(fine))
        raise DataError.at(
            f"series '{job.context.series[at]}': its values are allowed, yet the model cannot compute with them",
            got="a forecast that is not finite",
            expected="values of the size that the model was trained on",
            field=f"body.series[{at}].values",
        )
    return values


def describe(model: LoadedModel, job: Job, point: Floats) -> Prediction:
    """Return the Prediction around the point forecasts, the intervals of the calibration with it."""
    with np.errstate(all="ignore"):
        prediction = model.ensemble.describe(job.context, checked(point, job), job.steps, job.levels)
    checked(prediction.values, job)
    return prediction


def answer(prediction: Prediction, model: LoadedModel, *, request_id: str, created_at: str) -> dict[str, Any]:
    """Return the ForecastResponse as plain data."""
    times = np.datetime_as_string(prediction.timestamps, unit="s").tolist()
    return {
        "request_id": request_id,
        "model": {"name": model.name, "version": model.version},
        "created_at": created_at,
        "interval_level": round(prediction.levels[-1] - prediction.levels[0], 12),
        "forecasts": [
            {
                "series_id": series,
                "target": target,
                "unit": model.schema.column(target).unit,
                "steps": _steps(prediction, times[n], n, t),
            }
            for n, series in enumerate(prediction.ids)
            for t, target in enumerate(prediction.targets)
        ],
    }


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
