"""The cube as a Gaussian process sees it: which coordinates have an order, which can be moved a little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.core.cube import Cube, Floats, Mask, levels
from training.core.space import Choice, Draw

ABSENT = -1.0
"""A choice that does not exist: a value of its own, different from each that does."""
FEW = 8
"""A whole number of so many values is stepped through; one of more is moved as if it were real, then rounded."""


class Encoding:
    """Points (N, D) of draws, and what may be done with their coordinates.

    A point stands in the middle of its values' bins, so that the kernel sees what is tried, not what was proposed
    before rounding (Garrido-Merchan and Hernandez-Lobato, 2020).

    Parameters
    ----------
    cube
        The space.
    """

    def __init__(self, cube: Cube) -> None:
        dimensions = [cube.space[name] for name in cube.names]
        self.cube = cube
        self.unordered: Mask = np.array([isinstance(each, Choice) for each in dimensions])
        self.levels = [levels(each) for each in dimensions]
        self._few = self.unordered | np.array([count is not None and count <= FEW for count in self.levels])

    def points(self, draws: Sequence[Draw]) -> Floats:
        """Return (N, D) the draws' points."""
        points = [self.cube.encode(draw) for draw in draws]
        return self.snap(np.array(points).reshape(-1, self.cube.width))

    def snap(self, points: Floats) -> Floats:
        """Return the points of the draws that these stand for."""
        snapped, there = self.cube.snap(points)
        return np.where(~there & self.unordered, ABSENT, snapped)

    def draw(self, point: Floats) -> Draw:
        """Return the draw of a point (D,)."""
        return self.cube.decode(point)

    def held(self, points: Floats) -> Mask:
        """Return (N, D) the coordinates that no gradient can move: of few values, or that do not exist there."""
        return np.asarray(self._few | ~self.cube.snap(points)[1])

    def shaken(self, points: Floats, rng: np.random.Generator) -> Floats:
        """Return points near these: steps of any size, another value for some of the coordinates of few values."""
        moved = rng.random(points.shape) < min(0.5, 10 / points.shape[1])
        steps = 10 ** rng.uniform(-2.5, -0.5, (len(points), 1)) * rng.standard_normal(points.shape)
        jumps = np.where(rng.random(points.shape) < 0.3, rng.random(points.shape), points)
        return self.snap(np.where(self._few, jumps, np.clip(points + moved * steps, 0.0, 1.0)))

    def neighbours(self, point: Floats) -> Floats:
        """Return (M, D) the points with one stepped coordinate changed; empty where there is none."""
        found = []
        for at, count in enumerate(self.levels):
            if count is None:
                continue
            steps = [point[at] - 1 / count, point[at] + 1 / count]
            for share in (np.arange(count) + 0.5) / count if self._few[at] else np.clip(steps, 0.0, 1.0):
                changed = point.copy()
                changed[at] = share
                found.append(changed)
        return self.snap(np.array(found)) if found else np.empty((0, len(point)))
