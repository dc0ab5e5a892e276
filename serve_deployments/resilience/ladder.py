"""Who answers when the model cannot: rung by rung, in a stated order, each fall with its reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from cluster.errors import TransientError, UserError
from serve_deployments.admission import OverloadedError
from serve_deployments.patience import Patience
from serve_deployments.resilience.breaker import CircuitBreaker, Permit

A = TypeVar("A")
Subject = Callable[[], Hashable]
DEFAULT_RETRY_S = 1.0


class Rung(StrEnum):
    """The rungs, from the best down."""

    PRIMARY = "primary"
    PREVIOUS = "previous"
    RULE_BASED = "rule-based"
    DEFAULT = "default"


def _none() -> None:
    return None


class NoRungError(TransientError):
    """No rung of the fallback ladder could answer."""


@dataclass(frozen=True, kw_only=True)
class Miss:
    """A rung that did not answer.

    Parameters
    ----------
    rung
        Which.
    reason
        Why, in words.
    """

    rung: Rung
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return what the answer tells."""
        return {"rung": self.rung.value, "reason": self.reason}


@dataclass(frozen=True, kw_only=True)
class Landed(Generic[A]):
    """The first answer on the way down.

    Parameters
    ----------
    answer
        It.
    rung
        Who gave it.
    misses
        The rungs above, and why each did not answer.
    """

    answer: A
    rung: Rung
    misses: tuple[Miss, ...] = ()

    @property
    def degraded(self) -> bool:
        """Whether somebody else than the wanted version answered."""
        return self.rung is not Rung.PRIMARY

    @property
    def reason(self) -> str:
        """Why, in words; empty where the wanted version answered."""
        return "; ".join(f"{miss.rung.value}: {miss.reason}" for miss in self.misses)


@dataclass(frozen=True, kw_only=True)
class RungCall(Generic[A]):
    """How a rung is asked.

    Parameters
    ----------
    rung
        Which.
    call
        Returns the answer, or raises; cancelling it must end its work.
    breaker
        Of the model behind it; None where nothing can break.
    patience
        The next rung is asked after so long. None leaves it to the caller's own time-out.
    """

    rung: Rung
    call: Callable[[], Awaitable[A]]
    breaker: CircuitBreaker | None = None
    patience: Patience | None = None


class _RefusedByBreaker(Exception):  # noqa: N818 - a refusal, kept inside
    def __init__(self, reason: str, retry_after_s: float) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


async def climb_down(calls: Iterable[RungCall[A]], subject: Subject = _none) -> Landed[A]:
    """Return the answer of the first rung that gives one.

    A UserError ends the way at once: a wrong request is wrong on every rung, and says nothing about the model. So
    does an OverloadedError: the rungs below share the machine, and a refusal is how a full house stays bounded.

    Parameters
    ----------
    calls
        The rungs, best first; one or more.
    subject
        Returns what is asked, for the breakers, where a call fails: see `CircuitBreaker.record`.

    Raises
    ------
    NoRungError
        None answered; the message has each one's reason, Retry-After the soonest that a breaker allows.
    UserError, OverloadedError
        From a rung.
    """
    misses: list[Miss] = []
    waits_s: list[float] = []
    for each in calls:
        try:
            answer = await _ask(each, subject)
        except (UserError, OverloadedError):
            raise
        except _RefusedByBreaker as refusal:
            misses.append(Miss(rung=each.rung, reason=str(refusal)))
            waits_s.append(refusal.retry_after_s)
        except Exception as error:  # noqa: BLE001 - whatever a model raises, the next rung is asked, and it is told
            misses.append(Miss(rung=each.rung, reason=reason_of(error, each.patience)))
        else:
            return Landed(answer=answer, rung=each.rung, misses=tuple(misses))
    told = "; ".join(f"{miss.rung.value}: {miss.reason}" for miss in misses)
    raise NoRungError(
        f"no rung of the fallback ladder could answer: {told}",
        retry_after_s=min(waits_s, default=DEFAULT_RETRY_S),
        misses=[miss.to_json() for miss in misses],
    )


def reason_of(error: Exception, patience: Patience | None) -> str:
    """Return why a call failed, for people; a time-out by its length, errors of ours by their words."""
    if isinstance(error, TimeoutError):
        return "no answer in time" if patience is None else f"no answer within {patience.limit_s:g} s"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _ask(each: RungCall[A], subject: Subject) -> A:
    if each.breaker is None:
        return await _timed(each)
    decision = each.breaker.ask()
    if decision.permit is None:
        raise _RefusedByBreaker(f"circuit {decision.circuit.value}: {decision.reason}", decision.retry_after_s)
    return await _recorded(each, each.breaker, decision.permit, subject)


async def _recorded(each: RungCall[A], breaker: CircuitBreaker, permit: Permit, subject: Subject) -> A:
    """Ask with a permit, and give it back however the call ends."""
    try:
        answer = await _timed(each)
    except (UserError, OverloadedError):
        breaker.release(permit)
        raise
    except Exception as error:
        breaker.record(permit, reason_of(error, each.patience), subject())
        raise
    except BaseException:  # cancelled: the caller left
        breaker.release(permit)
        raise
    breaker.record(permit)
    return answer


async def _timed(each: RungCall[A]) -> A:
    if each.patience is None:
        return await each.call()
    with each.patience.wait():
        return await each.call()
