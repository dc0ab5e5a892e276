"""Databases that the ports' exams run against."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def registry_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty database of each kind; MLflow's tables cost seconds, so one of each for the whole session."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('registry')}/registry.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A throw-away PostgreSQL on a unix socket."""
    tools = _postgres_tools()
    if tools is None:
        pytest.skip("PostgreSQL's initdb is not found: install postgresql to run this test")
    user = _server_user()
    if user is None:
        pytest.skip("PostgreSQL refuses to run as root and there is no user 'postgres'")
    # Not under pytest's folder: other users may not enter that, and a socket's path is limited to 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    shutil.chown(folder, user)
    data = folder / "data"
    try:
        _run(user, tools / "initdb", "-D", data, "-U", "heliotrope", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        _run(user, tools / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
        try:
            yield f"postgresql+psycopg://heliotrope@/postgres?host={folder}"
        finally:
            _run(user, tools / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _postgres_tools() -> Path | None:
    found = shutil.which("initdb")
    # Debian keeps the server's programs out of PATH, a folder a version.
    known = [Path(found).resolve()] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return known[-1].parent if known else None


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return getpass.getuser()
    return "postgres" if "postgres" in {entry.pw_name for entry in pwd.getpwall()} else None


def _run(user: str, *command: str | Path) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        user=user if os.geteuid() == 0 else None,
        cwd="/",
        stdin=subprocess.DEVNULL,
        # pg_ctl's server inherits these: a pipe would never close.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}"
