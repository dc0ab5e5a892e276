"""Calls the HTTP API as any client would, and turns its problem documents back into our errors."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from cluster.errors import PermanentError, TransientError, UnknownNameError, UserError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME

API_KEY_VARIABLE = "HELIOTROPE_API_KEY"
"""Where the commands take their key from; not a setting, which would show in `heliotrope status`."""


@dataclass(frozen=True, kw_only=True)
class ServedInfo:
    """What a client must know of a served version.

    Parameters
    ----------
    name, version
        As registered.
    schema
        What its requests must hold.
    context, horizon
        Rows of history it needs, steps it forecasts at most.
    """

    name: str
    version: str
    schema: Schema
    context: int
    horizon: int

    @classmethod
    def from_json(cls, info: dict[str, Any]) -> Self:
        """Read an entry of GET /api/models."""
        columns = [Column(**column) for column in info["columns"]]
        schema = Schema(
            name=info["name"],
            frequency=info["frequency"],
            targets=tuple(column for column in columns if column.name in info["targets"]),
            covariates=tuple(column for column in columns if column.name not in info["targets"]),
        )
        return cls(
            name=info["name"],
            version=info["version"],
            schema=schema,
            context=info["context"],
            horizon=info["horizon"],
        )


class Client:
    """A client of the forecast API; used in a `with` block, it closes its connections.

    Parameters
    ----------
    endpoint
        Base URL, e.g. `http://127.0.0.1:8000`.
    api_key
        Sent as a bearer token where given.
    timeout_s
        Of one request.
    transport
        How bytes travel; httpx's own when None.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(base_url=endpoint, headers=headers, timeout=timeout_s, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str) -> httpx.Response:
        """Return the response to a GET, or raise what its problem document says."""
        return self._send("GET", path)

    def model(self, name: str, version: str | None = None) -> ServedInfo:
        """Return what is served under `name`; raise UnknownNameError with the served names."""
        infos = [ServedInfo.from_json(info) for info in self.get("/api/models").json()["models"]]
        found = [info for info in infos if info.name == name and version in (None, info.version)]
        if not found:
            raise UnknownNameError.of("served model", name, {f"{info.name} {info.version}" for info in infos})
        return found[0]

    def forecast(
        self,
        model: str,
        history: Panel,
        *,
        version: str | None = None,
        horizon: int | None = None,
        levels: tuple[float, ...] | None = None,
    ) -> dict[str, Any]:
        """Return the forecast of each series in `history`, as the API's JSON."""
        body: dict[str, Any] = {"model": model, "series": series_of(history)}
        optional = {"version": version, "horizon": horizon, "levels": levels}
        body |= {key: value for key, value in optional.items() if value is not None}
        answer: dict[str, Any] = self._send("POST", "/v1/emissions/forecast", json=body).json()
        return answer

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise TransientError(
                f"{self._http.base_url} does not answer ({error}): is the platform up? See `heliotrope status`"
            ) from error
        if response.is_error:
            _raise(response)
        return response


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


def _raise(response: httpx.Response) -> None:
    problem = response.json() if "json" in response.headers.get("content-type", "") else {}
    detail = problem.get("detail") or response.text[:200]
    message = f"{response.status_code} {problem.get('title', response.reason_phrase)}: {detail}"
    if response.status_code in (429, 503):
        raise TransientError(message, retry_after_s=float(response.headers.get("Retry-After", 1)))
    raise (UserError if response.is_client_error else PermanentError)(message, problem=problem)
