"""Every wrong key at every route of the application: refused, and nothing behind the door happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from cluster.clock import ManualClock
from cluster.security.access import Access
from cluster.security.api_key import ApiKey, new_key
from cluster.security.identity import Scope
from cluster.security.key_file import KeyFile
from cluster.security.key_ring import REFRESH_S, KeyRing
from cluster.security.roles import LOWEST, Permission, Role
from serve_deployments.ingress import Ingress

NOW_S = 1_700_000_000.0
OWN_MODEL = {
    "POST /v1/emissions/forecast",
    "POST /v1/anomalies/detect",
    "POST /v1/anomalies/explain",
    "POST /v1/anomalies/feedback",
    "POST /v1/anomalies/stream",
    "POST /v1/predict",
    "GET /api/models/{name}/status",
    "POST /api/deployments",
    "GET /api/deployments/{name}",
    "POST /api/deployments/{name}/{word}",
    "POST /api/experiments",
    "GET /api/experiments/{name}",
    "POST /api/experiments/{name}/stop",
    "POST /api/experiments/{name}/units",
}
"""Routes about one model, where a key that is for others is refused."""
FILTERED = {"GET /api/models", "GET /api/deployments", "GET /api/deployments/history", "GET /api/experiments"}
"""Routes that list: a key sees what it is for."""
ALL_MODELS = {"GET /metrics", "POST /api/cache/forget"}
"""Routes about all models at once."""
NO_MODEL = {"POST /api/outcomes"}
"""A request's id is known to who asked."""


class House:
    """The application behind keys, its routes, and a key of every kind."""

    def __init__(self, whole: Any, folder: Path, connect: Callable[[Any], Any]) -> None:
        self.clock, self.file = ManualClock(NOW_S), KeyFile(folder / "keys.json")
        self.master = self.key(Role.ADMIN)
        access = Access(keys=KeyRing(self.file, self.clock), required=True, roles=True)
        self.app: Ingress = whole.build(folder, access=access)
        self._caller = connect(self.app)

    def key(self, role: Role, scope: Scope | None = None, lasts_s: float | None = None) -> str:
        made: ApiKey = self.file.change(
            lambda book: book.create("k", role, now_s=NOW_S, scope=scope, lasts_s=lasts_s)
        )
        self.clock.advance(REFRESH_S)
        return made.text

    def routes(self) -> list[tuple[str, str, Permission]]:
        api = self.app._api
        return [
            (method, route.path, api.permission_of(method, route.path))
            for route in api.app.routes
            if isinstance(route, Route)
            for method in sorted(set(route.methods or ()) - {"HEAD"})
        ]

    def ask(self, method: str, path: str, headers: dict[str, Any], body: Any = None) -> Any:
        filled = path.replace("{name}", "nox").replace("{word}", "pause")
        return self._caller.request(method, filled, headers=headers, json=body)


@pytest.fixture
def house(whole: Any, tmp_path: Path, connect: Callable[[Any], Any]) -> House:
    return House(whole, tmp_path, connect)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_keys_that_open_nothing_are_refused_everywhere(house: House) -> None:
    good, revoked, rotated = house.master, house.key(Role.ADMIN), house.key(Role.ADMIN)
    expired = house.key(Role.ADMIN, lasts_s=10)
    house.file.change(lambda book: (book.revoke(revoked.split("_")[1], now_s=NOW_S), None))
    house.file.change(lambda book: book.rotate(rotated.split("_")[1], now_s=NOW_S, overlap_s=5))
    house.clock.advance(10 + REFRESH_S)
    head, key_id, secret = good.split("_", 2)
    wrong: dict[str, dict[str, Any]] = {
        "none": {},
        "forged secret": bearer(f"{head}_{key_id}_{new_key().text.split('_', 2)[2]}"),
        "one character off": bearer(good[:-1] + ("A" if good[-1] != "A" else "B")),
        "one character short": bearer(good[:-1]),
        "one character long": bearer(f"{good}A"),
        "never issued": bearer(new_key().text),
        "another id": bearer(f"{head}_{new_key().key_id}_{secret}"),
        "expired": bearer(expired),
        "revoked": bearer(revoked),
        "rotated away": bearer(rotated),
        "another scheme": {"authorization": f"Basic {good}"},
        "a list": bearer(f"{good}, {good}"),
        "empty": bearer(""),
        "long": bearer("hel_" + "a" * 20_000),
        "no text": {"x-api-key": b"hel_\xff\xfe"},
        "its hash": bearer(next(iter(json.loads(house.file.path.read_text())["keys"]))["secrets"][0]["sha256"]),
        "a good one behind a wrong one": {"authorization": f"Bearer {revoked}", "x-api-key": good},
    }
    for method, path, permission in house.routes():
        for what, headers in wrong.items():
            status = house.ask(method, path, headers).status_code
            assert (status == 401) == (permission is not Permission.OPEN), (method, path, what, status)
        assert house.ask(method, path, bearer(good)).status_code not in (401, 403), (method, path)


def test_each_route_asks_for_its_role_and_permission_and_route(house: House) -> None:
    lower = {role: house.key(role) for role in Role}
    for method, path, permission in house.routes():
        least = LOWEST[permission]
        if least is None:
            continue
        for role, key in lower.items():
            status = house.ask(method, path, bearer(key)).status_code
            assert (status == 403) == (role.rank < least.rank), (method, path, role, status)
    elsewhere = house.key(Role.ADMIN, Scope(routes=("/v2/*",)))
    audit = house.key(Role.ADMIN, Scope(permissions=frozenset({Permission.READ_AUDIT})))
    for method, path, permission in house.routes():
        for key in (elsewhere, audit):
            status = house.ask(method, path, bearer(key)).status_code
            assert (status == 403) == (permission is not Permission.OPEN), (method, path, status)


def bodies(forecast: dict[str, Any]) -> dict[str, Any]:
    """Return a right body for each route that takes one about a model."""
    metric = {"name": "clicks", "kind": "proportion", "effect": 0.1}
    arms = {"1.0.0": 0.5, "2.0.0": 0.5}
    hours = [f"2024-03-01T{hour:02}:00:00" for hour in range(24)]
    watched = {"series_id": "a", "timestamps": hours, "values": {"kwh": [100.0] * 24}}
    strange = {"model": "meters", "series": [watched]}
    return {
        "POST /v1/emissions/forecast": forecast,
        "POST /v1/predict": {"model": "goods", "rows": [{"size": 1}]},
        "POST /v1/anomalies/detect": strange,
        "POST /v1/anomalies/explain": strange,
        "POST /v1/anomalies/feedback": {**strange, "outcome": "dismissed", "event": "e"},
        "POST /api/deployments": {"id": "nox", "model": "nox", "version": "2.0.0"},
        "POST /api/deployments/{name}/{word}": {"why": "test"},
        "POST /api/experiments": {
            "id": "nox",
            "model": "nox",
            "arms": arms,
            "control": "1.0.0",
            "metrics": [metric],
        },
        "POST /api/experiments/{name}/stop": {"why": "test"},
        "POST /api/experiments/{name}/units": {"covariates": {"ann": 1.5}},
    }


def test_a_key_for_other_models_reaches_and_sees_none_but_its_own(
    house: House, good_request: dict[str, Any]
) -> None:
    guarded = {
        f"{method} {path}" for method, path, permission in house.routes() if permission is not Permission.OPEN
    }
    assert guarded == OWN_MODEL | FILTERED | ALL_MODELS | NO_MODEL, "a new route: say here how models narrow it"
    other = bearer(house.key(Role.ADMIN, Scope(models=("turbine-*",))))
    own = bearer(house.key(Role.ADMIN, Scope(models=("no[x]", "goods", "meters"))))
    sent, queries = bodies(good_request), {"POST /v1/anomalies/stream": "?model=meters"}
    for route in ("POST /api/deployments", "POST /api/experiments"):
        method, path = route.split()
        assert house.ask(method, path, bearer(house.master), sent[route]).status_code == 200, route
    for route in sorted(OWN_MODEL):
        method, path = route.split()
        asked = method, path + queries.get(route, "")
        assert house.ask(*asked, other, sent.get(route)).status_code == 403, route
        assert house.ask(*asked, own, sent.get(route)).status_code in (200, 404, 409, 422), route
    for route in sorted(FILTERED):
        method, path = route.split()
        (seen,), (hidden,) = (house.ask(method, path, key).json().values() for key in (own, other))
        assert seen and not hidden, route
    for asked in (("GET", "/metrics"), ("POST", "/api/cache/forget?reason=drift")):
        assert {house.ask(*asked, key).status_code for key in (own, other)} == {403}
    forget = "/api/cache/forget?reason=drift&model=nox@1.0.0"
    assert [house.ask("POST", forget, key).status_code for key in (own, other)] == [200, 403]
