"""Calls the HTTP API as any client would, and turns its problem documents back into our errors."""

from __future__ import annotations

from typing import Any

import httpx

from cluster.errors import PermanentError, TransientError, UserError
from training.core.panel import Panel
from training.core.validation import ID, TIME


class Client:
    """A client of the forecast API.

    Parameters
    ----------
    endpoint
        Base URL, e.g. `http://127.0.0.1:8000`.
    api_key
        Sent as a bearer token where given.
    timeout_s
        Of one request.
    """

    def __init__(self, endpoint: str, *, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(base_url=endpoint, headers=headers, timeout=timeout_s)

    def get(self, path: str) -> httpx.Response:
        """Return the response to a GET, or raise what its problem document says."""
        return self._send("GET", path)

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
