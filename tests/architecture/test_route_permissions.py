"""Every route of the served application states what it asks of a key, and the door checks it before the route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from cluster.monitoring.metrics import Metrics
from cluster.security.key_file import KeyFile
from cluster.security.roles import LOWEST, Permission, Role
from serve_deployments.admission import Limits
from serve_deployments.api import FRAMEWORK_PATHS
from serve_deployments.assembly import Assembly
from serve_deployments.graph import GraphSpec, ServedModel
from serve_deployments.ingress import Ingress, build_api
from serve_deployments.service import Service
from serve_deployments.steps import Reply, Visit

OPEN = {"/healthz", "/readyz", *FRAMEWORK_PATHS}
"""All that may be open; a route that joins them needs a line here."""


@dataclass
class Seen:
    """A step that notes what the door asked for, and answers instead of the route."""

    visits: list[Visit] = field(default_factory=list)

    async def __call__(self, asked: Visit, next: Callable[[Visit], Awaitable[Reply]]) -> Reply:  # noqa: A002
        self.visits.append(asked)
        return Reply(status=204, body=b"")


@pytest.fixture
def parts(ensemble_folder: Path, tmp_path: Path) -> Assembly:
    keys = KeyFile(tmp_path / "keys.json")
    keys.change(lambda book: book.create("viewer", Role.VIEWER, now_s=0))
    spec = GraphSpec(
        models=(ServedModel(name="nox", version="1.0.0", uri=str(ensemble_folder)),),
        limits=Limits(max_body_bytes=1000, request_timeout_s=5, max_concurrent_requests=1, max_queued_requests=1),
        cache_dir=str(tmp_path / "cache"),
        keys_file=str(keys.path),
        key_required=True,
        roles_checked=True,
    )
    return Assembly(spec, Metrics(), replica="test")


def routes(app: Ingress) -> list[tuple[str, str]]:
    found = []
    for route in app._api.app.routes:
        assert isinstance(route, Route), f"{route} passes the door by: only HTTP routes are led through it"
        found += [(method, route.path) for method in sorted(route.methods or ())]
    return found


def test_every_route_states_a_permission(parts: Assembly, service: Service) -> None:
    app = build_api(service, more=parts.routes)
    assert isinstance(app, Ingress)
    stated = {(method, path) for method, path in app._api._permissions}
    listed = {(method, path) for method, path in routes(app) if path not in FRAMEWORK_PATHS}
    assert len(listed) > 8
    assert listed == stated, "a route was added beside Api.add: state its permission"
    is_open = {path for method, path in routes(app) if app._api.permission_of(method, path) is Permission.OPEN}
    assert is_open <= OPEN


def test_what_nobody_stated_only_an_administrator_may(service: Service) -> None:
    app = build_api(service)
    assert isinstance(app, Ingress)
    assert app._api.permission_of("DELETE", "/api/models") is Permission.MANAGE_KEYS
    assert LOWEST[Permission.MANAGE_KEYS] is Role.ADMIN


def test_the_door_is_asked_before_every_route_with_its_own_permission(
    parts: Assembly, service: Service, connect: Callable[[Any], Any]
) -> None:
    seen = Seen()
    app = build_api(service, door=[seen], more=parts.routes)
    assert isinstance(app, Ingress)
    caller = connect(app)
    for method, path in routes(app):
        seen.visits.clear()
        answer = caller.request(method, path.replace("{", "").replace("}", ""))
        assert answer.status_code == 204, (method, path)
        (visit,) = seen.visits
        assert (visit.route, visit.permission) == (path, app._api.permission_of(method, path))


def test_without_a_key_only_open_routes_answer(
    parts: Assembly, service: Service, connect: Callable[[Any], Any]
) -> None:
    app = build_api(service, door=parts.door, more=parts.routes)
    assert isinstance(app, Ingress)
    caller = connect(app)
    for method, path in routes(app):
        status = caller.request(method, path.replace("{", "").replace("}", "")).status_code
        assert (status != 401) == (path in OPEN), (method, path, status)
