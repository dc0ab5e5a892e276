"""What replicas count of a rollout: plain numbers that add up over replicas and subtract over time.

A tally is a tree of numbers (dicts and lists), cumulative since the replica started. So a lost or doubled message
costs nothing, sums over replicas are sums of trees, and what happened between two looks is a difference of trees.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Literal

Tree = Any
"""Nested: name -> Tree | list of numbers | number."""

Side = Literal["new", "old"]
EDGES = tuple(0.0005 * 2 ** (place / 4) for place in range(81))
"""Bounds of histogram cells: from half a millisecond four cells an octave up to some 500 s. The same cells hold the
widths of intervals relative to the forecast."""
MAX_SEGMENTS = 32
OTHERS = "others"
"""Where the series of further segments are counted together."""


def empty_side() -> dict[str, Tree]:
    """Return the counts of one version that did nothing yet."""
    return {
        "requests": 0,
        "errors": 0,
        "refused": 0,
        "out_of_range": 0,
        "inaccurate": 0,
        "durations": [0] * (len(EDGES) + 1),
        "widths": [0] * (len(EDGES) + 1),
        "duration_s": [0, 0.0, 0.0],
        "accuracy": [0, 0.0, 0.0],
        "segments": {},
    }


def empty_tally() -> dict[str, Tree]:
    """Return the counts of a rollout under one split in which nothing happened yet."""
    pairs = {"count": 0, "new_errors": 0, "old_errors": 0, "both_errors": 0, "differences": [0, 0.0, 0.0]}
    return {"new": empty_side(), "old": empty_side(), "pairs": pairs}


class Tally:
    """Counts answers of one rollout under one split."""

    def __init__(self) -> None:
        self.counts = empty_tally()

    def answered(
        self,
        side: Side,
        *,
        duration_s: float,
        failed: bool,
        refused: bool = False,
        segments: Iterable[str] = (),
        width_ratio: float | None = None,
        out_of_range: bool = False,
        witness: bool = True,
    ) -> None:
        """Count an answer.

        Parameters
        ----------
        side
            Which version gave it.
        duration_s
            From the request's arrival to the answer.
        failed
            The caller got a fault of ours (5xx), or an answer from a lower rung.
        refused
            The caller was told to mend the request (4xx).
        segments
            What its series belong to, each counted once.
        width_ratio
            Mean width of the forecast's intervals over its mean size; None where there is no forecast.
        out_of_range
            A forecast lies outside the schema's physical range.
        witness
            Whether it tells something new. A sticky unit's later answers resemble its first, and always fall to the
            same version: only their number and their failures count.
        """
        counts = self.counts[side]
        counts["requests"] += 1
        counts["errors"] += failed
        for segment in set(segments):
            self._segment(segment)[side]["requests"] += 1
            self._segment(segment)[side]["errors"] += failed
        if not witness:
            return
        counts["refused"] += refused
        counts["out_of_range"] += out_of_range
        if not failed and not refused:
            counts["durations"][cell(duration_s)] += 1
            _moment(counts["duration_s"], duration_s)
        if width_ratio is not None and isfinite(width_ratio):
            counts["widths"][cell(width_ratio)] += 1

    def _segment(self, name: str) -> dict[str, dict[str, int]]:
        both = [self.counts[side]["segments"] for side in ("new", "old")]
        name = name if name in both[0] or len(both[0]) < MAX_SEGMENTS - 1 else OTHERS
        return {
            side: segments.setdefault(name, {"requests": 0, "errors": 0})
            for side, segments in zip(("new", "old"), both, strict=True)
        }

    def truth(self, side: Side, accuracy_ratio: float, *, enough_ratio: float) -> None:
        """Count what a forecast was worth, once the truth is known.

        Parameters
        ----------
        accuracy_ratio
            1 - WAPE of the request, counted as 0 where it is below.
        enough_ratio
            Below this the forecast counts as inaccurate.
        """
        kept = min(1.0, max(0.0, accuracy_ratio))
        _moment(self.counts[side]["accuracy"], kept)
        self.counts[side]["inaccurate"] += kept < enough_ratio

    def compared(self, *, new_failed: bool, old_failed: bool, difference_ratio: float | None) -> None:
        """Count a request that both versions answered.

        Parameters
        ----------
        new_failed, old_failed
            Who failed.
        difference_ratio
            Mean absolute difference of the forecasts over the old one's mean size, counted as 1 where it is above;
            None where one failed.
        """
        pairs = self.counts["pairs"]
        pairs["count"] += 1
        pairs["new_errors"] += new_failed and not old_failed
        pairs["old_errors"] += old_failed and not new_failed
        pairs["both_errors"] += old_failed and new_failed
        if difference_ratio is not None:
            _moment(pairs["differences"], min(1.0, difference_ratio))


def cell(value: float) -> int:
    """Return the histogram cell a value falls into."""
    return bisect_right(EDGES, value)


def _moment(moments: list[float], value: float) -> None:
    moments[0] += 1
    moments[1] += value
    moments[2] += value * value


def add(first: Tree, second: Tree) -> Tree:
    """Return the sum of two trees; what one of them lacks counts as zero."""
    return _each(first, second, 1)


def grown(now: Tree, before: Tree) -> Tree:
    """Return by how much a cumulative tree grew."""
    return _each(now, before, -1)


def _each(first: Tree, second: Tree, sign: int) -> Tree:
    if isinstance(first, Mapping) or isinstance(second, Mapping):
        a, b = first or {}, second or {}
        return {key: _each(a.get(key), b.get(key), sign) for key in {**a, **b}}
    if isinstance(first, list) or isinstance(second, list):
        filled = max(len(first or ()), len(second or ()))
        a, b = first or [0] * filled, second or [0] * filled
        return [x + sign * y for x, y in zip(a, b, strict=True)]
    return (first or 0) + sign * (second or 0)
