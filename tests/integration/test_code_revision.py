"""Which code is running, in a repository and outside of one."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from cluster.registry.revision import code_revision

GIT = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org")


def _git(folder: Path, *words: str) -> str:
    return subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "package" / "module.py"
    file.parent.mkdir()
    file.write_text("one\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "one")
    return file


def test_git_knows_the_revision(source: Path) -> None:
    assert code_revision(source) == _git(source.parent, "rev-parse", "HEAD")


def test_changed_files_are_dirty(source: Path) -> None:
    source.write_text("two\n")
    assert code_revision(source) == _git(source.parent, "rev-parse", "HEAD") + "-dirty"


def test_an_untracked_file_is_not_of_this_repository(source: Path) -> None:
    installed = source.with_name("installed.py")
    installed.write_text("")
    assert code_revision(installed) == version("heliotrope")


def test_without_git_the_package_answers(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert code_revision(source) == version("heliotrope")
