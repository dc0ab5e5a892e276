"""Records every request and every administrative act, without making a request wait for a disk."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Any, Self

from cluster.clock import Clock
from cluster.errors import HeliotropeError, TransientError
from cluster.security.audit_chain import Entry
from cluster.security.audit_file import AuditFile
from cluster.security.audit_folder import AuditFolder

logger = logging.getLogger(__name__)
FLUSH_S = 0.2
"""Longest time until a request's record is on disk; what a power cut may lose."""
ACT_TIMEOUT_S = 10.0


@dataclass(kw_only=True, slots=True)
class AuditedRequest:
    """What is recorded of one request: ids, never a key, never the body.

    Parameters
    ----------
    time_s
        When it was answered, seconds since the epoch.
    key_id, role
        Who asked.
    method, route, status
        What was asked, by the route's template, and how it ended.
    request_id
        As in the logs.
    duration_us
        Whole microseconds.
    model, version
        Who answered; empty where none did.
    reason
        Slug of the problem; empty where there was none.
    """

    time_s: float
    key_id: str
    role: str
    method: str
    route: str
    status: int
    request_id: str
    duration_us: int
    model: str = ""
    version: str = ""
    reason: str = ""

    def entry(self) -> dict[str, Any]:
        """Return it as a record."""
        return {
            "kind": "request",
            "time": _iso(self.time_s),
            "key": self.key_id,
            "role": self.role,
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "request_id": self.request_id,
            "duration_us": self.duration_us,
            "model": self.model,
            "version": self.version,
            "reason": self.reason,
        }


class AuditLog:
    """A bounded queue in front of a writer's segment; use it in a `with` block.

    A request whose record finds the queue full is served and counted: the next record that is written says how many
    were dropped. An administrative act waits until its record is on disk, and is refused where that cannot be.

    Parameters
    ----------
    folder
        Where the segments are.
    writer
        This process; no other may use the name at the same time.
    clock
        For the day, and the time of acts.
    most_waiting
        Records in the queue.
    on_drop
        Called for each request that is not recorded.
    """

    def __init__(
        self,
        folder: AuditFolder,
        writer: str,
        clock: Clock,
        *,
        most_waiting: int = 10_000,
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self.dropped, self._on_drop = 0, on_drop
        self._folder, self._writer, self._clock, self._most = folder, writer, clock, most_waiting
        self._waiting: deque[AuditedRequest] = deque()
        self._acts: deque[tuple[dict[str, Any], Future[None]]] = deque()
        self._told_dropped = 0
        self._segment: AuditFile | None = None
        self._wake, self._ended = threading.Event(), False
        self._thread: threading.Thread | None = None

    def request(self, request: AuditedRequest) -> None:
        """Record a request soon; call it from one thread."""
        if len(self._waiting) < self._most:
            self._waiting.append(request)
        else:
            self.dropped += 1
            self._on_drop()

    def act(self, actor: str, action: str, target: str, details: Mapping[str, Any] | None = None) -> None:
        """Record an administrative act, and return once that is on disk.

        Raises
        ------
        TransientError
            It cannot be recorded: do not do it.
        """
        entry = {
            "kind": "act",
            "time": _iso(self._clock.now_s()),
            "actor": actor,
            "action": action,
            "target": target,
            "details": dict(details or {}),
        }
        done: Future[None] = Future()
        self._acts.append((entry, done))
        if self._thread is None:
            self.drain()
        self._wake.set()
        try:
            done.result(ACT_TIMEOUT_S)
        except (TimeoutError, HeliotropeError, OSError) as error:
            raise TransientError(
                f"'{action}' is refused, because the audit log cannot record it: {error or type(error).__name__}"
            ) from error

    @contextmanager
    def acting(self, actor: str, action: str, target: str, **details: Any) -> Iterator[None]:
        """Record an act before the block does it, and how it ended."""
        self.act(actor, action, target, details)
        try:
            yield
        except BaseException as error:
            self.act(actor, f"{action}.failed", target, {"error": type(error).__name__})
            raise
        self.act(actor, f"{action}.done", target)

    def drain(self) -> None:
        """Write what waits; raise nothing: what could not be written goes on waiting, acts are told."""
        acts = [self._acts.popleft() for _ in range(len(self._acts))]
        requests = list(islice(self._waiting, len(self._waiting)))
        dropped = self.dropped - self._told_dropped
        entries: list[Entry] = [each.entry() for each in requests]
        if dropped:
            entries.append({"kind": "gap", "time": _iso(self._clock.now_s()), "dropped": dropped})
        entries += [entry for entry, _ in acts]
        try:
            if entries:
                self._todays().append(entries)
        except (HeliotropeError, OSError) as error:
            logger.error("the audit log cannot be written, %d records wait: %s", len(requests), error)
            self._leave()
            _tell(acts, error)
            return
        for _ in requests:
            self._waiting.popleft()
        self._told_dropped += dropped
        _tell(acts, None)

    def start(self) -> None:
        """Write about every FLUSH_S from now on, in a thread."""
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and let go of the segment; a later day's first writer seals it."""
        if self._thread is not None:
            self._ended = True
            self._wake.set()
            self._thread.join(ACT_TIMEOUT_S)
            self._thread = None
        self.drain()
        self._leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(FLUSH_S)
            self._wake.clear()
            self.drain()

    def _leave(self) -> None:
        """Let go of the segment; the next record opens it again, and finds what happened to it."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _todays(self) -> AuditFile:
        if self._segment is not None and not self._segment.name.startswith(self._folder.today()):
            segment, self._segment = self._segment, None
            self._folder.seal(segment)
        if self._segment is None:
            self._segment = self._folder.open_segment(self._writer)
        return self._segment


def _tell(acts: list[tuple[dict[str, Any], Future[None]]], fault: Exception | None) -> None:
    for _, done in acts:
        if fault is None:
            done.set_result(None)
        else:
            done.set_exception(fault)


def _iso(time_s: float) -> str:
    second = int(time_s)
    return f"{_second(second)}.{int((time_s - second) * 1000):03d}+00:00"


@lru_cache(maxsize=4)
def _second(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
