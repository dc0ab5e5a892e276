"""A load generator in a process of its own: `python -m benchmarks.serving.load JOB` prints a JSON report.

Open loop: request i is due at i / rate seconds whatever came before, waits for a free connection, and its latency
counts from when it was due, so that a server that stalls is charged for all who would have come. Without a rate it
is a closed loop: each connection sends its next request when it has its answer.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import zlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

SLOT = b"@@@@@@@"
"""In the body: replaced by seven digits that no other request has, so that no cache answers."""
SAID = b'"rung"'
"""Where an answer of ours begins to depend on the question alone."""
GRACE_S, UNCOUNTED_S, CONNECT_S, AGAIN_S = 5.0, 0.5, 0.2, 0.02
LATE_S = 1.0
"""So long after the end what was due before it is still sent; what is left then counts as never answered."""
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_DETAIL = re.compile(rb'"detail": *"([^"]*)"')
_CLOSE = re.compile(rb"\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to send.

    Parameters
    ----------
    host, port, path
        Where to.
    body
        File with the body.
    rate
        Requests a second; 0 is a closed loop.
    seconds
        How long; half a second more at the start is not counted.
    connections
        Kept open.
    headers
        Besides the usual ones.
    serial
        Of the first request.
    record
        File for a line about each answer, see `Answered`; none where empty.
    """

    host: str
    port: int
    path: str
    body: str
    rate: float
    seconds: float
    connections: int
    headers: Mapping[str, str] = field(default_factory=dict)
    serial: int = 0
    record: str = ""


class Answered(NamedTuple):
    """One answer, as it is recorded; times are of the machine's monotonic clock.

    Parameters
    ----------
    serial
        Of the request.
    due_s, ended_s
        When it was due, and answered or lost.
    status
        0 where there was no answer.
    digest
        Of what the answer says, without what is said of the request: equal where the forecasts are.
    """

    serial: int
    due_s: float
    ended_s: float
    status: int
    digest: int


class Connection(asyncio.Protocol):
    """One request at a time over HTTP/1.1, as raw bytes."""

    def __init__(self, load: Load) -> None:
        self._load, self._buffer, self._due_s, self._serial = load, bytearray(), 0.0, -1
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the first request."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._load.free(self)

    def send(self, request: bytes, due_s: float, serial: int) -> None:
        """Send a request that was due then."""
        self._due_s, self._serial = due_s, serial
        cast(asyncio.Transport, self.transport).write(request)

    def data_received(self, data: bytes) -> None:
        """Gather the answer."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        complete = len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")
        if complete:
            status, due_s, serial = int(head[9:12]), self._due_s, self._serial
            self._buffer.clear()
            self._serial = -1
            self._load.answered(status, due_s, serial, body)
            if _CLOSE.search(head):
                cast(asyncio.Transport, self.transport).close()  # a further request on it would be lost
            else:
                self._load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's word
        """Count a request that will not be answered, and connect again."""
        self._load.lost(self, self._due_s, self._serial)


class Load:
    """The schedule, and what came of it."""

    def __init__(self, job: Job) -> None:
        self._job, self._body = job, Path(job.body).read_bytes()
        extra = "".join(f"{name}: {value}\r\n" for name, value in job.headers.items())
        kind = "" if "content-type" in job.headers else "content-type: application/json\r\n"
        start = f"POST {job.path} HTTP/1.1\r\nhost: {job.host}\r\n"
        self._head = f"{start}{kind}{extra}content-length: {len(self._body)}\r\n\r\n".encode()
        self._idle: deque[Connection] = deque()
        self._sent = self._busy = 0
        self._statuses: Counter[int] = Counter()
        self._refusals: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._lost = self._refused = 0
        self._begun_s = self._ended_s = 0.0
        self._record: list[Answered] = []
        self._connecting: set[asyncio.Task[None]] = set()

    async def run(self) -> dict[str, Any]:
        """Connect, send for the time, report."""
        self._begun_s = time.perf_counter() + CONNECT_S
        self._ended_s = self._begun_s + UNCOUNTED_S + self._job.seconds
        for _ in range(self._job.connections):
            await self._connect()
        pace = asyncio.create_task(self._pace()) if self._job.rate else None
        await asyncio.sleep(max(0.0, self._ended_s - time.perf_counter()))
        while self._busy and time.perf_counter() - self._ended_s < GRACE_S:
            await asyncio.sleep(0.01)
        if pace:
            await pace
        for task in self._connecting:
            task.cancel()
        if self._job.record:
            Path(self._job.record).write_text("".join(f"{json.dumps(each)}\n" for each in self._record))
        return self._report()

    async def _connect(self) -> None:
        """Open a connection, trying again while it is refused and there is time."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: Connection(self), self._job.host, self._job.port)
            except ConnectionError:
                if time.perf_counter() > self._ended_s:
                    return
                self._refuse()
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _pace(self) -> None:
        while time.perf_counter() < self._ended_s:
            due = int((time.perf_counter() - self._begun_s) * self._job.rate)
            while self._sent < due and self._idle:
                self._send(self._idle.popleft(), self._begun_s + self._sent / self._job.rate)
            next_s = self._begun_s + (max(self._sent, due) + 1) / self._job.rate
            await asyncio.sleep(max(0.001, next_s - time.perf_counter()))

    def free(self, connection: Connection) -> None:
        """Give a connection its next request where one is due."""
        late_s = time.perf_counter() - self._ended_s
        now_s = self._ended_s + min(late_s, 0.0)
        if not self._job.rate:
            if late_s < 0:
                self._send(connection, now_s)
        elif late_s < LATE_S and self._sent < int((now_s - self._begun_s) * self._job.rate):
            self._send(connection, self._begun_s + self._sent / self._job.rate)
        else:
            self._idle.append(connection)

    def _send(self, connection: Connection, due_s: float) -> None:
        self._sent += 1
        self._busy += 1
        body = self._body.replace(SLOT, b"%07d" % ((self._job.serial + self._sent) % 10_000_000), 1)
        connection.send(self._head + body, due_s, self._job.serial + self._sent)

    def answered(self, status: int, due_s: float, serial: int, body: bytearray) -> None:
        """Note an answer; those due in the first half second are not counted."""
        self._busy -= 1
        if status != 200:
            self._refusals[f"{status} {_reason(body)}"] += 1
        if self._job.record:
            digest = zlib.crc32(body[body.find(SAID) :]) if status == 200 else 0
            self._record.append(Answered(serial, due_s, time.perf_counter(), status, digest))
        if due_s - self._begun_s >= UNCOUNTED_S:
            self._statuses[status] += 1
            self._latencies.append(time.perf_counter() - due_s)

    def lost(self, connection: Connection, due_s: float, serial: int) -> None:
        """Note a connection that the server closed, with the request it leaves unanswered, and open another."""
        if connection in self._idle:
            self._idle.remove(connection)
        elif serial >= 0:
            self._busy -= 1
            self._lost += 1
            self._unanswered(due_s, serial)
        if time.perf_counter() < self._ended_s:
            task = asyncio.ensure_future(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _refuse(self) -> None:
        """Count a request that is due and finds no connection, as its sender would have."""
        due = int((min(time.perf_counter(), self._ended_s) - self._begun_s) * self._job.rate)
        if self._sent < due and not self._idle:
            self._sent += 1
            self._refused += 1
            self._unanswered(self._begun_s + self._sent / self._job.rate, self._job.serial + self._sent)

    def _unanswered(self, due_s: float, serial: int) -> None:
        if self._job.record:
            self._record.append(Answered(serial, due_s, time.perf_counter(), 0, 0))

    def _report(self) -> dict[str, Any]:
        seconds = self._job.seconds
        taken = np.array(self._latencies or [np.inf])
        # What was due and never came counts as never: its latency is beyond every percentile that it reaches.
        due = int(seconds * self._job.rate) if self._job.rate else len(taken)  # give or take one
        missing = max(0, due - 1 - len(taken))
        ranked = np.concatenate([np.sort(taken), np.full(missing, np.inf)])
        p50, p90, p99 = (float(ranked[min(len(ranked) - 1, int(len(ranked) * q))]) for q in (0.5, 0.9, 0.99))
        good = sum(count for status, count in self._statuses.items() if status == 200)
        return {
            "rate": self._job.rate,
            "rps": good / seconds,
            "statuses": dict(self._statuses),
            "refusals": dict(self._refusals),
            "sent": self._sent,
            "lost": self._lost,
            "refused": self._refused,
            "missing": missing,
            **{
                f"{name}_ms": None if value == np.inf else 1000 * value
                for name, value in (("p50", p50), ("p90", p90), ("p99", p99))
            },
        }


def _reason(body: bytes | bytearray) -> str:
    """Return a problem document's words, or the beginning of what else was said."""
    found = _DETAIL.search(body)
    return (found[1] if found else bytes(body[:80])).decode(errors="replace")


def main() -> None:
    """Run the job of the command line."""
    import uvloop

    job = Job(**json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps(uvloop.run(Load(job).run())))


def spec(job: Job) -> str:
    """Return the job as the command line takes it."""
    return json.dumps(asdict(job))


if __name__ == "__main__":
    main()
