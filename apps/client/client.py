"""The API as Python calls that block."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

from apps.client.calls import Ask, Call, Calls, Outcome
from apps.client.connection import Connection
from apps.client.intake import PATIENCE_RATIO, Intake
from apps.client.results import ForecastResult, PredictResult, ServedInfo
from apps.client.retry import Retries, RetryPolicy
from training.core.panel import Panel

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")


class Client:
    """A client of the forecast API; used in a `with` block, it closes its connections.

    What is safe to repeat is repeated where the fault may pass, see `retry`. Errors are those of `cluster.errors`.

    Parameters
    ----------
    endpoint
        Base URL, e.g. `http://127.0.0.1:8000`.
    api_key
        Sent as a bearer token where given.
    timeout_s
        Longest silence while waiting for an answer; the whole of it may take ten times as long.
    ca_file
        Certificates to trust beside the public ones.
    retry
        When to ask again; `RetryPolicy(attempts=1)` never does.
    transport
        How bytes travel; httpx's own when None.
    sleep
        How time passes between tries.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        ca_file: Path | None = None,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        connection = Connection(endpoint=endpoint, api_key=api_key, timeout_s=timeout_s, ca_file=ca_file)
        self._calls = Calls(endpoint, Retries(retry or RetryPolicy()))
        self._http = httpx.Client(**connection.options(), transport=transport)
        self._sleep, self._most_s = sleep, PATIENCE_RATIO * timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str) -> httpx.Response:
        """Return the response to a GET, or raise what its problem document says."""
        return self._run(self._calls.get(path))

    def post(self, path: str, json: Mapping[str, Any], *, repeatable: bool = False) -> httpx.Response:
        """Return the response to a POST, or raise what its problem document says.

        Parameters
        ----------
        path, json
            Where to, and the body.
        repeatable
            Whether a second time does no harm, so that it is tried again where the fault may pass.
        """
        return self._run(self._calls.post(path, json, repeatable=repeatable))

    def models(self) -> list[ServedInfo]:
        """Return what is served."""
        return self._run(self._calls.models())

    def model(self, name: str, version: str | None = None) -> ServedInfo:
        """Return what is served under `name`; raise UnknownNameError with the served names."""
        return self._run(self._calls.model(name, version))

    def forecast(
        self,
        model: str,
        history: Panel | Sequence[Mapping[str, Any]],
        *,
        version: str | None = None,
        horizon: int | None = None,
        levels: Sequence[float] | None = None,
        future: pd.DataFrame | None = None,
    ) -> ForecastResult:
        """Return the forecast of each series in `history`, a Panel or the API's columnar JSON.

        A model that knows columns ahead needs a `future` beside a Panel: `series_id`, `timestamp` and those
        columns, at least the rows of its whole horizon after each series.
        """
        return self._run(
            self._calls.forecast(model, history, version=version, horizon=horizon, levels=levels, future=future)
        )

    def forecast_table(
        self,
        model: str,
        history: Panel | pa.Table,
        *,
        version: str | None = None,
        horizon: int | None = None,
        levels: Sequence[float] | None = None,
    ) -> pa.Table:
        """Return the forecasts of many series as a table; tables travel both ways, not JSON."""
        return self._run(self._calls.forecast_table(model, history, version, horizon, levels))

    def predict(
        self, model: str, rows: pd.DataFrame | Sequence[Mapping[str, Any]], *, version: str | None = None
    ) -> PredictResult:
        """Return the prediction of each row, a table's or a list of column -> value; many are asked in parts."""
        return self._run(self._calls.predict(model, rows, version))

    def _run(self, call: Call[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                wanted = call.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(wanted, Ask):
                outcome = self._send(wanted)
            else:
                self._sleep(wanted.delay_s)
                outcome = None

    def _send(self, ask: Ask) -> Outcome:
        try:
            with self._http.stream(ask.method, ask.path, **ask.options()) as response:
                intake = Intake(response, most_s=self._most_s)
                for piece in response.iter_bytes():
                    intake.take(piece)
            return intake.whole()
        except httpx.RequestError as error:
            return error
