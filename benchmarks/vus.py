"""VUS-PR: the volume under the precision-recall surface, as TSB-AD computes it, in milliseconds.

Paparrizos et al. (2022), Volume Under the Surface: labels are given soft borders of every width up to a period;
the area under the precision-recall curve is averaged over the widths. Held to the implementation of PyPI's `vus`
by tests/oracle/test_oracle_vus.py; the curve is read at the same 250 thresholds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.core.windows import Floats, Ints

THRESHOLDS = 250


def vus_pr(labels: npt.NDArray[np.int64], scores: Floats, widest: int) -> float:
    """Return VUS-PR.

    Parameters
    ----------
    labels
        (R,) 1 where a row is strange, with at least one 1 and one 0.
    scores
        (R,) finite; higher is stranger.
    widest
        Rows of the widest border, both sides together.
    """
    curve = _Curve(labels, scores)
    return float(np.mean([curve.area(width) for width in range(widest + 1)]))


class _Curve:
    """What all widths have in common: the order of the scores, and how many rows each threshold flags."""

    def __init__(self, labels: npt.NDArray[np.int64], scores: Floats) -> None:
        self._labels, self._scores = labels, scores
        edges = np.diff(np.concatenate([[0], labels, [0]]))
        self._events = np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1], axis=1)
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self._cuts = ranked[np.linspace(0, len(scores) - 1, THRESHOLDS).astype(int)]
        self._flagged = np.searchsorted(-ranked, -self._cuts, side="right")  # rows at or above each cut
        self._inside = np.cumsum(labels[self._order])[self._flagged - 1]

    def area(self, width: int) -> float:
        """Return the area under the curve for borders of one width."""
        soft = _softened(self._labels, self._events, width)
        caught = np.cumsum(soft[self._order])[self._flagged - 1]
        regions = _merged(self._events, width // 2, len(soft))
        peaks = np.array([self._scores[first : last + 1].max() for first, last in regions])
        found = (peaks[:, None] >= self._cuts).mean(axis=0)
        positives = self._labels.sum() + (caught - self._inside) / 2
        recall = np.minimum(caught / positives, 1.0) * found
        return float(np.diff(recall, prepend=0.0) @ (caught / self._flagged))


def _softened(labels: npt.NDArray[np.int64], events: Ints, width: int) -> Floats:
    """Return (R,) labels that fall off like a root over half a width before and after each event."""
    soft = labels.astype(np.float64)
    fall = np.sqrt(1.0 - np.arange(1, width // 2 + 1) / width) if width else np.empty(0)
    for first, last in events:
        after = min(len(fall), len(labels) - 1 - last)
        soft[last + 1 : last + 1 + after] += fall[:after]
        before = min(len(fall), first)
        soft[first - before : first] += fall[:before][::-1]
    return np.minimum(soft, 1.0)


def _merged(events: Ints, reach: int, rows: int) -> list[tuple[int, int]]:
    """Return the events with their borders; those that touch are one."""
    merged: list[tuple[int, int]] = []
    for first, last in events:
        start, stop = max(int(first) - reach, 0), min(int(last) + reach, rows - 1)
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return merged
