"""A space as the unit cube: the only numeric view that searchers have of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
import numpy.typing as npt

from cluster.errors import ConfigError
from training.core.space import Choice, Dimension, Draw, Real, Space, When, Whole, exists, ordered

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
MIDDLE = 0.5
"""Where a parameter stands that does not exist: all such points are one point."""


class Cube:
    """Draws of a space as points of [0, 1]^D, and back.

    A real number lies at its share of the range, or of the range's logarithm. A whole number and a choice own
    one of K equal bins, of the logarithm's bins for a whole number on a log scale, and stand in their middle, so
    that a uniform point falls on each with the same (or the log scale's) chance.

    Parameters
    ----------
    space
        What is searched; checked here.

    Raises
    ------
    ConfigError
        The space is empty, or a condition is not usable.
    """

    def __init__(self, space: Space) -> None:
        self._order = ordered(space)
        self.space = dict(space)
        self.names = tuple(space)
        self._at = {name: at for at, name in enumerate(self.names)}
        self._allowed = {name: _allowed(each.when, space) for name, each in space.items() if each.when is not None}

    @property
    def width(self) -> int:
        """D: one coordinate a parameter."""
        return len(self.names)

    def encode(self, draw: Mapping[str, float | int]) -> Floats:
        """Return (D,) the point of a draw; ConfigError where it is no draw of this space."""
        self.checked(draw)
        point = np.full(self.width, MIDDLE)
        for name, drawn in draw.items():
            point[self._at[name]] = _shares(self.space[name], np.array([drawn], dtype=np.float64))[0]
        return point

    def decode(self, point: Floats) -> Draw:
        """Return the draw that a point (D,) stands for; coordinates beyond [0, 1] are moved to the edge."""
        drawn, there = self._decoded(point[None])
        found = ((name, drawn[0, at], self.space[name]) for name, at in self._at.items() if there[0, at])
        return {
            name: float(value) if isinstance(dimension, Real) else int(value) for name, value, dimension in found
        }

    def snap(self, points: Floats) -> tuple[Floats, Mask]:
        """Return (N, D) the points of the draws that some points stand for, and (N, D) which parameters exist."""
        drawn, there = self._decoded(points)
        columns = [_shares(self.space[name], drawn[:, at]) for name, at in self._at.items()]
        return np.where(there, np.column_stack(columns), MIDDLE), there

    def _decoded(self, points: Floats) -> tuple[Floats, Mask]:
        """Return (N, D) what is drawn in each coordinate, and which of them exist."""
        drawn, there = np.empty(points.shape), np.ones(points.shape, dtype=bool)
        for name in self._order:
            at, dimension = self._at[name], self.space[name]
            drawn[:, at] = _drawn(dimension, np.clip(points[:, at], 0.0, 1.0))
            if dimension.when is not None:
                parent = self._at[dimension.when.parent]
                there[:, at] = there[:, parent] & np.isin(drawn[:, parent], self._allowed[name])
        return drawn, there

    def complete(self, draw: Mapping[str, float | int]) -> Draw:
        """Return a draw with what it lacks: the middle of each range, a choice's first value."""
        whole: Draw = {}
        for name in self._order:
            dimension = self.space[name]
            if exists(dimension, self.space, whole):
                first = 0.0 if isinstance(dimension, Choice) else MIDDLE
                middle = _drawn(dimension, np.array([first]))[0]
                middle = float(middle) if isinstance(dimension, Real) else int(middle)
                whole[name] = draw.get(name, middle)
        return {name: whole[name] for name in self.names if name in whole}

    def key(self, draw: Mapping[str, float | int]) -> tuple[float | int | None, ...]:
        """Return what two equal draws have in common: hashable."""
        return tuple(draw.get(name) for name in self.names)

    def draws(self, most: int) -> Iterator[Draw] | None:
        """Return all draws, each once; None where a parameter is real or there may be more than `most`."""
        counts = [levels(self.space[name]) for name in self.names]
        if any(count is None for count in counts) or math.prod(count or 1 for count in counts) > most:
            return None
        return self._all([count or 1 for count in counts])

    def _all(self, counts: list[int]) -> Iterator[Draw]:
        seen = set()
        # A log scale's bins differ in width: positions are turned into draws, not into shares of the cube.
        for positions in product(*(range(count) for count in counts)):
            full = {
                name: at if isinstance(self.space[name], Choice) else _low(self.space[name]) + at
                for name, at in zip(self.names, positions, strict=True)
            }
            draw: Draw = {}
            for name in self._order:
                if exists(self.space[name], self.space, draw):
                    draw[name] = full[name]
            if self.key(draw) not in seen:
                seen.add(self.key(draw))
                yield {name: draw[name] for name in self.names if name in draw}

    def checked(self, draw: Mapping[str, float | int]) -> Draw:
        """Return a copy of the draw; ConfigError where it is none of this space."""
        for name, dimension in self.space.items():
            if exists(dimension, self.space, draw) != (name in draw):
                state = "is missing" if name not in draw else "does not exist there"
                raise ConfigError(f"no draw of this space: '{name}' {state}; got {dict(draw)}", parameter=name)
            if name in draw and not _inside(dimension, draw[name]):
                raise ConfigError(f"no draw of this space: '{name}' got {draw[name]}, expected {dimension}")
        strangers = [name for name in draw if name not in self.space]
        if strangers:
            known = ", ".join(self.names)
            raise ConfigError(f"no draw of this space: got {', '.join(strangers)}, expected {known}")
        return dict(draw)


def levels(dimension: Dimension) -> int | None:
    """Return how many values there are; None of a real number."""
    if isinstance(dimension, Real):
        return None
    return len(dimension.values) if isinstance(dimension, Choice) else int(dimension.high - dimension.low) + 1


def _low(dimension: Dimension) -> int:
    return int(dimension.low) if isinstance(dimension, Whole) else 0


def _inside(dimension: Dimension, drawn: float) -> bool:
    if isinstance(dimension, Choice):
        return drawn == int(drawn) and 0 <= drawn < len(dimension.values)
    whole = isinstance(dimension, Real) or drawn == int(drawn)
    return whole and dimension.low <= drawn <= dimension.high


def _allowed(when: When, space: Space) -> list[int]:
    """Return what the parent may have drawn."""
    parent = space[when.parent]
    return (
        [parent.values.index(value) for value in when.values] if isinstance(parent, Choice) else list(when.values)
    )


def _shares(dimension: Dimension, drawn: Floats) -> Floats:
    """Return where in [0, 1] values stand: the middle of their bin."""
    if isinstance(dimension, Choice):
        return (drawn + 0.5) / len(dimension.values)
    low, high = _edges(dimension)
    if not dimension.log:
        return (drawn - low) / (high - low)
    half = 0.5 if isinstance(dimension, Whole) else 0.0
    middles = np.log(np.maximum(drawn - half, low)) / 2 + np.log(np.minimum(drawn + half, high)) / 2
    return np.asarray((middles - np.log(low)) / (np.log(high) - np.log(low)))


def _drawn(dimension: Dimension, shares: Floats) -> Floats:
    """Return the values that own shares of [0, 1]."""
    if isinstance(dimension, Choice):
        return np.minimum(np.floor(shares * len(dimension.values)), len(dimension.values) - 1)
    low, high = _edges(dimension)
    if dimension.log:
        found = np.exp(np.log(low) + shares * (np.log(high) - np.log(low)))
    else:
        found = low + shares * (high - low)
    if isinstance(dimension, Whole):
        found = np.floor(found + 0.5)
    return np.asarray(np.clip(found, dimension.low, dimension.high))


def _edges(dimension: Real | Whole) -> tuple[float, float]:
    """Return the range with half a step on both sides of a whole one: each number then owns a whole bin."""
    half = 0.5 if isinstance(dimension, Whole) else 0.0
    return dimension.low - half, dimension.high + half
