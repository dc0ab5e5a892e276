"""A table of many series to the windows a model needs, and forecasts to a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from cluster.errors import DataError, HeliotropeError, InsufficientHistoryError
from serve_deployments.handlers.arrow import BulkQuestion
from serve_deployments.handlers.faults import shape_error
from serve_deployments.handlers.outline import Outline
from serve_deployments.handlers.validate import Job, following, levels_of, steps_of
from training.core.prediction import Prediction
from training.core.schema import Schema
from training.core.validation import ID, TIME, check, check_values
from training.core.windows import Windows


def validate_table(question: BulkQuestion, schema: Schema, model: Outline) -> Job:
    """Return the job of a table: the last rows of each series, checked as everywhere else.

    For a model that knows columns ahead, the last rows of each series, as many as its whole horizon, are those that
    follow the history: they hold what is known, and nothing in the other columns.

    Raises
    ------
    HeliotropeError
        What `validate` raises, with the row of the table.
    """
    steps, levels = steps_of(question.options.horizon, model.horizon), levels_of(question.options.levels)
    frame = _frame(question.table, schema)
    try:
        if not model.known:
            check(frame, schema, minimum_rows=model.context)
            return Job(context=_context(frame, schema, model.context), steps=steps, levels=levels)
        after = _after_history(frame, schema, model.horizon)
        check(frame[~after], schema, minimum_rows=model.context)
        context = _context(frame[~after], schema, model.context)
        return Job(
            context=replace(context, ahead=_ahead(frame[after], context, schema, model)), steps=steps, levels=levels
        )
    except (DataError, InsufficientHistoryError) as error:
        raise _placed(error) from error


def _after_history(frame: pd.DataFrame, schema: Schema, horizon: int) -> npt.NDArray[np.bool_]:
    """Return (R,) which rows follow a history: the last `horizon` of each series, those without targets.

    Raises
    ------
    DataError
        These are not the same rows.
    """
    last = frame.groupby(ID, sort=False).cumcount(ascending=False).to_numpy() < horizon
    targets = list(schema.target_names)
    without = frame[targets].isna().all(axis=1).to_numpy()
    if (last != without).any():
        row = int(np.argmax(last != without))
        raise DataError.at(
            "what is known ahead does not stand after the history",
            column=targets[0],
            row=row,
            got="nothing" if without[row] else f"{frame[targets[0]].iloc[row]:g}",
            expected=f"{horizon} rows without {' and '.join(targets)} at the end of each series, and no others",
        )
    return last


def _ahead(after: pd.DataFrame, context: Windows, schema: Schema, model: Outline) -> Windows:
    """Return what is known of the rows after each history; raise the DataError of the first wrong one."""
    wanted = {
        ID: np.repeat(np.array(context.series, dtype=object), model.horizon),
        TIME: context.future_times(model.horizon).reshape(-1),
    }
    for name, expected in wanted.items():
        _follows(after, name, expected)
    for name in set(schema.names) - set(model.known) - set(schema.static_names):
        if told := np.flatnonzero(after[name].notna()).tolist():
            raise DataError.at(
                "a value after the history is none that this model knows ahead",
                column=name,
                row=int(after.index[told[0]]),
                got=f"{after[name].iloc[told[0]]:g}",
                expected=f"nothing; ahead it knows {', '.join(model.known)}",
            )
    for name in model.known:
        check_values(after, schema.column(name))
    return following(context, after[list(model.known)].to_numpy(dtype=np.float64), model.known, model.horizon)


def _follows(after: pd.DataFrame, name: str, expected: npt.NDArray[Any]) -> None:
    got = after[name].to_numpy()
    wrong = np.array([len(got) != len(expected)]) if len(got) != len(expected) else got != expected
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError.at(
            "a row does not follow its series' history",
            column=name,
            row=int(after.index[at]),
            got=str(got[at])[:100],
            expected=str(expected[at])[:100],
        )


def _frame(table: pa.Table, schema: Schema) -> pd.DataFrame:
    unknown = [name for name in table.column_names if name not in (ID, TIME, *schema.names)]
    if unknown:
        raise shape_error(
            "a column is unknown",
            f"body.{unknown[0][:100]}",
            unknown[0][:100],
            ", ".join((ID, TIME, *schema.names)),
        )
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
