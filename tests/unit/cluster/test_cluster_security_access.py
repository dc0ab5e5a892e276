"""Roles, scopes and the door: who may do what."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import ConfigError, ForbiddenError, UnauthenticatedError
from cluster.security.access import Access
from cluster.security.identity import ANONYMOUS, ANYBODY, Identity, Scope
from cluster.security.key_file import KeyFile
from cluster.security.key_ring import KeyRing
from cluster.security.roles import LOWEST, PERMISSIONS, Permission, Role, permission_named, role_named

FORECAST_ROUTE = "/v1/emissions/forecast"


def enter(access: Access, headers: dict[str, str], permission: Permission, route: str = "") -> Identity:
    found = access.identify(headers, permission)
    access.allow(found, permission, route)
    return found


def identity(role: Role, scope: Scope | None = None) -> Identity:
    return Identity(key_id="0123456789ab", name="ci", role=role, scope=scope or Scope())


def test_every_permission_stands_in_the_table() -> None:
    assert set(LOWEST) == set(Permission)


def test_each_role_may_all_that_the_one_before_may_and_more() -> None:
    assert PERMISSIONS[Role.VIEWER] < PERMISSIONS[Role.PREDICTOR] < PERMISSIONS[Role.OPERATOR]
    assert PERMISSIONS[Role.OPERATOR] < PERMISSIONS[Role.ADMIN] == frozenset(Permission)


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        (Role.VIEWER, Permission.READ_METRICS, Permission.FORECAST),
        (Role.PREDICTOR, Permission.FORECAST, Permission.OPERATE),
        (Role.OPERATOR, Permission.ROLL_OUT, Permission.MANAGE_KEYS),
    ],
)
def test_the_border_of_each_role(role: Role, may: Permission, may_not: Permission) -> None:
    identity(role).need(may)
    with pytest.raises(ForbiddenError, match=f"expected role {LOWEST[may_not]}") as raised:
        identity(role).need(may_not)
    assert raised.value.context["field"] == "header.authorization"


def test_a_scope_narrows_to_permissions_routes_and_models() -> None:
    only = Scope(
        permissions=frozenset({Permission.FORECAST}), routes=("/v1/emissions/*",), models=("turbine-*", "nox")
    )
    caller = identity(Role.ADMIN, only)
    caller.need(Permission.FORECAST, FORECAST_ROUTE)
    caller.need(Permission.OPEN, "/healthz")
    caller.need_model("turbine-7")
    caller.need_model("nox")
    with pytest.raises(ForbiddenError, match=r"a key for 'metrics\.read'"):
        caller.need(Permission.READ_METRICS, FORECAST_ROUTE)
    with pytest.raises(ForbiddenError, match="a key for the routes"):
        caller.need(Permission.FORECAST, "/v2/forecast")
    with pytest.raises(ForbiddenError, match="a key for the models turbine-\\*, nox"):
        caller.need_model("co")
    with pytest.raises(ForbiddenError, match="a key for the models"):
        caller.need_model("NOX")


def test_a_message_does_not_repeat_a_long_name_whole() -> None:
    with pytest.raises(ForbiddenError) as raised:
        identity(Role.ADMIN, Scope(models=("nox",))).need_model("x" * 100_000)
    assert len(raised.value.message) < 300


def test_names_of_roles_and_permissions_are_read_or_listed() -> None:
    assert role_named("admin") is Role.ADMIN
    assert permission_named("forecast") is Permission.FORECAST
    with pytest.raises(ConfigError, match="viewer, predictor, operator, admin"):
        role_named("root")
    with pytest.raises(ConfigError, match=r"models\.read"):
        permission_named("all")


def test_without_authentication_anybody_may_do_anything() -> None:
    assert enter(Access(), {}, Permission.MANAGE_KEYS) is ANYBODY


def test_the_door(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    viewer = file.change(lambda book: book.create("dash", Role.VIEWER, now_s=0)).text
    scope = Scope(models=("nox",))
    caller = file.change(lambda book: book.create("app", Role.PREDICTOR, now_s=0, scope=scope)).text
    strict = Access(keys=KeyRing(file), required=True, roles=True)
    assert enter(strict, {}, Permission.OPEN) is ANONYMOUS
    with pytest.raises(UnauthenticatedError, match="got no key"):
        enter(strict, {}, Permission.FORECAST)
    with pytest.raises(ForbiddenError):
        enter(strict, {"x-api-key": viewer}, Permission.FORECAST)
    asking = enter(strict, {"authorization": f"Bearer {caller}"}, Permission.FORECAST, FORECAST_ROUTE)
    assert asking.name == "app"
    strict.enter_model(asking, "nox")
    with pytest.raises(ForbiddenError):
        strict.enter_model(asking, "co")
    loose = Access(keys=KeyRing(file))
    assert enter(loose, {}, Permission.FORECAST) is ANONYMOUS
    assert enter(loose, {"x-api-key": viewer}, Permission.FORECAST).name == "dash"
    loose.enter_model(asking, "co")
    with pytest.raises(UnauthenticatedError):
        enter(loose, {"x-api-key": "wrong"}, Permission.FORECAST)


def test_anonymous_callers_may_predict_but_not_operate() -> None:
    ANONYMOUS.need(Permission.FORECAST)
    with pytest.raises(ForbiddenError):
        ANONYMOUS.need(Permission.OPERATE)
