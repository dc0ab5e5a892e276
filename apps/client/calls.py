"""What a client asks, how it reads the answers, and when it asks again: without any input or output.

A call is a generator. It yields what it wants done, an `Ask` or a `Wait`, is sent the outcome, and returns the
result. The two clients only do what is wanted, one by blocking and one by awaiting, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import orjson

from apps.client.faults import error_of, reading
from apps.client.results import ForecastResult, PredictResult, ServedInfo
from apps.client.retry import Retries
from cluster.errors import DataError, UnknownNameError, UserError
from training.core.future import rows_ahead
from training.core.panel import Panel
from training.core.validation import ID, TIME

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FORECAST_PATH = "/v1/emissions/forecast"
PREDICT_PATH = "/v1/predict"
PART_ROWS = 2000
"""Rows that one request carries: below the service's 5000, so that their text stays below its limit on bodies."""
ARROW = "application/vnd.apache.arrow.stream"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request to send.

    Parameters
    ----------
    method, path
        As HTTP has them.
    json
        Body; none where None.
    params
        Of the query.
    arrow
        Body as an Arrow IPC stream, instead of `json`.
    repeatable
        Whether a second time does no harm: it reads, or computes and changes nothing.
    """

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    params: Mapping[str, str] | None = None
    arrow: bytes | None = None
    repeatable: bool = True

    def options(self) -> dict[str, Any]:
        """Return the arguments of httpx's `request`."""
        if self.arrow is not None:
            return self._with(self.arrow, {"content-type": ARROW, "accept": ARROW})
        if self.json is not None:
            return self._with(_written(self.json), {"content-type": "application/json"})
        return self._with(None, {})

    def _with(self, content: bytes | None, headers: Mapping[str, str]) -> dict[str, Any]:
        return {"content": content, "params": self.params, "headers": headers}


def _written(body: Mapping[str, Any]) -> bytes:
    """Return JSON text; what is not a number becomes null, and the server tells where it stands."""
    try:
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise DataError(f"the request cannot be written as JSON: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Seconds to let pass."""

    delay_s: float


Outcome = httpx.Response | httpx.RequestError | None
"""Of an Ask: an answer, or why there is none; of a Wait: None."""
Call = Generator[Ask | Wait, Outcome, T]


def answered(ask: Ask, retries: Retries, endpoint: str) -> Call[httpx.Response]:
    """Ask until there is an answer or no more hope; raise what the last outcome says."""
    retries.budget.earn()
    tries, waited_s = 0, 0.0
    while True:
        outcome = yield ask
        if outcome is None:
            raise TypeError("an Ask is answered with a response or a transport error")
        if isinstance(outcome, httpx.Response) and not outcome.is_error:
            return outcome
        tries += 1
        # What never reached a server may always be repeated.
        safe = ask.repeatable or isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout)
        delay_s = retries.delay_s(tries, outcome, waited_s) if safe else None
        if delay_s is None:
            error = error_of(outcome, endpoint)
            raise error from (outcome if isinstance(outcome, Exception) else None)
        yield Wait(delay_s=delay_s)
        waited_s += delay_s


class Calls:
    """The calls of one client.

    Parameters
    ----------
    endpoint
        Base URL, for messages.
    retries
        When to ask again.
    """

    def __init__(self, endpoint: str, retries: Retries) -> None:
        self._endpoint, self._retries = endpoint, retries

    def get(self, path: str) -> Call[httpx.Response]:
        """Read a path."""
        return (yield from self._answered(Ask(method="GET", path=path)))

    def post(self, path: str, json: Mapping[str, Any], *, repeatable: bool) -> Call[httpx.Response]:
        """Send a body to a path."""
        return (yield from self._answered(Ask(method="POST", path=path, json=json, repeatable=repeatable)))

    def models(self) -> Call[list[ServedInfo]]:
        """List what is served."""
        response = yield from self.get("/api/models")
        with reading(response, self._endpoint):
            return [ServedInfo.from_json(info) for info in response.json()["models"]]

    def model(self, name: str, version: str | None) -> Call[ServedInfo]:
        """Find a served version; the first of its name where none is asked for."""
        infos = yield from self.models()
        found = [info for info in infos if info.name == name and version in (None, info.version)]
        if not found:
            raise UnknownNameError.of("served model", name, {f"{info.name} {info.version}" for info in infos})
        return found[0]

    def forecast(
        self,
        model: str,
        history: Panel | Sequence[Mapping[str, Any]],
        *,
        version: str | None,
        horizon: int | None,
        levels: Sequence[float] | None,
        future: pd.DataFrame | None,
    ) -> Call[ForecastResult]:
        """Forecast what follows each series; with a future, the model is first asked what it knows ahead."""
        series: Sequence[Mapping[str, Any]]
        if future is not None:
            series = with_future(history, future, (yield from self.model(model, version)))
        else:
            series = series_of(history) if isinstance(history, Panel) else list(history)
        body: dict[str, Any] = {"model": model, "series": series}
        optional = {"version": version, "horizon": horizon, "levels": levels and list(levels)}
        body |= {key: value for key, value in optional.items() if value is not None}
        response = yield from self._answered(Ask(method="POST", path=FORECAST_PATH, json=body))
        with reading(response, self._endpoint):
            return ForecastResult.from_json(response.json())

    def predict(
        self, model: str, rows: pd.DataFrame | Sequence[Mapping[str, Any]], version: str | None
    ) -> Call[PredictResult]:
        """Predict rows, in parts where there are many; the version that answers the first part answers all."""
        listed = rows if isinstance(rows, Sequence) else records_of(rows)
        answers: list[Mapping[str, Any]] = []
        for start in range(0, max(1, len(listed)), PART_ROWS):
            body = {"model": model, "rows": listed[start : start + PART_ROWS]}
            named = body if version is None else {**body, "version": version}
            response = yield from self._answered(Ask(method="POST", path=PREDICT_PATH, json=named))
            with reading(response, self._endpoint):
                answers.append(response.json())
                version = str(answers[0]["model"]["version"])
        with reading(response, self._endpoint):
            return PredictResult.from_json(answers)

    def forecast_table(
        self,
        model: str,
        history: Panel | pa.Table,
        version: str | None,
        horizon: int | None,
        levels: Sequence[float] | None,
    ) -> Call[pa.Table]:
        """Forecast many series, as tables both ways."""
        query = {"model": model, "version": version, "horizon": horizon}
        params = {name: str(value) for name, value in query.items() if value is not None}
        if levels:
            params["levels"] = ",".join(map(str, levels))
        ask = Ask(method="POST", path=FORECAST_PATH, params=params, arrow=stream_of(history))
        response = yield from self._answered(ask)
        with reading(response, self._endpoint):
            return read_stream(response.content)

    def _answered(self, ask: Ask) -> Call[httpx.Response]:
        return answered(ask, self._retries, self._endpoint)


def stream_of(history: Panel | pa.Table) -> bytes:
    """Return a table as a plain Arrow IPC stream: `series_id`, `timestamp`, and the columns of the model."""
    import pyarrow as pa

    if isinstance(history, Panel):
        frame = history.frame[[ID, TIME, *history.schema.names]]
        history = pa.Table.from_pandas(frame.assign(**{ID: frame[ID].astype(str)}), preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, history.schema) as writer:
        writer.write_table(history)
    return bytes(sink.getvalue())


def read_stream(content: bytes) -> pa.Table:
    """Return the table of an Arrow IPC stream."""
    import pyarrow as pa

    return pa.ipc.open_stream(content).read_all()


def records_of(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as the API's JSON: nothing where a value is missing, times as ISO 8601."""
    missing = rows.isna()
    plain = rows.astype(object).where(~missing, None)
    text = orjson.dumps(
        plain.to_dict(orient="records"),
        default=str,
        option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS,
    )
    records: list[dict[str, Any]] = orjson.loads(text)
    return records


def series_of(history: Panel) -> list[dict[str, Any]]:
    """Return the panel as the API's columnar JSON."""
    return [
        {
            "series_id": str(series),
            "timestamps": [time.isoformat() for time in rows[TIME]],
            "values": {name: rows[name].tolist() for name in history.schema.names},
        }
        for series, rows in history.frame.groupby(ID, sort=False)
    ]


def with_future(
    history: Panel | Sequence[Mapping[str, Any]], future: pd.DataFrame, served: ServedInfo
) -> list[dict[str, Any]]:
    """Return a panel as the API's columnar JSON, each series with the rows that follow it.

    Raises
    ------
    UserError
        The model knows nothing ahead; the history is JSON, whose series hold their own `future`; or the future has
        a fault, see `training.core.future.rows_ahead`.
    """
    if not isinstance(history, Panel):
        raise UserError("future: got a table beside series of JSON, expected a Panel, or a `future` in each series")
    if not served.known:
        raise UserError(f"'{served.name}' {served.version} knows nothing ahead: leave `future` out")
    context = history.last(1)
    ahead = rows_ahead(future, context, history.schema, served.known, served.horizon)
    rows = ahead.rows.reshape(len(context), served.horizon, len(served.known))
    columns = {
        series: {name: rows[at, :, place].tolist() for place, name in enumerate(served.known)}
        for at, series in enumerate(context.ids)
    }
    return [{**each, "future": columns[each["series_id"]]} for each in series_of(history)]
