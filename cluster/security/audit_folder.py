"""The audit folder: a segment a day and writer, the chain of anchors that knows them all, and their retention."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cluster.clock import Clock
from cluster.errors import ConfigError, TransientError
from cluster.security.audit_chain import Line, Signer, read_line
from cluster.security.audit_file import HEAD, AuditFile, path_of

ANCHORS = "anchors"
OPENED, SEALED, EXPIRED = "opened", "sealed", "expired"
RETENTION_DAYS = 365
_WRITER = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, kw_only=True)
class AuditFolder:
    """Where the audit log is.

    Every segment is named in the chain of anchors before its first record, and again with its number of records and
    its last hash when it is sealed or, after its time, deleted. A segment that vanished is missed by its name.

    Parameters
    ----------
    path
        The folder. Processes on several machines share it where it is shared, or have one each.
    signer
        Signs the heads.
    clock
        Says which day it is (UTC).
    retention_days
        Days after which a segment is deleted; its anchor stays.
    """

    path: Path
    signer: Signer
    clock: Clock
    retention_days: int = RETENTION_DAYS

    def today(self) -> str:
        """Return the day as ISO 8601."""
        return datetime.fromtimestamp(self.clock.now_s(), UTC).date().isoformat()

    def open_segment(self, writer: str) -> AuditFile:
        """Return today's segment of a writer, new or taken up again, after looking after the older ones.

        Raises
        ------
        TransientError
            Another process writes as this writer.
        """
        if not _WRITER.fullmatch(writer):
            raise ConfigError(f"audit writer: got '{writer}', expected letters, digits, dots and dashes")
        name = f"{self.today()}/{writer}"
        self.tidy()
        # The anchors stay held until the file is there: who checks meanwhile sees neither or both.
        with self._anchors() as anchors:
            if name not in self.states():
                anchors.append([{"kind": OPENED, "segment": name}])
            return AuditFile(self.path, name, self.signer)

    def seal(self, segment: AuditFile) -> None:
        """Close a segment for good: its end goes into the anchors."""
        head = segment.head
        segment.close()
        with self._anchors() as anchors:
            anchors.append(
                [{"kind": SEALED, "segment": segment.name, "records": head.records, "digest": head.digest}]
            )

    def tidy(self) -> None:
        """Seal the segments of earlier days whose writers are gone, and delete those whose time is over."""
        states, today = self.states(), self.today()
        oldest = datetime.fromtimestamp(self.clock.now_s(), UTC).date() - timedelta(days=self.retention_days)
        for name, line in states.items():
            day = name.partition("/")[0]
            if line.entry["kind"] == OPENED and day < today:
                self._adopt(name)
        for name, line in self.states().items():
            if line.entry["kind"] == SEALED and name.partition("/")[0] < oldest.isoformat():
                self._expire(name, line)

    def states(self) -> dict[str, Line]:
        """Return the last anchor of each segment."""
        return states_of(anchor_lines(self.path))

    def _adopt(self, name: str) -> None:
        try:
            segment = AuditFile(self.path, name, self.signer, wait_s=0)
        except TransientError:
            # Its writer lives and will seal it itself.
            return
        self.seal(segment)

    def _expire(self, name: str, line: Line) -> None:
        with self._anchors() as anchors:
            anchors.append([{**_told(line), "kind": EXPIRED, "segment": name}])
        for path in (path_of(self.path, name), path_of(self.path, name).with_suffix(HEAD)):
            path.unlink(missing_ok=True)
        folder = path_of(self.path, name).parent
        if not any(folder.iterdir()):
            folder.rmdir()

    def _anchors(self) -> AuditFile:
        return AuditFile(self.path, ANCHORS, self.signer)


@contextmanager
def anchors_held(folder: Path) -> Iterator[None]:
    """Keep writers from opening, sealing and deleting segments while the block runs."""
    path = path_of(folder, ANCHORS)
    if not path.is_file():
        yield
        return
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def anchor_lines(folder: Path) -> list[Line]:
    """Return the anchors as they stand, whole or not."""
    path = path_of(folder, ANCHORS)
    raws = path.read_bytes().split(b"\n") if path.is_file() else []
    return [line for line in map(read_line, raws) if line is not None]


def states_of(anchors: Iterable[Line]) -> dict[str, Line]:
    """Return the last anchor of each segment, in the order of their first."""
    return {line.entry["segment"]: line for line in anchors if "segment" in line.entry}


def _told(line: Line) -> dict[str, object]:
    return {each: line.entry[each] for each in ("records", "digest")}
