"""Keeps a study's records: one small file a trial that has ended, so that a killed study goes on where it was."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from cluster.errors import ArtifactCorrupt, ConfigError
from cluster.storage.files import Storage
from tuning.records import TrialRecord

STUDIES = "studies"
HEAD, LOCK = "study.json", "running.lock"


class Journal:
    """The records of one study under `studies/<name>`.

    A record is written when its trial ends and never again; whoever opens the same study later finds them all.

    Parameters
    ----------
    storage
        Where.
    name
        The study.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._folder = f"{STUDIES}/{name}"
        self._name = name

    def open(self, facts: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> dict[int, TrialRecord]:
        """Return the records so far; a study of that name made from other `facts` is a ConfigError.

        Parameters
        ----------
        facts
            What must be the same for the study to go on.
        about
            What is kept beside them for those who read the study later.
        """
        wanted = json.loads(json.dumps(facts))
        if not self._storage.exists(f"{self._folder}/{HEAD}"):
            if self._records():
                raise ArtifactCorrupt(
                    f"{self._folder} has trials but no {HEAD}; restore it from a backup, or remove the folder",
                    file=f"{self._folder}/{HEAD}",
                )
            head = json.dumps({"facts": wanted, "about": dict(about or {})}, indent=2)
            self._storage.write_bytes(f"{self._folder}/{HEAD}", head.encode())
            return {}
        self._refuse_another(wanted, self.head()["facts"])
        return self.read()

    def head(self) -> dict[str, Any]:
        """Return `facts` and `about` as they were written."""
        head: dict[str, Any] = self._read(f"{self._folder}/{HEAD}", _head)
        return head

    def read(self) -> dict[int, TrialRecord]:
        """Return the records so far by number."""
        records = [(path, self._read(path, TrialRecord.from_json)) for path in self._records()]
        for path, record in records:
            if path != self._path(record.number):
                raise ArtifactCorrupt(f"study record {path} is trial {record.number}'s; remove it", file=path)
        return {record.number: record for _, record in records}

    def write(self, record: TrialRecord) -> None:
        """Keep a trial that has ended."""
        self._storage.write_bytes(self._path(record.number), record.to_json())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the study while it runs; a second process gets a ConfigError. In S3 there is no such lock."""
        if self._storage.local is None:
            yield
            return
        path = self._storage.local / self._folder / LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as file:
            self._take(file)
            yield

    def _take(self, file: IO[str]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(
                f"study '{self._name}' is running already in process {file.read().strip() or 'unknown'}; "
                "wait for it, or choose another name",
                study=self._name,
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()

    def _refuse_another(self, wanted: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        for fact in wanted:
            if known.get(fact) != wanted[fact]:
                raise ConfigError(
                    f"{self._folder} is there already with another {fact}: got {wanted[fact]}, expected "
                    f"{known.get(fact)}; choose another name, or ask for the same study to go on",
                    fact=fact,
                )

    def _records(self) -> list[str]:
        return [path for path in self._storage.list(self._folder) if path.startswith(f"{self._folder}/trial-")]

    def _path(self, number: int) -> str:
        return f"{self._folder}/trial-{number:05d}.json"

    def _read(self, path: str, parse: Any) -> Any:
        try:
            return parse(self._storage.read_bytes(path))
        except (ValueError, KeyError, TypeError) as error:
            remedy = "remove the folder" if path.endswith(HEAD) else "remove it to run its trial again"
            raise ArtifactCorrupt(f"study record {path} cannot be read ({error}); {remedy}", file=path) from error


def _head(data: bytes) -> dict[str, Any]:
    head = json.loads(data)
    return {"facts": dict(head["facts"]), "about": dict(head["about"])}
