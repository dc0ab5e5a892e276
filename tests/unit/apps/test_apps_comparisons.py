"""`heliotrope experiments`: what it refuses before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli.comparisons import _covariates
from apps.cli.main import app
from cluster.errors import ConfigError, DataError


def test_units_are_read_with_what_was_known_of_them(tmp_path: Path) -> None:
    file = tmp_path / "units.csv"
    file.write_text('unit,region,value\nann,at,2.5\n"bob, jr",de,-1\n')
    assert _covariates(file) == [("ann", 2.5), ("bob, jr", -1.0)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("unit,value\nann,much\n", "line 2"),
        ("unit,value\nann,1\nbob\n", "line 3"),
        ("unit,value\nann,nan\n", "line 2"),
        ("unit,value\n,1\n", "line 2"),
        ("user,value\nann,1\n", "expected a unit and its value"),
        ("unit,value\n", "got no rows"),
        ("", "got no rows"),
    ],
)
def test_a_file_that_tells_nothing_of_units_is_refused(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "units.csv"
    file.write_text(text)
    result = CliRunner().invoke(app, ["experiments", "units", "e1", str(file), "--endpoint", "http://127.0.0.1:1"])
    assert isinstance(result.exception, DataError) and word in str(result.exception)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "units.bin"
    binary.write_bytes(b"\xff\xfe\x00")
    for file in (binary, tmp_path / "none.csv"):
        with pytest.raises(DataError, match="cannot be read"):
            _covariates(file)


def test_an_arm_needs_a_share() -> None:
    arms = ["--arm", "1.0.0", "--metric", "m", "--effect", "1"]
    result = CliRunner().invoke(app, ["experiments", "begin", "e1", "nox", *arms])
    assert isinstance(result.exception, ConfigError) and "VERSION=SHARE" in str(result.exception)
