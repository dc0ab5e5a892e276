"""An answer as it arrives: never more of it than a client has room for, nor for longer than it has patience."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

MOST_BYTES = 256 << 20
"""Of an answer, unpacked: several million forecast steps as a table."""
PATIENCE_RATIO = 10.0
"""Longest time that an answer may take to arrive, over the longest silence in it: one that trickles ends too."""
_OF_THE_WAY = frozenset(("content-encoding", "content-length", "transfer-encoding"))


class UnboundedAnswerError(httpx.TransportError):
    """An answer has no end, or none that a client waits for."""


class Intake:
    """Takes the pieces of one answer.

    Parameters
    ----------
    response
        Its head.
    most_s
        Within which the whole of it must be there.
    most_bytes
        Bound of the whole.
    now_s
        A clock that never goes back.
    """

    def __init__(
        self,
        response: httpx.Response,
        *,
        most_s: float,
        most_bytes: int = MOST_BYTES,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._response, self._most_s, self._most_bytes, self._now_s = response, most_s, most_bytes, now_s
        self._pieces: list[bytes] = []
        self._bytes, self._begun_s = 0, now_s()

    def take(self, piece: bytes) -> None:
        """Keep a piece; raise UnboundedAnswerError where the answer is too long or too slow."""
        self._bytes += len(piece)
        self._pieces.append(piece)
        if self._bytes > self._most_bytes:
            raise UnboundedAnswerError(f"its answer has more than {self._most_bytes} bytes")
        if self._now_s() - self._begun_s > self._most_s:
            raise UnboundedAnswerError(f"its answer was not whole within {self._most_s:g} s")

    def whole(self) -> httpx.Response:
        """Return the answer with all that was taken."""
        head = self._response
        headers = [(name, value) for name, value in head.headers.multi_items() if name not in _OF_THE_WAY]
        return httpx.Response(
            head.status_code, headers=headers, content=b"".join(self._pieces), request=head.request
        )
