"""A circuit breaker: after some failures in a row, no more calls for a while, then a few to see."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum

from cluster.clock import Clock
from cluster.errors import ConfigError

BUSY_RETRY_S = 1.0
"""When to ask again while the trial calls of a half-open breaker are all out: about one forecast later."""


class Circuit(StrEnum):
    """The state of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


Changed = Callable[[Circuit, str], None]


def _unheard(circuit: Circuit, reason: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class BreakerSpec:
    """When a breaker opens, and how it closes again.

    Parameters
    ----------
    failures
        Failures in a row that open it, 1 or more. More forgive longer.
    open_s
        Seconds without calls before some are tried again.
    half_open_calls
        Trial calls, 1 or more: all must go well to close it, the first that does not opens it again.
    slow_s
        A call that takes longer is a failure; infinite where latency does not matter.
    """

    failures: int = 3
    open_s: float = 30.0
    half_open_calls: int = 10
    slow_s: float = math.inf

    def __post_init__(self) -> None:
        fine = self.failures >= 1 and self.half_open_calls >= 1 and self.open_s > 0 and self.slow_s > 0
        if not fine:
            raise ConfigError(f"circuit breaker: got {self}, expected counts of 1 or more and times above 0 s")


@dataclass(frozen=True)
class Permit:
    """The right to make one call; give it back with its outcome.

    Parameters
    ----------
    era
        Which stretch of the breaker's life it was given in: a call that ends in a later one says nothing about it.
    since_s
        When the call began.
    """

    era: int
    since_s: float


@dataclass(frozen=True, kw_only=True)
class BreakerDecision:
    """Whether to call.

    Parameters
    ----------
    permit
        The right to call; None where the call is refused.
    circuit
        The breaker's state.
    reason
        Why it is not closed; empty where it is.
    retry_after_s
        When asking again may help; 0 where the call is allowed.
    """

    permit: Permit | None
    circuit: Circuit
    reason: str = ""
    retry_after_s: float = 0.0


class CircuitBreaker:
    """Counts failures in a row, and decides call by call.

    Ours differs from most in three places. A call that began before the breaker changed its state no longer counts:
    a burst that fails late does not open it twice. Failures over the same subject (one strange input, asked again
    and again) count once while it is closed, so that one caller cannot switch a model off for all. And a trial
    call whose caller never comes back is forgotten after `open_s`, so that it cannot hold the breaker half-open.

    Parameters
    ----------
    spec
        Its numbers.
    clock
        Measures; one that never goes back.
    changed
        Told of each new state and its reason.
    """

    def __init__(self, spec: BreakerSpec, clock: Clock, changed: Changed = _unheard) -> None:
        self.spec, self._clock, self._changed = spec, clock, changed
        self._era, self._circuit, self._since_s, self._reason = 0, Circuit.CLOSED, clock.now_s(), ""
        self._failed: list[Hashable] = []
        self._out = self._well = 0

    @property
    def circuit(self) -> Circuit:
        """The state now; an open breaker whose time is over is half-open."""
        self._tick()
        return self._circuit

    @property
    def reason(self) -> str:
        """The failure that opened it; empty while it is closed."""
        return self._reason

    def ask(self) -> BreakerDecision:
        """Decide about a call now."""
        self._tick()
        now_s = self._clock.now_s()
        if self._circuit is Circuit.OPEN:
            return self._refuse(self._since_s + self.spec.open_s - now_s)
        if self._circuit is Circuit.HALF_OPEN:
            if self._out + self._well >= self.spec.half_open_calls:
                return self._refuse(BUSY_RETRY_S)
            self._out += 1
        return BreakerDecision(permit=Permit(self._era, now_s), circuit=self._circuit, reason=self._reason)

    def _refuse(self, retry_after_s: float) -> BreakerDecision:
        return BreakerDecision(
            permit=None, circuit=self._circuit, reason=self._reason, retry_after_s=max(0.0, retry_after_s)
        )

    def record(self, permit: Permit, fault: str = "", subject: Hashable = None) -> None:
        """Take in how a call ended.

        Parameters
        ----------
        permit
            Of the call.
        fault
            What went wrong; empty where it went well. A call slower than `slow_s` failed even so.
        subject
            What the call was about; None stands for something else each time.
        """
        took_s = self._clock.now_s() - permit.since_s
        if not fault and took_s > self.spec.slow_s:
            fault = f"slow: took {took_s:.3g} s, expected at most {self.spec.slow_s:.3g} s"
        if permit.era != self._era:
            return
        if self._circuit is Circuit.HALF_OPEN:
            self._tried(fault)
        elif not fault:
            self._failed.clear()
        elif subject is None or subject not in self._failed:
            self._failed.append(subject)
            if len(self._failed) >= self.spec.failures:
                self._enter(Circuit.OPEN, fault)

    def release(self, permit: Permit) -> None:
        """Take back the permit of a call that ended without telling anything: its caller left, or was wrong."""
        if permit.era == self._era and self._circuit is Circuit.HALF_OPEN:
            self._out -= 1

    def _tried(self, fault: str) -> None:
        if fault:
            self._enter(Circuit.OPEN, fault)
            return
        self._out, self._well = self._out - 1, self._well + 1
        if self._well >= self.spec.half_open_calls:
            self._enter(Circuit.CLOSED, "")

    def _tick(self) -> None:
        over = self._clock.now_s() - self._since_s >= self.spec.open_s
        lost = self._circuit is Circuit.HALF_OPEN and self._out > 0
        if over and (self._circuit is Circuit.OPEN or lost):
            self._enter(Circuit.HALF_OPEN, self._reason)

    def _enter(self, circuit: Circuit, reason: str) -> None:
        self._era, self._circuit, self._since_s, self._reason = self._era + 1, circuit, self._clock.now_s(), reason
        self._failed.clear()
        self._out = self._well = 0
        self._changed(circuit, reason)
