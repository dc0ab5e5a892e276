"""API keys: seen once, stored as hashes, checked."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cluster.clock import ManualClock
from cluster.errors import ConfigError, ForbiddenError, PermanentError, UnauthenticatedError
from cluster.security.keys import ANONYMOUS, KeyRing, create_key, presented_key, read_keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "keys.json"


def test_a_created_key_lets_its_owner_in(path: Path) -> None:
    key = create_key(path, "ci", ["forecast"], ManualClock(0))
    identity = KeyRing(path).identify(key)
    assert (identity.name, identity.roles) == ("ci", frozenset({"forecast"}))


def test_the_file_holds_no_key_and_is_closed_to_others(path: Path) -> None:
    key = create_key(path, "ci", ["read"], ManualClock(0))
    assert key not in path.read_text()
    assert key.removeprefix("hel_") not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["keys"][0]["created_at"] == "1970-01-01T00:00:00+00:00"


def test_keys_are_all_different_and_earlier_ones_stay(path: Path) -> None:
    keys = [create_key(path, f"user-{i}", ["read"]) for i in range(5)]
    assert len(set(keys)) == 5
    ring = KeyRing(path)
    assert [ring.identify(key).name for key in keys] == [f"user-{i}" for i in range(5)]


@pytest.mark.parametrize("wrong", ["", "hel_", "hel_" + "A" * 43, "x" * 10_000, "ключ"])
def test_an_unknown_key_is_refused(path: Path, wrong: str) -> None:
    create_key(path, "ci", ["read"])
    with pytest.raises(UnauthenticatedError, match="not in the key file"):
        KeyRing(path).identify(wrong)


def test_a_key_created_later_works_without_a_restart(path: Path) -> None:
    create_key(path, "first", ["read"])
    ring = KeyRing(path)
    assert ring.identify(create_key(path, "second", ["read"])).name == "second"


def test_a_key_taken_out_of_the_file_stops_working(path: Path) -> None:
    key = create_key(path, "first", ["read"])
    ring = KeyRing(path)
    path.write_text('{"keys": []}')
    with pytest.raises(UnauthenticatedError):
        ring.identify(key)


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"keys": [{}]}', '{"keys": [{"sha256": "zz"}]}', "{"])
def test_a_damaged_file_stops_the_start_and_lets_nobody_in(path: Path, damage: str) -> None:
    key = create_key(path, "first", ["read"])
    ring = KeyRing(path)
    path.write_text(damage)
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyRing(path)
    with pytest.raises(PermanentError):
        ring.identify(key)


def test_a_file_that_others_may_read_is_refused(path: Path) -> None:
    create_key(path, "first", ["read"])
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"0644.*0600"):
        KeyRing(path)


def test_no_file_is_a_clear_error(path: Path) -> None:
    with pytest.raises(ConfigError, match="ML_API_KEYS_FILE"):
        KeyRing(path)


@pytest.mark.parametrize(("name", "roles"), [("ci", []), ("ci", ["admin"]), ("", ["read"]), ("  ", ["read"])])
def test_a_key_needs_a_name_and_known_roles(path: Path, name: str, roles: list[str]) -> None:
    with pytest.raises(ConfigError, match="expected roles out of"):
        create_key(path, name, roles)
    assert not path.exists()


def test_roles_are_checked(path: Path) -> None:
    key = create_key(path, "ci", ["read"])
    identity = KeyRing(path).identify(key)
    identity.need("read")
    with pytest.raises(ForbiddenError, match="expected 'forecast'"):
        identity.need("forecast")
    ANONYMOUS.need("forecast")


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "expected"),
    [
        ("Bearer abc", None, "abc"),
        ("bearer  abc ", None, "abc"),
        (None, "abc", "abc"),
        ("Basic abc", "xyz", "xyz"),
        ("Bearer ", None, None),
        (None, None, None),
        ("", "", None),
    ],
)
def test_where_a_request_carries_its_key(
    authorization: str | None, x_api_key: str | None, expected: str | None
) -> None:
    assert presented_key(authorization, x_api_key) == expected


def test_no_half_written_file_is_left(path: Path) -> None:
    create_key(path, "ci", ["read"])
    assert sorted(each.name for each in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]
    assert len(read_keys(path)) == 1
