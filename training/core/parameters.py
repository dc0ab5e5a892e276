"""Hyper-parameters out of range are refused where they are given, with the range."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from cluster.errors import ConfigError


def whole(name: str, got: Any, *, low: int, high: int | None = None) -> int:
    """Return `got` as an int; raise ConfigError unless it is a whole number in [low, high]."""
    fine = isinstance(got, Integral) and not isinstance(got, bool)
    if not fine or got < low or (high is not None and got > high):
        raise _refusal(name, got, f"a whole number, {_range(low, high)}")
    return int(got)


def real(name: str, got: Any, *, low: float, high: float | None = None, above: bool = False) -> float:
    """Return `got` as a float; raise ConfigError unless it is in [low, high], or (low, high] where `above`."""
    fine = isinstance(got, Real) and not isinstance(got, bool)
    inside = fine and (got > low if above else got >= low) and (high is None or got <= high)
    if not inside or got == float("inf"):
        raise _refusal(name, got, f"a finite number, {_range(low, high, above=above)}")
    return float(got)


def flag(name: str, got: Any) -> bool:
    """Return `got`; raise ConfigError unless it is True or False."""
    if not isinstance(got, bool):
        raise _refusal(name, got, "True or False")
    return got


def one_of(name: str, got: Any, known: tuple[str, ...]) -> str:
    """Return `got`; raise ConfigError unless it is one of `known`."""
    if got not in known:
        raise _refusal(name, got, f"one of {', '.join(known)}")
    return str(got)


def _range(low: float, high: float | None, *, above: bool = False) -> str:
    start = f"{'above' if above else 'at least'} {low:g}"
    return start if high is None else f"{start}, at most {high:g}"


def _refusal(name: str, got: Any, expected: str) -> ConfigError:
    return ConfigError(
        f"parameter '{name}': got {got!r}, expected {expected}", parameter=name, got=repr(got), expected=expected
    )
