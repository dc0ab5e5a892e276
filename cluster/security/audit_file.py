"""One file of the audit log: opened by one writer at a time, appended to, and found whole again after a crash."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cluster.errors import TransientError
from cluster.security.audit_chain import Entry, Head, Signer, read_line
from cluster.storage.files import write_whole

HEAD = ".head"
"""What the file with the signed head is called, after the name of the chain's own."""
RECOVERED = "recovered"
_LOCK_POLL_S = 0.01


class AuditFile:
    """A chain on disk; use it in a `with` block, which holds the lock.

    A crash may leave half a line, and lines that the head does not count yet. Both stay where they are, and the
    next to open the file goes on after a `recovered` record that says how much it found: nothing is ever taken out.
    What no crash leaves, such as lines that were signed and are gone, that record names as a fault.

    Parameters
    ----------
    folder
        The audit folder.
    name
        Path in it, `anchors` or `2026-11-21/replica-1`.
    signer
        Signs the head after every write.
    wait_s
        How long to wait while another holds the file.

    Raises
    ------
    TransientError
        Another holds it for longer.
    """

    def __init__(self, folder: Path, name: str, signer: Signer, *, wait_s: float = 10.0) -> None:
        self.name, self._signer = name, signer
        self._path = path_of(folder, name)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        try:
            self._lock(wait_s)
            self.head = self._recover()
        except BaseException:
            os.close(self._file)
            raise

    def append(self, entries: Iterable[Entry]) -> None:
        """Record entries, all or none, and return once they would survive a power cut.

        Raises
        ------
        TransientError
            The disk does not take them, and the file is as before; or the file was deleted meanwhile.
        """
        lines, head = self.head.lines(entries)
        self._write(b"\n".join([*lines, b""]))
        self.head = head
        self._sign()

    def close(self) -> None:
        """Let others have it."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        now = os.fstat(self._file)
        if not now.st_nlink:
            raise TransientError(f"the audit file '{self.name}' was deleted")
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            # Nobody was told that these are recorded.
            os.ftruncate(self._file, now.st_size)
            raise TransientError(f"the audit log cannot be written: {error}", retry_after_s=1.0) from error

    def _lock(self, wait_s: float) -> None:
        deadline_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    raise TransientError(f"another process holds the audit file '{self.name}'") from None
                time.sleep(_LOCK_POLL_S)
            else:
                return

    def _recover(self) -> Head:
        size = os.fstat(self._file).st_size
        data = os.pread(self._file, size, 0)
        self.head, mark = recovered(self.name, data, self._signed())
        if mark:
            (line,), self.head = self.head.lines([mark])
            # In one write, so that torn bytes never stand whole without their mark.
            start = b"" if data.endswith(b"\n") or not data else b"\n"
            self._write(start + line + b"\n")
        if mark or not size:
            # A file has a signed head before its first record: one without is never an accident.
            self._sign()
        return self.head

    def _sign(self) -> None:
        write_whole(self._path.with_suffix(HEAD), self._signer.sign(self.name, self.head))

    def _signed(self) -> Head | None:
        try:
            return self._signer.read(self.name, self._path.with_suffix(HEAD).read_bytes())
        except FileNotFoundError:
            return None


def recovered(name: str, data: bytes, signed: Head | None) -> tuple[Head, dict[str, Any]]:
    """Return where a file's chain goes on, and the mark that must say so; an empty one where all is well.

    Parameters
    ----------
    name
        Of the chain.
    data
        The whole file.
    signed
        Its signed head; None where there is none that is signed.
    """
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    head, torn, fault = Head.start(name), [], "record {0.records} is not the signed one"
    if signed is not None and signed.digest == head.digest:
        fault = ""
    for raw in lines:
        line = read_line(raw)
        torn.append(raw)
        if line is not None:
            head, torn = line.head, []
            fault = "" if line.head == signed else fault
    loose = b"\n".join(torn)
    unsigned = head.records - (signed.records if signed else 0)
    if signed is None:
        fault = "it had no signed head" if data else ""
    elif unsigned < 0:
        fault = "{0.records} records were signed, {1.records} are there"
    if not (loose or unsigned > 0 or fault):
        return head, {}
    return head, {
        "kind": RECOVERED,
        "fault": fault.format(signed, head),
        "unsigned": max(0, unsigned),
        "torn_bytes": len(loose),
        "torn_sha256": hashlib.sha256(loose).hexdigest() if loose else "",
    }


def path_of(folder: Path, name: str) -> Path:
    """Return where a chain's lines are."""
    return folder / f"{name}.jsonl"
