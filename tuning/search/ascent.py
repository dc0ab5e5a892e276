"""Where an acquisition is largest: many points are judged, the best climb, then step to discrete neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from training.core.cube import Floats, Mask
from tuning.search.encoding import Encoding

UNIFORM = 512
"""Points judged all over the cube; as many as BoTorch's examples take."""
NEAR_EACH = 40
"""Points judged near each of the best that are known, where improvements are found late in a search."""
CLIMBERS = 4
CLIMB_STEPS = 40
APART = 0.05
"""Climbers start at least so far from each other in some coordinate, lest all climb the same hill."""
CLIMB_TOLERANCE = 1e-6
"""Share of the (logarithmic) acquisition below which a step is the last one."""
WALK_STEPS = 4
SEEN_REACH = 1e-4
"""Share of a range around a tried point in which another tells nothing new."""
PENDING_REACH = 1e-2
"""The same around a pending one: beyond it the surrogate's belief keeps workers apart."""


Judge = Callable[[Floats], Floats]


def highest(acquisition: Any, encoding: Encoding, best: Floats, taken: Taken, rng: np.random.Generator) -> Floats:
    """Return the point (D,) with the largest acquisition found.

    Parameters
    ----------
    acquisition
        BoTorch's: (M, 1, D) -> (M,).
    encoding
        Of the space.
    best
        (B, D) the best points known.
    taken
        Where nothing more is to be found.
    rng
        Where randomness comes from.
    """

    def judge(points: Floats) -> Floats:
        return np.where(taken.covers(points), -np.inf, _values(acquisition, points))

    uniform = encoding.snap(rng.random((UNIFORM, best.shape[1])))
    judged = np.vstack([uniform, encoding.shaken(np.repeat(best, NEAR_EACH, axis=0), rng)])
    starts = _apart(judged, judge(judged))
    climbed = encoding.snap(_climbed(acquisition, starts, encoding.held(starts)))
    return _walked(judge, encoding, np.vstack([starts, climbed]))


class Taken:
    """Boxes in which nothing more is to be found: around what was seen, and wider around what is pending.

    Parameters
    ----------
    seen, pending
        (N, D) and (P, D) points.
    """

    def __init__(self, seen: Floats, pending: Floats) -> None:
        self._points = np.vstack([seen, pending])
        self._reach = np.array([SEEN_REACH] * len(seen) + [PENDING_REACH] * len(pending))

    def covers(self, points: Floats) -> Mask:
        """Return (M,) whether each point lies in one of them."""
        far = np.zeros((len(points), len(self._points)))
        for at in range(points.shape[1]):
            np.maximum(far, np.abs(points[:, None, at] - self._points[None, :, at]), out=far)
        return np.asarray((far < self._reach).any(axis=1))


def _values(acquisition: Any, points: Floats) -> Floats:
    import torch

    with torch.no_grad():
        values: Floats = acquisition(torch.from_numpy(points).unsqueeze(1)).numpy()
    return values


def _apart(points: Floats, values: Floats) -> Floats:
    picked: list[int] = []
    for at in np.argsort(-values):
        if not picked or np.abs(points[picked] - points[at]).max(axis=1).min() > APART:
            picked.append(int(at))
        if len(picked) == CLIMBERS:
            break
    return points[picked]


def _climbed(acquisition: Any, starts: Floats, held: Mask) -> Floats:
    """Return where L-BFGS leads from each start; what is held has no slope, and stays."""
    import torch
    from botorch.optim.batched_lbfgs_b import fmin_l_bfgs_b_batched

    def descent(points: Floats, batch_indices: list[int]) -> tuple[Floats, Floats]:
        tensor = torch.from_numpy(points).requires_grad_()
        values = -acquisition(tensor.unsqueeze(1))
        (slopes,) = torch.autograd.grad(values.sum(), tensor)
        return values.detach().numpy(), np.where(held[batch_indices], 0.0, slopes.numpy())

    free = [(0.0, 1.0) if not always else (None, None) for always in np.atleast_1d(held.all(axis=0))]
    ends, _, _ = fmin_l_bfgs_b_batched(
        descent, starts, bounds=free, maxiter=CLIMB_STEPS, factr=None, ftol=CLIMB_TOLERANCE, pass_batch_indices=True
    )
    return np.where(held | ~np.isfinite(ends), starts, ends)


def _walked(judge: Judge, encoding: Encoding, points: Floats) -> Floats:
    """Return the best of some points after steps to better discrete neighbours."""
    values = judge(points)
    at = int(values.argmax())
    for _ in range(WALK_STEPS):
        near = encoding.neighbours(points[at])
        if not len(near):
            break
        found = judge(near)
        if found.max() <= values[at]:
            break
        points, values, at = near, found, int(found.argmax())
    return np.asarray(points[at])
