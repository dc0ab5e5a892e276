"""A table of many series to the windows a model needs, and forecasts to a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cluster.errors import DataError, HeliotropeError, InsufficientHistoryError, UserError
from serve_deployments.handlers.arrow import BulkQuestion
from serve_deployments.handlers.validate import Job, levels_of, steps_of
from training.core.prediction import Prediction
from training.core.schema import Schema
from training.core.validation import ID, TIME, check
from training.core.windows import Windows

if TYPE_CHECKING:
    from training.models.ensemble import Ensemble


def validate_table(question: BulkQuestion, schema: Schema, model: Ensemble) -> Job:
    """Return the job of a table: the last rows of each series, checked as everywhere else.

    Raises
    ------
    UserError
        The model knows columns ahead, which tables do not carry.
    HeliotropeError
        What `validate` raises, with the row of the table.
    """
    steps, levels = steps_of(question.options.horizon, model.horizon), levels_of(question.options.levels)
    if model.known:
        raise UserError(f"this model knows {', '.join(model.known)} ahead, which tables do not carry: send JSON")
    frame = _frame(question.table, schema)
    try:
        check(frame, schema, minimum_rows=model.context)
    except (DataError, InsufficientHistoryError) as error:
        raise _placed(error) from error
    return Job(context=_context(frame, schema, model.context), steps=steps, levels=levels)


def _frame(table: pa.Table, schema: Schema) -> pd.DataFrame:
    try:
        columns: dict[str, Any] = {
            ID: table.column(ID).cast(pa.string()).to_pandas().astype(object),
            TIME: table.column(TIME).cast(pa.timestamp("ns")).to_pandas(),
            **{name: table.column(name).cast(pa.float64()).to_numpy() for name in schema.names},
        }
    except (pa.ArrowException, KeyError) as error:
        raise DataError.at(
            "the table does not have the model's columns",
            got=str(error)[:200],
            expected=", ".join((f"{ID} (text)", f"{TIME} (timestamp)", *schema.names)),
            field="body",
        ) from error
    return pd.DataFrame(columns)


def _placed(error: HeliotropeError) -> HeliotropeError:
    """Return the error with the place in the table as its field."""
    column, row = error.context.get("column") or ID, error.context.get("row")
    place = f"body.{column}" if row is None else f"body.{column}[{row}]"
    return type(error)(error.message, **{**error.context, "field": place})


def _context(frame: pd.DataFrame, schema: Schema, rows: int) -> Windows:
    """Return the last `rows` rows of each series as compact windows."""
    ids = frame[ID].to_numpy()
    ends = np.append(np.flatnonzero(ids[1:] != ids[:-1]) + 1, len(ids))
    kept = (ends[:, None] + np.arange(-rows, 0)).reshape(-1)
    offsets = np.arange(len(ends) + 1, dtype=np.int64) * rows
    return Windows(
        rows=np.ascontiguousarray(frame[list(schema.names)].to_numpy()[kept]),
        times=frame[TIME].to_numpy()[kept],
        segments=offsets,
        starts=offsets[:-1],
        length=rows,
        columns=schema.names,
        series=tuple(ids[ends - 1].tolist()),
        frequency=schema.frequency,
    )


def table_of(prediction: Prediction) -> pa.Table:
    """Return one row a series, target and step: the long table of `Prediction.to_frame`, bounds named."""
    n, steps, targets = prediction.point.shape
    by_target = (0, 2, 1)
    columns: dict[str, Any] = {
        ID: pa.array(prediction.ids).take(pa.array(np.repeat(np.arange(n), targets * steps))),
        "target": pa.array(prediction.targets).take(pa.array(np.tile(np.repeat(np.arange(targets), steps), n))),
        TIME: np.repeat(prediction.timestamps[:, None], targets, axis=1).reshape(-1),
        "prediction": prediction.point.transpose(by_target).reshape(-1),
        "confidence": prediction.confidence.transpose(by_target).reshape(-1),
    }
    for at, level in enumerate(prediction.levels):
        columns[f"q{level:g}"] = prediction.values[..., at].transpose(by_target).reshape(-1)
    return pa.table(columns)
