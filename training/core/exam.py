"""How the exam is sat: a check is a function that raises where a model breaks a promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from cluster.errors import HeliotropeError
from training.core.estimator import Estimator


class Examinee(Protocol):
    """Whoever sits an exam: a class of some catalog, by its name there."""

    @property
    def name(self) -> str:
        """Name in the catalog."""

    @property
    def kind(self) -> type[Estimator]:
        """The class."""


K = TypeVar("K", bound=Examinee)


class CheckFailed(AssertionError):  # noqa: N818 - a finding of the exam, not a fault of the exam
    """A model does not keep a promise."""


@dataclass(frozen=True, kw_only=True)
class Check(Generic[K]):
    """One question of the exam.

    Parameters
    ----------
    name
        Of the check; with the model's name the test's id.
    why
        The promise, in a line.
    run
        Raises CheckFailed where the promise is broken.
    """

    name: str
    why: str
    run: Callable[[K], None]

    @classmethod
    def of(cls, function: Callable[[K], None]) -> Self:
        """Return the check that a function is; its docstring is the promise."""
        return cls(name=function.__name__, why=(function.__doc__ or "").strip(), run=function)


def sit(check: Check[K], candidate: K) -> None:
    """Let a candidate answer one question.

    A check that the model is excused from must fail: an excuse that is no longer needed is a failure itself.

    Raises
    ------
    CheckFailed
        The promise is broken, or kept in spite of an excuse.
    """
    excuse = candidate.kind.excuses.get(check.name)
    if excuse is None:
        check.run(candidate)
        return
    try:
        check.run(candidate)
    except CheckFailed:
        return
    raise CheckFailed(f"'{candidate.name}' passes '{check.name}': remove its excuse '{excuse}'")


def expect(fine: bool, message: str) -> None:
    """Raise CheckFailed with the message unless `fine`."""
    if not fine:
        raise CheckFailed(message)


def refused(error: type[HeliotropeError], act: Callable[[], Any], *, names: str = "") -> None:
    """Expect `act` to raise `error` with a message that names `names`."""
    try:
        act()
    except error as refusal:
        expect(names in str(refusal), f"the message does not name '{names}': {refusal}")
    else:
        raise CheckFailed(f"nothing was refused, expected {error.__name__}")
