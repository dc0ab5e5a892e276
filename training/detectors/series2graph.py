"""Rarely taken paths through a graph of the shapes that a series goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from cluster.errors import InsufficientHistoryError
from training.core.component import State
from training.core.detector import Detector, DetectorTags
from training.core.parameters import whole
from training.core.period import panel_period
from training.core.runner import Runner
from training.core.windows import Floats, Ints, Windows
from training.detectors.subsequences import cut_pieces, standards

RAYS = 50
"""Directions in which the plane of shapes is cut."""
SMOOTHED = 3
"""Part of a piece that is averaged over before shapes are compared: a third."""
GRID = 100
"""Places on a ray at which the density of crossings is looked at."""


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """Where the path of a series through the plane crosses the rays.

    Parameters
    ----------
    step
        (K,) the step of the path, ascending.
    ray
        (K,) which ray.
    radius
        (K,) how far from the origin.
    """

    step: Ints
    ray: Ints
    radius: Floats


class Series2Graph(Detector):
    """How seldom a series takes the transitions between shapes that it takes around a row.

    Pieces are smoothed and projected to the plane that is left of their three principal axes when the direction of
    their level is taken out. Where the path through that plane often crosses a ray, there is a node; each step from
    node to node is an edge, which counts how often it was taken. A stretch is usual where its edges weigh much and
    its nodes have many neighbours. How usual stretches of two windows are is averaged over one more.

    Parameters
    ----------
    window
        Rows in a piece, 6 or more; the dominant period of the rows it is fitted on when None.

    References
    ----------
    Boniol and Palpanas (2020), Series2Graph: Graph-based Subsequence Anomaly Detection for Time Series. Ours takes
    several columns, whose pieces it lays side by side.
    """

    name: ClassVar[str] = "series2graph"
    tags: ClassVar[DetectorTags] = DetectorTags()

    def __init__(self, *, window: int | None = None) -> None:
        self.window = None if window is None else whole("window", window, low=6)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return the example's season."""
        return {"window": 12}

    def lookback(self, state: State) -> int:
        """Return the rows of a stretch that is judged, and of the window that it is averaged over."""
        return 3 * int(state["width"])

    def learn(self, table: Windows, runner: Runner | None) -> State:  # noqa: ARG002 - nothing to iterate
        """Return the plane, the nodes on each ray, and the edges between them."""
        width = max(self.window or panel_period(table.rows), 2 * SMOOTHED)
        if len(table.rows) <= 3 * width:
            raise InsufficientHistoryError(
                f"'{self.name}' has too little to learn from: got {len(table.rows)} rows, expected at least "
                f"{3 * width + 1} for a window of {width}; give more rows or a smaller window",
                got=len(table.rows),
                expected=3 * width + 1,
            )
        mean, scale = standards(table.rows)
        state: State = {"width": width, "mean": mean, "scale": scale}
        shapes = _smoothed((table.rows - mean) / scale, width)
        state["origin"], state["plane"] = _plane(shapes)
        crossings = cross((shapes - state["origin"]) @ state["plane"])
        state["nodes"], state["first"] = _nodes(crossings)
        visited = _visited(state, crossings)
        return {**state, **_edges(visited)}

    def judge(self, state: State, table: Windows) -> Floats:
        """Return (R,) minus how usual the stretches around each row are."""
        width = int(state["width"])
        shapes = _smoothed((table.rows - np.asarray(state["mean"])) / np.asarray(state["scale"]), width)
        crossings = cross((shapes - np.asarray(state["origin"])) @ np.asarray(state["plane"]))
        taken = np.zeros(len(shapes))
        np.add.at(taken, crossings.step[1:], _weights(state, _visited(state, crossings)))
        usual = _mean(_mean(taken, width), width)
        missing = len(table.rows) - len(usual)
        return -np.pad(usual, (missing - missing // 2, missing // 2), mode="edge")


def _mean(values: Floats, width: int) -> Floats:
    """Return (N - width + 1,) moving means."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: Floats = (sums[width:] - sums[:-width]) / width
    return means


def _smoothed(rows: Floats, width: int) -> Floats:
    """Return (P, D) pieces of moving means over a third of the width."""
    part = max(width // SMOOTHED, 1)
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    return cut_pieces((sums[part:] - sums[:-part]) / part, width - part + 1)


def _plane(shapes: Floats) -> tuple[Floats, Floats]:
    """Return the mean shape, and (D, 2) the plane in the three principal axes at right angles to the level's."""
    origin = shapes.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(shapes, rowvar=False))
    main = axes[:, -3:]
    main = main * np.sign(main[np.abs(main).argmax(axis=0), np.arange(main.shape[1])])
    level = main.sum(axis=0)  # where a shape goes that is lifted as a whole
    full = np.linalg.qr(np.column_stack([level, np.eye(len(level))]))[0]
    return origin, main @ full[:, 1:3]


def cross(path: Floats) -> Crossings:
    """Return the crossings of a path (P, 2), step p being the way from point p - 1 to point p."""
    angle = np.unwrap(np.arctan2(path[:, 1], path[:, 0])) * RAYS / (2 * np.pi)
    place = np.floor(angle).astype(np.int64)
    moved = np.diff(place)
    count = np.abs(moved)
    step = np.repeat(np.arange(1, len(path)), count)
    nth = np.arange(len(step)) - np.repeat(np.cumsum(count) - count, count)
    forward = np.repeat(moved > 0, count)
    start = place[step - 1]
    ray = np.where(forward, start + 1 + nth, start - nth)
    return Crossings(step=step, ray=ray % RAYS, radius=_radius(path[step - 1], path[step], ray))


def _radius(before: Floats, after: Floats, ray: Ints) -> Floats:
    """Return (K,) the distance from the origin at which the ways from `before` to `after` cross the rays."""
    direction = 2 * np.pi * ray / RAYS
    x, y = np.cos(direction), np.sin(direction)
    way = after - before
    along = x * way[:, 1] - y * way[:, 0]
    across = before[:, 0] * way[:, 1] - before[:, 1] * way[:, 0]
    radius: Floats = np.abs(across / np.where(np.abs(along) > 1e-300, along, np.inf))
    return radius


def _nodes(crossings: Crossings) -> tuple[Floats, Ints]:
    """Return the radii of all rays' nodes, one ray after the other, and (RAYS + 1,) where each begins."""
    found = [_peaks(crossings.radius[crossings.ray == ray]) for ray in range(RAYS)]
    return np.concatenate(found), np.cumsum([0, *map(len, found)])


def _peaks(radii: Floats) -> Floats:
    """Return where the density of radii has its peaks; a Gaussian kernel with Scott's width."""
    if len(radii) == 0:
        return np.zeros(1)
    width = radii.std() * len(radii) ** -0.2
    if width <= 1e-12:
        return radii[:1].copy()
    grid = np.linspace(radii.min() - width, radii.max() + width, GRID)
    edges = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])
    held = np.histogram(radii, edges)[0]
    density = np.exp(-0.5 * np.square((grid[:, None] - grid) / width)) @ held
    inside = (density[1:-1] >= density[:-2]) & (density[1:-1] > density[2:])
    peaks: Floats = grid[1:-1][inside]
    return peaks


def _visited(state: State, crossings: Crossings) -> Ints:
    """Return (K,) the node nearest to each crossing on its ray."""
    nodes, first = np.asarray(state["nodes"]), np.asarray(state["first"])
    visited = np.zeros(len(crossings.ray), dtype=np.int64)
    for ray in range(RAYS):
        here = crossings.ray == ray
        own = nodes[first[ray] : first[ray + 1]]
        visited[here] = first[ray] + np.searchsorted((own[1:] + own[:-1]) / 2, crossings.radius[here])
    return visited


def _edges(visited: Ints) -> dict[str, npt.NDArray[Any]]:
    """Return the edges taken, by their ends, how often each was, and how many neighbours a node has."""
    pairs, count = np.unique(np.stack([visited[:-1], visited[1:]], axis=1), axis=0, return_counts=True)
    nodes = int(pairs.max(initial=0)) + 1
    between = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    return {"pairs": pairs, "count": count, "degree": np.bincount(between.ravel(), minlength=nodes)}


def _weights(state: State, visited: Ints) -> Floats:
    """Return (K - 1,) how usual each transition is: its count times its first node's neighbours less one."""
    pairs, degree = np.asarray(state["pairs"]), np.asarray(state["degree"])
    size = max(int(np.asarray(state["first"])[-1]), 1)
    known, asked = pairs[:, 0] * size + pairs[:, 1], visited[:-1] * size + visited[1:]
    at = np.searchsorted(known, asked).clip(max=max(len(known) - 1, 0))
    count = np.where(known[at] == asked, np.asarray(state["count"])[at], 0) if len(known) else np.zeros(len(asked))
    from_node = np.where(visited[:-1] < len(degree), degree[np.minimum(visited[:-1], len(degree) - 1)], 1)
    weights: Floats = count * (from_node - 1.0).clip(0)
    return weights
