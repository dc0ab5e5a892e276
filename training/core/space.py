"""What a hyper-parameter may be, and when it exists: the single source for every searcher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.errors import ConfigError


@dataclass(frozen=True)
class When:
    """A condition: the parameter exists only where `parent` has one of `values`.

    Parameters
    ----------
    parent
        Name of a `Choice` or `Whole` of the same space; it may itself be conditional.
    values
        The parent's values, as the model sees them.
    """

    parent: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError(f"a condition on '{self.parent}' needs values: got none, expected one or more")


@dataclass(frozen=True)
class Real:
    """A number in [low, high]; `log` where the order of magnitude matters."""

    low: float
    high: float
    log: bool = False
    when: When | None = None

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)


@dataclass(frozen=True)
class Whole:
    """A whole number in [low, high], both ends included."""

    low: int
    high: int
    log: bool = False
    when: When | None = None

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)
        if self.low != int(self.low) or self.high != int(self.high):
            raise ConfigError(f"a whole range: got {self.low} to {self.high}, expected whole numbers; use Real")


@dataclass(frozen=True)
class Choice:
    """One of some values without an order."""

    values: tuple[Any, ...]
    when: When | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("a choice needs values: got none, expected one or more")
        if any(value in self.values[:at] for at, value in enumerate(self.values)):
            raise ConfigError(f"a choice names each value once: got {self.values}")


Dimension = Real | Whole | Choice
Space = dict[str, Dimension]
Draw = dict[str, float | int]
"""A point of a space: numbers as they are, of a choice its position; a parameter that does not exist there is
absent. Survives JSON, unlike a choice's values."""


def ordered(space: Mapping[str, Dimension]) -> tuple[str, ...]:
    """Return the names, parents before what depends on them; the door at which a space is checked.

    Raises
    ------
    ConfigError
        The space is empty, a condition names no parameter or value of it, or conditions go round in a circle.
    """
    if not space:
        raise ConfigError("a search space is empty: got no parameters, expected one or more")
    for name, dimension in space.items():
        _check_condition(name, dimension, space)
    names: list[str] = []
    while len(names) < len(space):
        free = [name for name, each in space.items() if name not in names and _settled(each.when, names)]
        if not free:
            left = ", ".join(f"'{name}'" for name in space if name not in names)
            raise ConfigError(f"conditions go round in a circle: got {left}, expected a parent without a condition")
        names += free
    return tuple(names)


def exists(dimension: Dimension, space: Mapping[str, Dimension], draw: Mapping[str, float | int]) -> bool:
    """Return whether a parameter exists where its parents are as drawn."""
    if dimension.when is None:
        return True
    if dimension.when.parent not in draw:
        return False
    return value_of(space[dimension.when.parent], draw[dimension.when.parent]) in dimension.when.values


def value_of(dimension: Dimension, drawn: float) -> Any:
    """Return what a model is given for what was drawn."""
    if isinstance(dimension, Choice):
        return dimension.values[int(drawn)]
    return int(drawn) if isinstance(dimension, Whole) else float(drawn)


def parameters(space: Mapping[str, Dimension], draw: Mapping[str, float | int]) -> dict[str, Any]:
    """Return a model's parameters for what was drawn from `space`."""
    return {name: value_of(space[name], drawn) for name, drawn in draw.items()}


def starting_draw(space: Mapping[str, Dimension], defaults: Mapping[str, Any]) -> Draw:
    """Return the draw nearest to the defaults: numbers are moved into range, strangers are left out."""
    draw: Draw = {}
    for name in ordered(space):
        drawn = _nearest(space[name], defaults[name]) if name in defaults else None
        if drawn is not None and exists(space[name], space, draw):
            draw[name] = drawn
    return {name: draw[name] for name in space if name in draw}


def _nearest(dimension: Dimension, value: Any) -> float | int | None:
    if isinstance(dimension, Choice):
        return dimension.values.index(value) if value in dimension.values else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    inside = min(max(value, dimension.low), dimension.high)
    return round(inside) if isinstance(dimension, Whole) else inside


def _settled(when: When | None, names: list[str]) -> bool:
    return when is None or when.parent in names


def _check_condition(name: str, dimension: Dimension, space: Mapping[str, Dimension]) -> None:
    if dimension.when is None:
        return
    parent = space.get(dimension.when.parent)
    if parent is None or isinstance(parent, Real):
        got = "no such parameter" if parent is None else "a Real"
        raise ConfigError(
            f"'{name}' depends on '{dimension.when.parent}': got {got}, expected a Choice or Whole of the space",
            parameter=name,
        )
    for value in dimension.when.values:
        known = value in parent.values if isinstance(parent, Choice) else parent.low <= value <= parent.high
        if not known:
            raise ConfigError(
                f"'{name}' exists where '{dimension.when.parent}' is {value!r}: expected a value of {parent}",
                parameter=name,
            )


def _check_range(low: float, high: float, log: bool) -> None:
    expected = None
    if not (math.isfinite(low) and math.isfinite(high)):
        expected = "finite ends"
    elif low >= high:
        expected = "low below high"
    elif log and low <= 0:
        expected = "low above 0, because its logarithm is taken; or log=False"
    if expected:
        raise ConfigError(
            f"a range is not usable: got low={low}, high={high}, log={log}, expected {expected}", low=low, high=high
        )
