"""Commands in process: what they print, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from apps.cli.output import exit_code
from cluster.errors import (
    ArtifactCorrupt,
    ConfigError,
    GateRefused,
    HeliotropeError,
    TransientError,
    UnknownNameError,
)
from cluster.security.key_file import KeyFile
from cluster.security.key_ring import KeyRing
from cluster.security.roles import Role
from cluster.settings import Settings


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("ML_HOME", str(home))
    return CliRunner()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (UnknownNameError("x"), 2),
        (GateRefused("x"), 3),
        (TransientError("x"), 4),
        (ArtifactCorrupt("x"), 5),
        (HeliotropeError("x"), 1),
    ],
)
def test_exit_codes_say_what_the_caller_can_do(error: HeliotropeError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize("command", [[], ["models"], ["jobs", "submit"], ["train"], ["demo"]])
def test_every_command_explains_itself(shell: CliRunner, command: list[str]) -> None:
    result = shell.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_created_key_opens_the_door_and_only_its_hash_is_kept(
    shell: CliRunner, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_API_KEYS_FILE", str(home / "keys.json"))
    result = shell.invoke(app, ["keys", "create", "alice", "--role", "operator", "--json"])
    assert result.exit_code == 0, result.output
    key = json.loads(result.output)["key"]
    identity = KeyRing(KeyFile(home / "keys.json")).identify(key)
    assert (identity.name, identity.role) == ("alice", Role.OPERATOR)
    assert key not in (home / "keys.json").read_text()


def test_a_key_without_a_file_names_the_variable(shell: CliRunner) -> None:
    result = shell.invoke(app, ["keys", "create", "alice"])
    assert isinstance(result.exception, ConfigError)
    assert "ML_API_KEYS_FILE" in result.exception.message


def test_status_without_a_platform_shows_the_settings(shell: CliRunner, home: Path) -> None:
    result = shell.invoke(app, ["status", "--json"])
    facts = json.loads(result.output)
    assert facts["running"] is None
    assert facts["settings"] == dict(Settings.from_environment({"ML_HOME": str(home)}).describe())


@pytest.mark.parametrize("command", [["serve"], ["health"], ["jobs", "list"], ["predict", "m"]])
def test_what_needs_a_platform_says_how_to_start_one(shell: CliRunner, command: list[str]) -> None:
    result = shell.invoke(app, command)
    assert isinstance(result.exception, TransientError)
    assert "heliotrope up" in result.exception.message
