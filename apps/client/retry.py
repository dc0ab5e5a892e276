"""When a client asks again: only what is safe to repeat, later and later, and never as a storm."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import httpx

from cluster.errors import ConfigError

PASSING_STATUSES = frozenset((429, 502, 503, 504))
"""A proxy without a server behind it, a server that is full or starting, a caller over its rate."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often, and how long between.

    Parameters
    ----------
    attempts
        Most tries of one request; 1 never repeats.
    first_s, factor, most_s
        The wait before try n is drawn evenly between 0 and `first_s * factor ** (n - 2)`, at most `most_s`: clients
        that failed together do not come back together. A Retry-After is waited for on top.
    patience_s
        Most seconds one request waits between its tries; a Retry-After beyond it ends the trying at once.

    References
    ----------
    M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015 ("full jitter").
    """

    attempts: int = 4
    first_s: float = 0.1
    factor: float = 2.0
    most_s: float = 5.0
    patience_s: float = 20.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.first_s, self.most_s, self.patience_s) < 0 or self.factor < 1:
            raise ConfigError(f"retries: got {self}, expected at least one attempt, times from 0, a factor from 1")

    def delay_s(
        self, tries: int, outcome: httpx.Response | httpx.RequestError, waited_s: float, draw: float
    ) -> float | None:
        """Return how long to wait before the next try, None where there is none.

        Parameters
        ----------
        tries
            Made so far.
        outcome
            Of the last.
        waited_s
            Between them.
        draw
            In [0, 1): the dice of the jitter.
        """
        if tries >= self.attempts or not passing(outcome):
            return None
        wait_s = draw * min(self.most_s, self.first_s * self.factor ** (tries - 1))
        if isinstance(outcome, httpx.Response):
            wait_s += retry_after_s(outcome)
        return wait_s if waited_s + wait_s <= self.patience_s else None


@dataclass(kw_only=True)
class RetryBudget:
    """Bounds retries to a share of all requests, so that clients do not hold down a service that is ill.

    Parameters
    ----------
    ratio
        Retries earned by each request.
    most
        Retries that may be saved up; a client begins with them.
    """

    ratio: float = 0.1
    most: float = 10.0
    saved: float = field(init=False)

    def __post_init__(self) -> None:
        self.saved = self.most

    def earn(self) -> None:
        """Count a request."""
        self.saved = min(self.most, self.saved + self.ratio)

    def spend(self) -> bool:
        """Take a retry; say whether there was one."""
        if self.saved < 1:
            return False
        self.saved -= 1
        return True


class Retries:
    """A client's policy, budget and dice.

    Parameters
    ----------
    policy
        How often, and how long between.
    budget
        For all requests of the client.
    dice
        Of the jitter.
    """

    def __init__(
        self, policy: RetryPolicy, budget: RetryBudget | None = None, dice: random.Random | None = None
    ) -> None:
        self.policy, self.budget = policy, budget or RetryBudget()
        # No secret hangs on these dice.
        self._dice = dice or random.Random()  # noqa: S311

    def delay_s(self, tries: int, outcome: httpx.Response | httpx.RequestError, waited_s: float) -> float | None:
        """Return how long to wait before the next try, None where there is none."""
        delay_s = self.policy.delay_s(tries, outcome, waited_s, self._dice.random())
        return delay_s if delay_s is not None and self.budget.spend() else None


def passing(outcome: httpx.Response | httpx.RequestError) -> bool:
    """Say whether a fault may be gone at the next try.

    A read time-out is not: the work may still go on, and asking again would double it.
    """
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in PASSING_STATUSES
    return isinstance(outcome, httpx.NetworkError | httpx.RemoteProtocolError | httpx.ConnectTimeout)


def retry_after_s(response: httpx.Response) -> float:
    """Return the seconds that Retry-After asks for; 0 without one, or with a date, which our API never sends."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0
