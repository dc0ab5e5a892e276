"""The log of experiments in the platform's storage: written behind the local file, read where there is none.

The local file answers; the storage (a folder or S3, by setting) survives the machine. New rows are shipped as one
object about every ten seconds, beside all requests, and never changed. A board on another machine reads them all
first; reading twice changes nothing, as each row has a key. A machine that is lost takes the seconds with it that
were not shipped, of all arms alike.
"""

from __future__ import annotations

import gzip
import json
import logging
from typing import Any
from uuid import uuid4

from cluster.clock import Clock
from cluster.errors import ArtifactCorrupt
from cluster.storage.files import Storage
from serve_deployments.experiments.exposure_log import ExposureLog

logger = logging.getLogger(__name__)
FOLDER, FORMAT = "experiments/log", 1
MAX_ROWS = 50_000
"""Rows in an object, some megabytes; what is left goes with the next."""
MANY = 32
"""Small objects that are put together into one."""


class LogArchive:
    """Ships a log's new rows to storage, and restores a log from it.

    Parameters
    ----------
    log
        Local.
    storage
        Of the platform.
    clock
        Names objects by time.
    """

    def __init__(self, log: ExposureLog, storage: Storage, clock: Clock) -> None:
        self._log, self._storage, self._clock = log, storage, clock

    def restore(self) -> int:
        """Take in what the local file lacks; return how many objects that were.

        Raises
        ------
        ArtifactCorrupt
            An object cannot be read.
        TransientError
            The storage does not answer.
        """
        missing = [name for name in self._storage.list(FOLDER) if not self._log.knows(name)]
        for name in missing:
            self._log.take_in(name, self._read(name))
        return len(missing)

    def ship(self) -> int:
        """Write what is new; return how many rows that were.

        Raises
        ------
        TransientError
            The storage does not answer; nothing is lost, the next call ships it.
        """
        rows, upto = self._log.unshipped(MAX_ROWS)
        count = sum(len(each) for each in rows.values())
        if count:
            name = self._write("small", rows)
            self._log.shipped(name, upto)
            self._put_together()
        return count

    def _put_together(self) -> None:
        """Make one object of many small ones; where that is cut short, rows are there twice and count once."""
        small = [name for name in self._storage.list(FOLDER) if "/small-" in name]
        if len(small) < MANY:
            return
        rows: dict[str, list[Any]] = {}
        for name in small:
            for table, more in self._read(name).items():
                rows.setdefault(table, []).extend(more)
        self._log.shipped(self._write("large", rows), {})
        for name in small:
            self._storage.delete(name)

    def _write(self, size: str, rows: dict[str, list[Any]]) -> str:
        name = f"{FOLDER}/{size}-{int(1000 * self._clock.now_s()):014d}-{uuid4().hex[:8]}.json.gz"
        self._storage.write_bytes(name, gzip.compress(json.dumps({"format": FORMAT, "rows": rows}).encode(), 1))
        return name

    def _read(self, name: str) -> dict[str, list[Any]]:
        try:
            found = json.loads(gzip.decompress(self._storage.read_bytes(name)))
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']}")
            rows: dict[str, list[Any]] = found["rows"]
        except (ValueError, KeyError, EOFError, OSError) as error:
            raise ArtifactCorrupt(
                f"log of experiments: got {error!r} in {name}, expected format {FORMAT}; restore it from a backup, "
                "or move it away to go on without its rows",
                file=name,
            ) from error
        return rows
