"""`heliotrope keys`, `audit` and `certificates`: what they do, print and record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from apps.cli.main import app
from cluster.errors import ConfigError, PermanentError, UnauthenticatedError, UnknownNameError
from cluster.security.key_file import KeyFile
from cluster.security.key_ring import KeyRing
from cluster.security.roles import Permission


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("ML_HOME", str(home))
    monkeypatch.setenv("ML_API_KEYS_FILE", str(home / "keys.json"))
    monkeypatch.setenv("ML_ENABLE_AUDIT", "true")
    return CliRunner()


def run(shell: CliRunner, *words: str) -> Any:
    result = shell.invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def fault(shell: CliRunner, *words: str) -> Result:
    result = shell.invoke(app, list(words))
    assert result.exception is not None
    return result


def test_a_keys_life(shell: CliRunner, home: Path) -> None:
    scope = ("--permission", "forecast", "--model", "nox", "--route", "/v1/*", "--lasts", "90d")
    made = run(shell, "keys", "create", "alice", *scope)
    ring = KeyRing(KeyFile(home / "keys.json"))
    identity = ring.identify(made["key"])
    assert (identity.key_id, set(identity.scope.permissions)) == (made["id"], {Permission.FORECAST})
    listed = run(shell, "keys", "list")
    assert made["key"] not in json.dumps(listed)
    assert [(each["id"], each["role"], each["state"]) for each in listed] == [(made["id"], "predictor", "active")]
    rotated = run(shell, "keys", "rotate", made["id"], "--overlap", "1h")
    fresh = KeyRing(KeyFile(home / "keys.json"))
    assert fresh.identify(made["key"]) == fresh.identify(rotated["key"])
    assert run(shell, "keys", "list")[0]["state"] == "rotating"
    assert shell.invoke(app, ["keys", "revoke", made["id"]]).exit_code == 0
    with pytest.raises(UnauthenticatedError, match="a revoked key"):
        KeyRing(KeyFile(home / "keys.json")).identify(rotated["key"])


def test_every_change_of_a_key_is_recorded_and_no_secret_with_it(shell: CliRunner, home: Path) -> None:
    made = run(shell, "keys", "create", "alice", "--role", "admin")
    fault(shell, "keys", "revoke", "nobody")
    shown = run(shell, "audit", "show", "--acts")
    assert [(each["action"], each["target"]) for each in shown] == [
        ("keys.create", "alice"),
        ("keys.create.done", "alice"),
        ("keys.revoke", "nobody"),
        ("keys.revoke.failed", "nobody"),
    ]
    assert shown[0]["actor"].startswith("cli:")
    text = "".join(path.read_text() for path in (home / "audit").rglob("*") if path.is_file())
    assert made["key"][-43:] not in text


def test_a_check_prints_the_head_and_finds_a_change(shell: CliRunner, home: Path) -> None:
    run(shell, "keys", "create", "alice")
    told = run(shell, "audit", "verify")
    assert (told["whole"], told["findings"], told["records"]) == (True, [], 3)
    assert run(shell, "audit", "verify", "--witness", told["head"])["whole"]
    (path,) = (home / "audit").glob("*/cli.jsonl")
    path.write_bytes(path.read_bytes().replace(b"alice", b"mallo"))
    result = fault(shell, "audit", "verify")
    assert isinstance(result.exception, PermanentError)
    assert "cli: changed, record 1 has not the content" in result.exception.message
    assert "changed" in result.output
    wrong = fault(shell, "audit", "verify", "--witness", "7").exception
    assert isinstance(wrong, ConfigError)


def test_without_an_audit_nothing_is_recorded(
    shell: CliRunner, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_ENABLE_AUDIT", "false")
    run(shell, "keys", "create", "alice")
    assert not (home / "audit").exists()
    assert "Nothing is recorded" in shell.invoke(app, ["audit", "show"]).output


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["keys", "create", "a", "--role", "root"], ConfigError, "viewer, predictor, operator, admin"),
        (["keys", "create", "a", "--permission", "all"], ConfigError, "expected one of open"),
        (["keys", "create", "a", "--lasts", "soon"], ConfigError, "such as 90d"),
        (["keys", "create", "a", "--role", "viewer", "--permission", "forecast"], ConfigError, "of role viewer"),
        (["keys", "rotate", "nobody"], UnknownNameError, "Known: none yet"),
        (["keys", "list"], ConfigError, "create a key first"),
        (["audit", "verify"], ConfigError, "ML_AUDIT_KEY_FILE"),
    ],
)
def test_what_cannot_be_done_says_why(
    shell: CliRunner, words: list[str], kind: type[Exception], message: str
) -> None:
    error = fault(shell, *words).exception
    assert isinstance(error, kind)
    assert message in str(error)


def test_records_of_all_writers_come_in_the_order_of_their_times(shell: CliRunner, home: Path) -> None:
    for name in ("alice", "bob", "carol"):
        run(shell, "keys", "create", name)
    assert [each["target"] for each in run(shell, "audit", "show", "--last", "3")] == ["bob", "carol", "carol"]
    assert run(shell, "audit", "show", "--day", "1999-01-01") == []
    assert "keys.create carol" in shell.invoke(app, ["audit", "show"]).output.replace("\n", " ")


def test_certificates_are_made_and_named(shell: CliRunner, tmp_path: Path) -> None:
    result = shell.invoke(app, ["certificates", str(tmp_path / "tls"), "--host", "api.local"])
    assert result.exit_code == 0, result.output
    assert sorted(each.name for each in (tmp_path / "tls").iterdir()) == ["ca.crt", "tls.crt", "tls.key"]
    assert "ML_TLS_DIR=" in result.output
