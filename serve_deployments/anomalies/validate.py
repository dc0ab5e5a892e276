"""From a typed request to the rows that an alarm model judges; each fault with its place in the request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cluster.errors import ConfigError, DataError, HeliotropeError, UnknownNameError
from serve_deployments.anomalies.schemas import DetectRequest, ExplainRequest, MaintenanceWindow, WatchedSeries
from serve_deployments.handlers.faults import check_ids, shape_error
from serve_deployments.handlers.instants import instant, instants
from training.alarms.alarm_model import AlarmModel
from training.alarms.quiet import Maintenance
from training.alarms.series_alarms import SeriesAlarms
from training.core.detector import parts
from training.core.detector_input import read_table
from training.core.panel import Panel
from training.core.validation import ID, TIME
from training.core.windows import Windows


@dataclass(frozen=True, kw_only=True)
class Window:
    """Rows of one series, and what judges them.

    Parameters
    ----------
    fitted
        Of the series.
    panel
        Its rows, with the columns of the model's schema.
    table
        The watched columns of the rows.
    late
        Rows at the start that only lead in.
    """

    fitted: SeriesAlarms
    panel: Panel
    table: Windows
    late: int


@dataclass(frozen=True, kw_only=True)
class DetectJob:
    """A valid request, ready to be computed.

    Parameters
    ----------
    windows
        One a series.
    maintenance
        Times in which nobody is told.
    explain
        Whether the answer says why.
    event
        Id of the one event that is asked for; all when None.
    """

    windows: tuple[Window, ...]
    maintenance: tuple[Maintenance, ...] = ()
    explain: bool = False
    event: str | None = None

    @property
    def rows(self) -> int:
        """How many rows are scored."""
        return sum(len(window.panel) for window in self.windows)


def validate(request: DetectRequest, model: AlarmModel) -> DetectJob:
    """Return the job, or raise the error that names field, got and expected.

    Raises
    ------
    UnknownNameError
        The model does not know a series.
    SchemaError
        A column is missing, unknown, or of another length than the timestamps.
    DataError
        A time is unreadable, a clock runs backwards, a column has no value, or a value is too large.
    InsufficientHistoryError
        A series has fewer rows than the detector's window.
    ConfigError
        A maintenance window ends before it starts.
    """
    check_ids([each.series_id for each in request.series])
    since = None if request.since is None else instant(request.since, "body.since")
    windows = tuple(_window(at, series, model, since) for at, series in enumerate(request.series))
    quiet = tuple(_maintenance(at, each) for at, each in enumerate(request.maintenance))
    explain = isinstance(request, ExplainRequest)
    event = request.event if isinstance(request, ExplainRequest) else None
    return DetectJob(windows=windows, maintenance=quiet, explain=explain, event=event)


def _window(at: int, series: WatchedSeries, model: AlarmModel, since: np.datetime64 | None) -> Window:
    place = f"body.series[{at}]"
    fitted = _known(series.series_id, model, place)
    _check_shape(series, model, place)
    times = instants(series.timestamps, f"{place}.timestamps")
    columns = {name: np.asarray(series.values[name], dtype=np.float64) for name in model.schema.names}
    panel = Panel(pd.DataFrame({ID: series.series_id, TIME: times, **columns}), model.schema)
    try:
        table = read_table(panel, fitted.targets)
        read_table(panel, model.schema.names)
        ((_, only),) = parts(table)
        fitted.check_length(only)
    except HeliotropeError as error:
        raise _placed(error, place, len(times)) from error
    late = 0 if since is None else int(np.searchsorted(times, since))
    if late == len(times):
        raise DataError.at(
            f"{place} has no row to judge",
            got=f"{len(times)} rows before {since}",
            expected="one or more from `since` on",
            field="body.since",
        )
    return Window(fitted=fitted, panel=panel, table=only, late=late)


def _known(name: str, model: AlarmModel, place: str) -> SeriesAlarms:
    try:
        return model.of(name)
    except UnknownNameError as error:
        why = model.errors.get(name)
        expected = f"one of {', '.join(model.series[:20])}"
        got = name[:100] if why is None else f"{name[:100]}, which could not be learned: {why}"
        error.context.update(field=f"{place}.series_id", got=got, expected=expected)
        raise


def _check_shape(series: WatchedSeries, model: AlarmModel, place: str) -> None:
    known = model.schema.names
    for name in known:
        if name not in series.values:
            column = model.schema.column(name)
            raise shape_error(
                "a column is missing", f"{place}.values.{name}", "nothing", f"numbers in {column.unit}"
            )
    for name, numbers in series.values.items():
        if name not in known:
            raise shape_error(
                "a column was never seen", f"{place}.values.{name[:100]}", name[:100], f"one of {', '.join(known)}"
            )
        if len(numbers) != len(series.timestamps):
            raise shape_error(
                "a column has another length than the timestamps",
                f"{place}.values.{name}",
                f"{len(numbers)} values",
                f"{len(series.timestamps)} values, one a timestamp",
            )


def _placed(error: HeliotropeError, place: str, rows: int) -> HeliotropeError:
    """Return the error with its place in the request."""
    context = dict(error.context)
    column, row = context.pop("column", None), context.pop("row", None)
    at = "" if row is None else f"[{row}]"
    field = f"{place}.timestamps{at}" if column in (None, TIME) else f"{place}.values.{column}{at}"
    got = f"{rows} rows" if column is None and row is None else context.get("got")
    what = error.message.partition(": column")[0].partition(": got")[0]
    message = f"{what}: {field}: got {got}, expected {context.get('expected')}"
    return type(error)(message, **{**context, "field": field, "got": str(got)})


def _maintenance(at: int, window: MaintenanceWindow) -> Maintenance:
    place = f"body.maintenance[{at}]"
    start, end = instant(window.start, f"{place}.start"), instant(window.end, f"{place}.end")
    try:
        return Maintenance(
            series=window.series, start=pd.Timestamp(start), end=pd.Timestamp(end), reason=window.reason
        )
    except ConfigError as error:
        error.context.update(field=f"{place}.end", got=window.end, expected=f"a time after {window.start}")
        raise
