"""Many series in one request, errors apart: a good series beside a bad one still gets its forecast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from cluster.errors import DataError, UserError
from training.core.estimator import DEFAULT_LEVELS, Forecaster
from training.core.future import check_future_columns
from training.core.panel import Panel
from training.core.prediction import Prediction, check_horizon, check_levels
from training.core.schema import Schema
from training.core.validation import ID, check_columns
from training.core.windows import Ints


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """What came of a request.

    Parameters
    ----------
    prediction
        Of the good series, in the request's order; None where there is none.
    errors
        Series -> what is wrong with it, in the request's order.
    """

    prediction: Prediction | None
    errors: Mapping[str, UserError]


def forecast_each(
    forecaster: Forecaster,
    frame: pd.DataFrame,
    schema: Schema,
    *,
    horizon: int | None = None,
    future: pd.DataFrame | None = None,
    levels: tuple[float, ...] = DEFAULT_LEVELS,
) -> Forecasts:
    """Forecast each series of a table that nobody has checked yet.

    The good series are forecast together. Only where that fails is the request halved, and halved again around each
    bad series: B bad among N cost about B log2(N) more forecasts, and each error is word for word the one that the
    series gets alone, row labels included.

    Parameters
    ----------
    forecaster
        Fitted and calibrated.
    frame
        `series_id`, `timestamp` and the schema's columns; the rows of a series need not lie together.
    schema
        That it was fitted under.
    horizon, future, levels
        As in `Forecaster.forecast`.

    Raises
    ------
    NotFittedError
        The forecaster is not fitted.
    UserError
        What concerns the request as a whole: the horizon, the levels, a missing column, a missing id, no rows.
    """
    check_horizon(horizon, forecaster.horizon)
    check_levels(levels)
    check_columns(frame, schema)
    rows = _rows_of(frame)
    future_rows = _future_rows(forecaster, future)

    def forecast(names: Sequence[str]) -> Prediction:
        asked = frame.iloc[np.concatenate([rows[name] for name in names])]
        none = np.empty(0, dtype=np.int64)
        theirs = future
        if future is not None:
            theirs = future.iloc[np.concatenate([future_rows.get(name, none) for name in names])]
        panel = Panel(asked, schema).validate()
        return forecaster.forecast(panel, horizon, theirs, levels)

    parts, errors = _apart(forecast, list(rows))
    return Forecasts(prediction=_joined(parts), errors=errors)


def _future_rows(forecaster: Forecaster, future: pd.DataFrame | None) -> dict[str, Ints]:
    """Return series -> positions of its rows in the future; raise what would be wrong for every series."""
    if future is None and forecaster.known:
        needed = f"{forecaster.horizon} rows of {forecaster.known}"
        raise UserError(
            f"future: got no future, expected {needed}, which this model was fitted to know",
            field="future",
            got="no future",
            expected=needed,
        )
    if future is None:
        return {}
    check_future_columns(future, forecaster.known)
    return _rows_of(future) if len(future) else {}


def _rows_of(frame: pd.DataFrame) -> dict[str, Ints]:
    """Return series -> positions of its rows, in order of appearance."""
    codes, names = pd.factorize(frame[ID].astype("string"))
    if not len(frame) or (codes < 0).any():
        at = int(np.argmax(codes < 0)) if len(frame) else None
        raise DataError.at(
            "a series id is missing" if len(frame) else "the table is empty",
            column=ID,
            row=None if at is None else str(frame.index[at]),
            got="nothing",
            expected="an id in every row" if len(frame) else "at least 1 row",
        )
    order = np.argsort(codes, kind="stable")
    borders = np.cumsum(np.bincount(codes))[:-1]
    return dict(zip(map(str, names), np.split(order, borders), strict=True))


def _apart(
    forecast: Callable[[Sequence[str]], Prediction], names: Sequence[str]
) -> tuple[list[Prediction], dict[str, UserError]]:
    """Return predictions that together cover the good series in order, and the errors of the bad ones."""
    try:
        return [forecast(names)], {}
    except UserError as error:
        if len(names) == 1:
            return [], {names[0]: error}
    half = len(names) // 2
    (left, bad_left), (right, bad_right) = (_apart(forecast, part) for part in (names[:half], names[half:]))
    return left + right, bad_left | bad_right


def _joined(parts: Sequence[Prediction]) -> Prediction | None:
    if not parts:
        return None

    def join(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    return replace(
        parts[0],
        ids=tuple(name for part in parts for name in part.ids),
        origins=join("origins"),
        timestamps=join("timestamps"),
        point=join("point"),
        values=join("values"),
        confidence=join("confidence"),
    )
