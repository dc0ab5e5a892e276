"""The client turns problem documents back into errors; answers come from the real ASGI wire format."""

from __future__ import annotations

import httpx
import pytest

from apps.client import Client, ServedInfo, series_of
from cluster.errors import HeliotropeError, PermanentError, TransientError, UserError
from training.core.panel import Panel
from training.data.bundled import load_sample


def client(status: int, body: object, headers: dict[str, str] | None = None) -> Client:
    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body, headers=headers)

    return Client("http://test", transport=httpx.MockTransport(respond))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, UserError), (422, UserError), (429, TransientError), (503, TransientError), (500, PermanentError)],
)
def test_problem_documents_become_errors(status: int, kind: type[HeliotropeError]) -> None:
    asked = client(status, {"title": "No", "detail": "because"}, {"Retry-After": "7"})
    with pytest.raises(kind, match="because") as caught:
        asked.get("/x")
    if isinstance(caught.value, TransientError):
        assert caught.value.retry_after_s == 7


def test_nobody_listening_is_transient() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(TransientError, match="does not answer"):
        Client("http://test", transport=httpx.MockTransport(refuse)).get("/healthz")


def test_series_travel_column_by_column() -> None:
    panel = load_sample("gas_turbine")
    sent = series_of(Panel(panel.frame.head(3), panel.schema))
    assert len(sent) == 1
    assert sent[0]["timestamps"][0] == "2011-01-01T00:00:00"
    assert set(sent[0]["values"]) == set(panel.schema.names)


def test_served_info_rebuilds_the_schema() -> None:
    info = {
        "name": "m",
        "version": "1.0.0",
        "frequency": "h",
        "targets": ["y"],
        "context": 3,
        "horizon": 2,
        "columns": [
            {"name": "x", "unit": "m", "kind": "float", "low": 0, "high": None},
            {"name": "y", "unit": "kg", "kind": "float", "low": None, "high": None},
        ],
    }
    served = ServedInfo.from_json(info)
    assert served.schema.target_names == ("y",)
    assert served.schema.names == ("y", "x")
