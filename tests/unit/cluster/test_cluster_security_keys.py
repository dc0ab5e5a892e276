"""API keys: made once, stored as hashes, rotated, revoked, expired, and refused exactly."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cluster.clock import ManualClock
from cluster.errors import ConfigError, PermanentError, UnauthenticatedError, UnknownNameError
from cluster.security.api_key import ApiKey, hidden, new_key, presented_key, read_key
from cluster.security.identity import Scope
from cluster.security.key_book import MOST_SECRETS, KeyBook
from cluster.security.key_file import KeyFile
from cluster.security.key_ring import REFRESH_S, KeyRing
from cluster.security.roles import Permission, Role

DAY_S = 86_400.0


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "sub" / "keys.json")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_700_000_000.0)


def create(file: KeyFile, name: str = "ci", role: Role = Role.PREDICTOR, **more: float) -> ApiKey:
    return file.change(lambda book: book.create(name, role, now_s=more.get("now_s", 1_700_000_000.0)))


def refusal(ring: KeyRing, text: str) -> str:
    with pytest.raises(UnauthenticatedError) as raised:
        ring.identify(text)
    return str(raised.value.context["got"])


def test_a_created_key_lets_its_owner_in(file: KeyFile, clock: ManualClock) -> None:
    key = create(file, "ci", Role.OPERATOR)
    identity = KeyRing(file, clock).identify(key.text)
    assert (identity.key_id, identity.name, identity.role) == (key.key_id, "ci", Role.OPERATOR)


def test_the_file_holds_no_secret_and_is_closed_to_others(file: KeyFile) -> None:
    key = create(file)
    text = file.path.read_text()
    assert key.text not in text
    assert key.text.rpartition("_")[2] not in text
    assert key.key_id in text
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert sorted(each.name for each in file.path.parent.iterdir()) == ["keys.json", "keys.json.lock"]
    assert stat.S_IMODE(file.path.with_name("keys.json.lock").stat().st_mode) == 0o600


def test_neither_repr_nor_error_shows_a_secret(file: KeyFile, clock: ManualClock) -> None:
    key = create(file)
    ring = KeyRing(file, clock)
    file.change(lambda book: (book.revoke(key.key_id, now_s=0), None))
    clock.advance(REFRESH_S)
    with pytest.raises(UnauthenticatedError) as raised:
        ring.identify(key.text)
    secret = key.text[-43:]
    assert all(secret not in text for text in (repr(key), str(raised.value), repr(raised.value.context)))


def test_a_rotated_key_opens_until_the_overlap_ends(file: KeyFile, clock: ManualClock) -> None:
    old = create(file)
    new = file.change(lambda book: book.rotate(old.key_id, now_s=clock.now_s(), overlap_s=3600))
    ring = KeyRing(file, clock)
    assert new.key_id == old.key_id
    assert ring.identify(old.text) == ring.identify(new.text)
    clock.advance(3599.999)
    assert ring.identify(old.text)
    clock.advance(0.001)
    assert refusal(ring, old.text) == "a key that was rotated"
    assert ring.identify(new.text)


def test_a_second_rotation_does_not_lengthen_the_first_overlap() -> None:
    book, first = KeyBook().create("ci", Role.VIEWER, now_s=0)
    book, _ = book.rotate(first.key_id, now_s=0, overlap_s=10)
    book, _ = book.rotate(first.key_id, now_s=5, overlap_s=100)
    ends = [each.ends_s for each in book.record(first.key_id).secrets]
    assert ends == [None, 105, 10]


def test_rotating_for_ever_keeps_few_secrets() -> None:
    book, key = KeyBook().create("ci", Role.VIEWER, now_s=0)
    for turn in range(20):
        book, _ = book.rotate(key.key_id, now_s=turn, overlap_s=DAY_S)
    assert len(book.record(key.key_id).secrets) == MOST_SECRETS


def test_an_expired_key_is_refused_from_that_second_on(file: KeyFile, clock: ManualClock) -> None:
    key = file.change(lambda book: book.create("ci", Role.VIEWER, now_s=clock.now_s(), lasts_s=DAY_S))
    ring = KeyRing(file, clock)
    clock.advance(DAY_S - 0.001)
    assert ring.identify(key.text)
    clock.advance(0.001)
    assert refusal(ring, key.text) == "an expired key"


def test_a_revoked_key_is_refused_once_the_ring_has_looked_again(file: KeyFile, clock: ManualClock) -> None:
    key = create(file)
    ring = KeyRing(file, clock)
    file.change(lambda book: (book.revoke(key.key_id, now_s=clock.now_s()), None))
    clock.advance(REFRESH_S)
    assert refusal(ring, key.text) == "a revoked key"


def test_changes_are_seen_within_the_stated_time_and_not_read_for_every_request(
    file: KeyFile, clock: ManualClock
) -> None:
    create(file, "first")
    ring = KeyRing(file, clock)
    second = create(file, "second")
    assert refusal(ring, second.text) == "an unknown key"
    clock.advance(REFRESH_S)
    assert ring.identify(second.text).name == "second"


def test_a_clock_set_back_does_not_stop_the_looking(file: KeyFile, clock: ManualClock) -> None:
    key = create(file)
    ring = KeyRing(file, clock)
    file.change(lambda book: (book.revoke(key.key_id, now_s=0), None))
    clock.advance(-DAY_S)
    assert refusal(ring, key.text) == "a revoked key"


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "a text that is no key"),
        ("hel_", "a text that is no key"),
        ("hel_0123456789ab_" + "A" * 43, "an unknown key"),
        ("hel_" + "A" * 43, "an unknown key"),
        ("hel_0123456789AB_" + "A" * 43, "a text that is no key"),
        ("hel_0123456789ab_" + "A" * 42, "a text that is no key"),
        ("hel_0123456789ab_" + "A" * 43 + "\n", "a text that is no key"),
        ("hel_0123456789ab_" + "\u0410" * 43, "a text that is no key"),  # Cyrillic
        ("hel_" + "\u0661" * 12 + "_" + "A" * 43, "a text that is no key"),  # digits, but not ASCII
        ("hel_0123456789ab_" + "A" * 10_000_000, "a text that is no key"),
        ("\0" * 60, "a text that is no key"),
        ("ключ", "a text that is no key"),
    ],
    ids=range(12),
)
def test_forged_oversized_and_foreign_texts_are_refused_by_name(
    file: KeyFile, clock: ManualClock, text: str, got: str
) -> None:
    create(file)
    assert refusal(KeyRing(file, clock), text) == got


def test_one_wrong_character_of_a_secret_is_an_unknown_key(file: KeyFile, clock: ManualClock) -> None:
    key = create(file)
    ring = KeyRing(file, clock)
    for place in (17, 30, 59):
        other = "A" if key.text[place] != "A" else "B"
        assert refusal(ring, key.text[:place] + other + key.text[place + 1 :]) == "an unknown key"


def test_a_secret_under_the_id_of_another_key_opens_nothing(file: KeyFile, clock: ManualClock) -> None:
    one, two = create(file, "one"), create(file, "two")
    assert refusal(KeyRing(file, clock), one.text.replace(one.key_id, two.key_id)) == "an unknown key"


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"keys": [{}]}', '{"keys": [{"sha256": "zz"}]}', "{", "[1]"])
def test_a_damaged_file_stops_the_start_and_lets_nobody_in(file: KeyFile, clock: ManualClock, damage: str) -> None:
    key = create(file)
    whole = file.path.read_bytes()
    ring = KeyRing(file, clock)
    file.path.write_text(damage)
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyRing(file, clock)
    clock.advance(REFRESH_S)
    for _ in range(2):
        with pytest.raises(PermanentError):
            ring.identify(key.text)
    file.path.write_bytes(whole)
    clock.advance(REFRESH_S)
    assert ring.identify(key.text)


def test_a_digest_of_another_form_makes_the_file_damaged(file: KeyFile) -> None:
    create(file)
    data = json.loads(file.path.read_text())
    data["keys"][0]["secrets"][0]["sha256"] = "00"
    file.path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="cannot be read"):
        file.read()


def test_a_file_that_others_may_read_is_refused(file: KeyFile) -> None:
    create(file)
    file.path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"0644.*0600"):
        KeyRing(file)


def test_no_file_is_a_clear_error(file: KeyFile) -> None:
    with pytest.raises(ConfigError, match="ML_API_KEYS_FILE"):
        KeyRing(file)


def test_a_key_needs_a_name_a_time_and_a_scope_its_role_has() -> None:
    with pytest.raises(ConfigError, match="needs a name"):
        KeyBook().create("  ", Role.VIEWER, now_s=0)
    with pytest.raises(ConfigError, match="time to last"):
        KeyBook().create("ci", Role.VIEWER, now_s=0, lasts_s=0)
    with pytest.raises(ConfigError, match="got forecast, expected permissions of role viewer"):
        KeyBook().create("ci", Role.VIEWER, now_s=0, scope=Scope(permissions=frozenset({Permission.FORECAST})))


def test_what_cannot_be_rotated_says_why() -> None:
    book, key = KeyBook().create("ci", Role.VIEWER, now_s=0, lasts_s=10)
    with pytest.raises(ConfigError, match="is expired"):
        book.rotate(key.key_id, now_s=10, overlap_s=1)
    with pytest.raises(ConfigError, match="at least 0"):
        book.rotate(key.key_id, now_s=1, overlap_s=-1)
    with pytest.raises(ConfigError, match="is revoked"):
        book.revoke(key.key_id, now_s=1).rotate(key.key_id, now_s=1, overlap_s=1)
    with pytest.raises(UnknownNameError, match=key.key_id):
        book.revoke("nobody", now_s=1)


def test_a_book_survives_its_file_form() -> None:
    scope = Scope(permissions=frozenset({Permission.FORECAST}), models=("a-*",), routes=("/v1/*",))
    book, key = KeyBook().create("ci", Role.PREDICTOR, now_s=1_700_000_000, scope=scope, lasts_s=DAY_S)
    book, _ = book.rotate(key.key_id, now_s=1_700_000_100, overlap_s=60)
    book = book.revoke(key.key_id, now_s=1_700_000_130)
    assert KeyBook.from_bytes(book.to_bytes()) == book


@pytest.mark.parametrize(
    ("roles", "role", "only"),
    [
        (["forecast"], Role.PREDICTOR, {Permission.FORECAST}),
        (["read"], Role.VIEWER, set()),
        (["forecast", "read"], Role.PREDICTOR, set()),
    ],
)
def test_keys_from_before_ids_and_roles_work_on_with_what_they_could(
    file: KeyFile, clock: ManualClock, roles: list[str], role: Role, only: set[Permission]
) -> None:
    import hashlib

    text = "hel_" + "x" * 43
    digest = hashlib.sha256(text.encode()).hexdigest()
    entry = {"sha256": digest, "identity": "old", "roles": roles, "created_at": "2026-01-01T00:00:00+00:00"}
    file.path.parent.mkdir()
    file.path.touch(0o600)
    file.path.write_text(json.dumps({"keys": [entry]}))
    identity = KeyRing(file, clock).identify(text)
    assert (identity.name, identity.role, set(identity.scope.permissions)) == ("old", role, only)
    new = file.change(lambda book: book.rotate(identity.key_id, now_s=clock.now_s(), overlap_s=60))
    clock.advance(59)
    ring = KeyRing(file, clock)
    assert ring.identify(new.text) == ring.identify(text) == identity
    clock.advance(1)
    assert refusal(ring, text) == "a key that was rotated"


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


def test_keys_in_a_text_are_hidden_whole_cut_and_old() -> None:
    key = new_key()
    assert read_key(key.text) == key
    line = f"GET /x?key={key.text}&cut={key.text[:40]} old=hel_{'b' * 43}; fine: hel_lo hello"
    shown = hidden(line)
    assert key.text[-43:-20] not in shown
    assert "b" * 8 not in shown
    assert shown.count(key.key_id) == 2
    assert shown.endswith("fine: hel_lo hello")
    assert hidden("nothing") == "nothing"
