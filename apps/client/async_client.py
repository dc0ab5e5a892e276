"""The API as Python calls that are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
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


class AsyncClient:
    """`Client`, awaited: the same calls, parameters, retries and errors; used in an `async with` block.

    Parameters
    ----------
    endpoint, api_key, timeout_s, ca_file, retry, transport, sleep
        See `Client`.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        ca_file: Path | None = None,
        retry: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        connection = Connection(endpoint=endpoint, api_key=api_key, timeout_s=timeout_s, ca_file=ca_file)
        self._calls = Calls(endpoint, Retries(retry or RetryPolicy()))
        self._http = httpx.AsyncClient(**connection.options(), transport=transport)
        self._sleep, self._most_s = sleep, PATIENCE_RATIO * timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str) -> httpx.Response:
        """Return the response to a GET, or raise what its problem document says."""
        return await self._run(self._calls.get(path))

    async def post(self, path: str, json: Mapping[str, Any], *, repeatable: bool = False) -> httpx.Response:
        """Return the response to a POST, or raise what its problem document says; see `Client.post`."""
        return await self._run(self._calls.post(path, json, repeatable=repeatable))

    async def models(self) -> list[ServedInfo]:
        """Return what is served."""
        return await self._run(self._calls.models())

    async def model(self, name: str, version: str | None = None) -> ServedInfo:
        """Return what is served under `name`; raise UnknownNameError with the served names."""
        return await self._run(self._calls.model(name, version))

    async def forecast(
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
        return await self._run(
            self._calls.forecast(model, history, version=version, horizon=horizon, levels=levels, future=future)
        )

    async def forecast_table(
        self,
        model: str,
        history: Panel | pa.Table,
        *,
        version: str | None = None,
        horizon: int | None = None,
        levels: Sequence[float] | None = None,
    ) -> pa.Table:
        """Return the forecasts of many series as a table; tables travel both ways, not JSON."""
        return await self._run(self._calls.forecast_table(model, history, version, horizon, levels))

    async def predict(
        self, model: str, rows: pd.DataFrame | Sequence[Mapping[str, Any]], *, version: str | None = None
    ) -> PredictResult:
        """Return the prediction of each row, a table's or a list of column -> value; many are asked in parts."""
        return await self._run(self._calls.predict(model, rows, version))

    async def _run(self, call: Call[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                wanted = call.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(wanted, Ask):
                outcome = await self._send(wanted)
            else:
                await self._sleep(wanted.delay_s)
                outcome = None

    async def _send(self, ask: Ask) -> Outcome:
        try:
            async with self._http.stream(ask.method, ask.path, **ask.options()) as response:
                intake = Intake(response, most_s=self._most_s)
                async for piece in response.aiter_bytes():
                    intake.take(piece)
            return intake.whole()
        except httpx.RequestError as error:
            return error
