"""From a typed request to the windows a model needs; each fault with its place in the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cluster.errors import ConfigError, DataError, HeliotropeError, InsufficientHistoryError, UserError
from serve_deployments.handlers.faults import check_ids, shape_error
from serve_deployments.handlers.instants import instants
from serve_deployments.handlers.outline import Outline
from serve_deployments.handlers.quick import QuickReader
from serve_deployments.schemas import ForecastRequest, Series
from training.core.estimator import DEFAULT_LEVELS
from training.core.prediction import check_horizon, check_levels
from training.core.schema import Schema
from training.core.validation import ID, TIME, check, check_values
from training.core.windows import Floats, Windows


@dataclass(frozen=True, kw_only=True)
class Job:
    """A valid request, ready to compute.

    Parameters
    ----------
    context
        One window of `context` rows a series.
    steps
        Horizon asked for.
    levels
        Quantile levels, increasing.
    """

    context: Windows
    steps: int
    levels: tuple[float, ...]


def validate(request: ForecastRequest, schema: Schema, model: Outline, quick: QuickReader) -> Job:
    """Return the job, or raise the error that names field, got and expected.

    Parameters
    ----------
    request
        As the wire typed it.
    schema, model
        What it must look like; whose context and horizon it is for.
    quick
        Tried first.

    Raises
    ------
    SchemaError
        A column is missing, unknown or of another length than the timestamps.
    DataError
        A timestamp is unreadable, unsorted, doubled or missing; a value is impossible.
    InsufficientHistoryError
        A series has fewer rows than the model's context.
    UserError
        The horizon is longer than the model's.
    ConfigError
        The levels do not increase within (0, 1).
    """
    steps = steps_of(request.horizon, model.horizon)
    levels = levels_of(request.levels)
    context = None if model.known else quick.read(request.series)
    if context is None:
        context = read_by_table(request, schema, model)
    return Job(context=context, steps=steps, levels=levels)


def read_by_table(request: ForecastRequest, schema: Schema, model: Outline) -> Windows:
    """Return the windows of any right request, by way of a table; each fault raises with its place."""
    check_ids([each.series_id for each in request.series])
    for at, series in enumerate(request.series):
        _check_shape(at, series, schema)
        _check_future(at, series, model)
    frame, rows = frame_of(request.series, schema), model.context
    try:
        check(frame, schema, minimum_rows=rows)
    except (DataError, InsufficientHistoryError) as error:
        raise _placed(error, request.series) from error
    context = _context(request.series, frame, schema, rows)
    if model.known:
        context = replace(context, ahead=_ahead(request.series, context, schema, model))
    return context


def steps_of(asked: int | None, fitted: int) -> int:
    """Return the steps of an answer; raise UserError where the model cannot look as far ahead."""
    try:
        return check_horizon(asked, fitted)
    except UserError as error:
        error.context["field"] = "body.horizon"
        raise


def levels_of(asked: Sequence[float] | None) -> tuple[float, ...]:
    """Return the quantile levels of an answer; raise ConfigError unless they increase within (0, 1)."""
    if asked is None:
        return DEFAULT_LEVELS
    levels = tuple(asked)
    try:
        check_levels(levels)
    except ConfigError as error:
        error.context.update(
            field="body.levels", got=str(list(levels))[:100], expected="increasing numbers between 0 and 1"
        )
        raise
    return levels


def _check_shape(at: int, series: Series, schema: Schema) -> None:
    place, needed = f"body.series[{at}].values", schema.names
    for name in needed:
        if name not in series.values:
            raise shape_error("a column is missing", f"{place}.{name}", "nothing", _column_text(schema, name))
    for name, numbers in series.values.items():
        if name not in needed:
            raise shape_error("a column is unknown", f"{place}.{name[:100]}", name[:100], ", ".join(needed))
        if len(numbers) != len(series.timestamps):
            raise shape_error(
                "a column has another length than the timestamps",
                f"{place}.{name}",
                f"{len(numbers)} values",
                f"{len(series.timestamps)} values, one a timestamp",
            )


def _check_future(at: int, series: Series, model: Outline) -> None:
    place, given = f"body.series[{at}].future", series.future or {}
    known, horizon = model.known, model.horizon
    for name in known:
        if name not in given:
            raise shape_error("a future column is missing", f"{place}.{name}", "nothing", f"{horizon} numbers")
    for name, numbers in given.items():
        if name not in known:
            expected = ", ".join(known) or "no future: this model knows nothing ahead"
            raise shape_error("a future column is unknown", f"{place}.{name[:100]}", name[:100], expected)
        if len(numbers) != horizon:
            raise shape_error(
                "a future column does not span the model's horizon",
                f"{place}.{name}",
                f"{len(numbers)} values",
                f"{horizon} values, one a step",
            )


def _ahead(series: Sequence[Series], context: Windows, schema: Schema, model: Outline) -> Windows:
    """Return what is known of the rows that follow each context; raise DataError at an impossible value."""
    horizon, known = model.horizon, model.known
    times = context.future_times(horizon).reshape(-1)
    futures = [each.future or {} for each in series]
    columns = {name: np.concatenate([np.asarray(each[name], dtype=float) for each in futures]) for name in known}
    frame = pd.DataFrame({TIME: times} | columns)
    for name in known:
        try:
            check_values(frame, schema.column(name))
        except DataError as error:
            at, local = divmod(int(error.context["row"]), horizon)
            field = f"body.series[{at}].future.{name}[{local}]"
            what, got = error.message.partition(":")[0], error.context["got"]
            raise DataError.at(what, got=got, expected=error.context["expected"], field=field) from error
    return following(context, frame[list(known)].to_numpy(), known, horizon)


def following(context: Windows, rows: Floats, columns: Sequence[str], horizon: int) -> Windows:
    """Return (N * horizon, C) rows as the windows that follow each of the context's."""
    offsets = np.arange(len(context) + 1, dtype=np.int64) * horizon
    return Windows(
        rows=rows,
        times=context.future_times(horizon).reshape(-1),
        segments=offsets,
        starts=offsets[:-1],
        length=horizon,
        columns=tuple(columns),
        series=context.series,
        frequency=context.frequency,
    )


def _column_text(schema: Schema, name: str) -> str:
    return f"numbers in {schema.column(name).range_text()}"


def frame_of(series: Sequence[Series], schema: Schema) -> pd.DataFrame:
    """Return the series as one long table."""
    columns: Mapping[str, object] = {
        ID: np.repeat(
            np.array([each.series_id for each in series], dtype=object), [len(each.timestamps) for each in series]
        ),
        TIME: np.concatenate(
            [instants(each.timestamps, f"body.series[{at}].timestamps") for at, each in enumerate(series)]
        ),
        **{
            name: np.concatenate([np.asarray(each.values[name], dtype=np.float64) for each in series])
            for name in schema.names
        },
    }
    return pd.DataFrame(columns)


def _context(series: Sequence[Series], frame: pd.DataFrame, schema: Schema, rows: int) -> Windows:
    """Return the last `rows` rows of each series as compact windows."""
    count = len(series)
    ends = np.cumsum([len(each.timestamps) for each in series])
    kept = (ends[:, None] + np.arange(-rows, 0)).reshape(-1)
    offsets = np.arange(0, (count + 1) * rows, rows, dtype=np.int64)
    return Windows(
        rows=np.column_stack([frame[name].to_numpy()[kept] for name in schema.names]),
        times=frame[TIME].to_numpy()[kept],
        segments=offsets,
        starts=offsets[:-1],
        length=rows,
        columns=schema.names,
        series=tuple(each.series_id for each in series),
        frequency=schema.frequency,
    )


def _placed(error: HeliotropeError, series: Sequence[Series]) -> HeliotropeError:
    """Return the error with the place in the request instead of the place in the joined table."""
    context = dict(error.context)
    row, at = context.pop("row", None), 0
    if row is None:
        at = next((i for i, each in enumerate(series) if each.series_id == context.get("series")), 0)
        field = f"body.series[{at}].timestamps"
        return type(error)(error.message, **{**context, "field": field, "got": f"{context['got']} rows"})
    local = int(row)
    while local >= len(series[at].timestamps):
        local -= len(series[at].timestamps)
        at += 1
    column = context["column"]
    part = "timestamps" if column == TIME else f"values.{column}"
    field = f"body.series[{at}].{part}[{local}]"
    what = error.message.partition(":")[0]
    message = f"{what}: {field}: got {context['got']}, expected {context['expected']}"
    return type(error)(message, **{**context, "field": field, "row": local})
