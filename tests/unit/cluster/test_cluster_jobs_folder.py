"""What may not be submitted as a job's folder, judged before any dashboard is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import ConfigError
from cluster.jobs import Jobs, check_working_dir


def refused(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Jobs("http://127.0.0.1:1").submit("true", working_dir=folder)
    return str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere") == f"working_dir: got '{tmp_path}/nowhere', expected a folder"


@pytest.mark.parametrize("name", ["stat.py", "types.py", "logging/__init__.py"])
def test_a_module_named_as_one_of_pythons_own_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    message = refused(tmp_path)
    assert f"got '{name.split('/', maxsplit=1)[0]}' at the top of '{tmp_path}'" in message
    assert "rename it" in message


def test_the_same_names_deeper_down_or_as_plain_folders_are_fine(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "stat.py").touch()
    (tmp_path / "logging").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "__init__.py").touch()
    (tmp_path / "stat.txt").touch()
    check_working_dir(tmp_path)
