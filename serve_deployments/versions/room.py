"""Places in memory for versions, given in the order in which they are asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from serve_deployments.admission import RETRY_AFTER_S, OverloadedError
from serve_deployments.versions.residents import Residents
from serve_deployments.versions.weight import KNOB

WAIT_S = 2.0
"""How long a load waits for requests to come out of other versions: many passes through any model, and less than a
version's patience (10 s), so that a full house is told as one and not taken for a slow model."""


class NoRoomError(OverloadedError):
    """All memory for models is in use by requests."""


@dataclass(slots=True, eq=False)
class _Wish:
    """A version that waits for a place."""

    key: str
    size_bytes: int
    granted: asyncio.Future[None]


class Room:
    """Waits, with a bound, until a version fits; who needs much is not passed for ever by those who need little.

    Parameters
    ----------
    residents
        Who is there.
    gone
        Told of each that had to go.
    changed
        Told after places were given or taken back.
    wait_s
        Longest wait.
    """

    def __init__(
        self,
        residents: Residents,
        gone: Callable[[str], None],
        changed: Callable[[Residents], None],
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self.residents, self._gone, self._changed, self._wait_s = residents, gone, changed, wait_s
        self._wishes: deque[_Wish] = deque()

    def begin(self) -> None:
        """Forget who waited in an event loop that has ended."""
        self._wishes.clear()

    async def take(self, key: str, size_bytes: int) -> None:
        """Take a place, and stay inside; raise NoRoomError where none gets free in time."""
        wish = _Wish(key, size_bytes, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self.grant()
        if not wish.granted.done():
            await asyncio.wait([wish.granted], timeout=self._wait_s)
        if not wish.granted.done():
            self._wishes.remove(wish)
            self.grant()
            residents = self.residents
            raise NoRoomError(
                f"no memory for model '{key}': got {residents.total_bytes} bytes in use by requests to others "
                f"after {self._wait_s:g} s, expected {size_bytes} free of {residents.budget_bytes}; try again "
                f"later, or raise {KNOB}",
                retry_after_s=RETRY_AFTER_S,
            )

    def leave(self, key: str) -> None:
        """Come out of a version; where nobody else is inside, it may go."""
        if key in self.residents and self.residents.leave(key) and self._wishes:
            self.grant()

    def drop(self, key: str) -> None:
        """Give a version's place back."""
        if key in self.residents:
            self.residents.drop(key)
        self.grant()

    def grant(self) -> None:
        """Give places to those who have waited longest, as long as there are any."""
        while self._wishes:
            wish = self._wishes[0]
            going = self.residents.admit(wish.key, wish.size_bytes)
            if going is None:
                break
            self.residents.look_in(wish.key)
            self._wishes.popleft()
            for key in going:
                self._gone(key)
            wish.granted.set_result(None)
        self._changed(self.residents)
