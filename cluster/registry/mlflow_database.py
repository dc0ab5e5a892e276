"""Opens the database that MLflow keeps its experiments and models in."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import ConfigError, HeliotropeError, PermanentError, TransientError
from cluster.settings import masked

if TYPE_CHECKING:
    from mlflow import MlflowClient

KNOB = "ML_REGISTRY_URL"
CONNECT_TIMEOUT_S = 5
FIRST_START_TIMEOUT_S = 120.0
"""The first start on an empty database writes MLflow's tables: 3 s here, far longer over a slow network."""
_ADVISORY_LOCK = 0x48454C494F
"""Any number will do as long as every process takes the same."""


def artifact_root(storage_url: str) -> str:
    """Return the folder under `storage_url` that MLflow keeps files in."""
    return f"{storage_url.rstrip('/')}/mlartifacts"


def connect(registry_url: str) -> MlflowClient:
    """Return a client on the database, its tables made where it is new.

    Processes that start on one new database at the same moment wait for the first of them.

    Raises
    ------
    ConfigError
        The URL, its driver or the database behind it is not usable.
    TransientError
        The server does not answer.
    """
    quiet()
    with translated(registry_url):
        from mlflow import MlflowClient

        with _only_one(registry_url):
            client = MlflowClient(tracking_uri=registry_url, registry_uri=registry_url)
            client.search_experiments(max_results=1)
        return client


def quiet() -> None:
    """Turn off MLflow's telemetry and the chatter of its start, before it is imported."""
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_DISABLE_AGENTIC_NOTIFICATION"):
        os.environ.setdefault(name, "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("alembic").setLevel(logging.WARNING)


@contextmanager
def translated(registry_url: str) -> Iterator[None]:
    """Turn what MLflow and its database raise into the house's errors."""
    try:
        yield
    except HeliotropeError:
        raise
    except Exception as error:
        ours = _as_ours(error, masked(registry_url))
        if ours is None:
            raise
        raise ours from error


def _as_ours(error: Exception, url: str) -> HeliotropeError | None:
    """Return what `error` means to a caller; None where it is not about the registry."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DatabaseError, NoSuchModuleError, OperationalError

    text = masked(next(iter(str(error).strip().splitlines()), type(error).__name__))
    code = error.error_code if isinstance(error, MlflowException) else None
    if isinstance(error, ModuleNotFoundError | NoSuchModuleError):
        return ConfigError(
            f"the registry's driver is missing: got '{url}' ({text}), expected an installed driver; "
            f"install heliotrope[postgres] (or heliotrope[s3]), or change {KNOB}",
            variable=KNOB,
        )
    if "out-of-date database schema" in text or "locate revision" in text:
        return ConfigError(
            f"the registry's database {url} was made by another MLflow: {text} "
            f"Back it up and run `mlflow db upgrade`, or point {KNOB} at another database",
            variable=KNOB,
        )
    if isinstance(error, OperationalError) or code == "TEMPORARILY_UNAVAILABLE":
        return TransientError(
            f"the registry at {url} does not answer: {text}; check {KNOB} and that the server is up",
            retry_after_s=2.0,
        )
    if isinstance(error, DatabaseError):
        return ConfigError(
            f"the registry at {url} is not usable: {text}; expected a database of MLflow; "
            f"restore it from a backup or change {KNOB}",
            variable=KNOB,
        )
    return None if code is None else PermanentError(f"the registry at {url} refused: {text}", code=code)


@contextmanager
def _only_one(url: str) -> Iterator[None]:
    if url.startswith("sqlite"):
        path = Path(url.partition("///")[2])
        _probe_file(path)
        with _file_lock(path.with_name(f"{path.name}.lock")):
            yield
    else:
        with _server_lock(url):
            yield


def _probe_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = sqlite3.connect(path, timeout=CONNECT_TIMEOUT_S)
        try:
            probe.execute("SELECT name FROM sqlite_master").fetchone()
        finally:
            probe.close()
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"the registry's file is not usable: got '{path}' ({error}), expected a SQLite database or a new "
            f"file in a folder that can be written; restore it from a backup or change {KNOB}",
            variable=KNOB,
            got=str(path),
        ) from error


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock; the system frees it when this process dies."""
    deadline = time.monotonic() + FIRST_START_TIMEOUT_S
    with path.open("w") as file:
        while not _taken(file):
            if time.monotonic() > deadline:
                raise TransientError(
                    f"another process has been preparing the registry for {FIRST_START_TIMEOUT_S:g} s; "
                    f"it holds {path}",
                    retry_after_s=5.0,
                )
            time.sleep(0.05)
        yield


def _taken(file: Any) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _server_lock(url: str) -> Iterator[None]:
    """Hold PostgreSQL's advisory lock on a connection of its own; also finds a dead server within seconds."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SET lock_timeout = {int(FIRST_START_TIMEOUT_S * 1000)}"))
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield


def pages(search: Any, **arguments: Any) -> list[Any]:
    """Return all results of one of MLflow's paged searches."""
    page = search(**arguments)
    found = list(page)
    while page.token:
        page = search(page_token=page.token, **arguments)
        found.extend(page)
    return found
