"""How badly a smooth curve through the surroundings tells a stretch of a series."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cluster.errors import InsufficientHistoryError
from training.core.component import State
from training.core.detector import Detector, DetectorTags
from training.core.parameters import one_of, whole
from training.core.period import panel_period
from training.core.runner import Runner
from training.core.space import Space, Whole
from training.core.windows import Floats, Windows
from training.detectors.subsequences import standards

NEIGHBOURHOOD = 10
"""Windows that the curve is fitted to: five before and five after."""
FEWEST_ROWS = 100
"""Rows of the smallest neighbourhood."""


class Poly(Detector):
    """The residuals of each block of rows from a polynomial that is fitted to its neighbourhood without it.

    Parameters
    ----------
    window
        Rows in a block; the dominant period of the rows it is fitted on when None.
    align
        `centre`: the neighbourhood lies before and after the block, and all rows of a block get its root mean
        squared residual. `end`: the block ends at the row and the neighbourhood lies before the block, so that a
        score sees no future.
    power
        Degree of the polynomial, 0 to 6. TSB-AD has 4; 3 told the labelled rows of its NAB series apart best.

    References
    ----------
    Li, Ma and Mei (2007), A Unifying Method for Outlier and Change Detection from Data Streams Based on Local
    Polynomial Fitting, in the form of TSB-AD's POLY. Ours also scores the first rows, from those
    after them.
    """

    name: ClassVar[str] = "poly"
    tags: ClassVar[DetectorTags] = DetectorTags(online=True)

    def __init__(self, *, window: int | None = None, align: str = "centre", power: int = 3) -> None:
        self.window = None if window is None else whole("window", window, low=2)
        self.align = one_of("align", align, ("centre", "end"))
        self.power = whole("power", power, low=0, high=6)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return short blocks without a view of the future."""
        return {"window": 6, "align": "end", "power": 0}

    @classmethod
    def search_space(cls) -> Space:
        """Return the degree."""
        return {"power": Whole(1, 4)}

    @property
    def causal(self) -> bool:
        """Whether the neighbourhood lies before the block."""
        return self.align == "end"

    def learn(self, table: Windows, runner: Runner | None) -> State:  # noqa: ARG002 - nothing to iterate
        """Return the window and each column's scale; the curve is fitted where it is needed."""
        width = self.window or panel_period(table.rows)
        mean, scale = standards(table.rows)
        state = {"width": width, "mean": mean, "scale": scale}
        if len(table.rows) <= self.lookback(state):
            raise InsufficientHistoryError(
                f"'{self.name}' has too little to learn from: got {len(table.rows)} rows, expected at least "
                f"{self.lookback(state) + 1} for a window of {width}; give more rows or a smaller window",
                got=len(table.rows),
                expected=self.lookback(state) + 1,
            )
        return state

    def lookback(self, state: State) -> int:
        """Return the neighbourhood and all but one row of the block; two blocks where both sides are seen."""
        width = int(state["width"])
        return _half(width) + width - 1 if self.align == "end" else 2 * width + self.power

    def judge(self, state: State, table: Windows) -> Floats:
        """Return (R,) root mean squared residuals, over all columns."""
        rows = (table.rows - np.asarray(state["mean"])) / np.asarray(state["scale"])
        width = int(state["width"])
        return self._before(rows, width) if self.align == "end" else self._around(rows, width)

    def _before(self, rows: Floats, width: int) -> Floats:
        """Score the block that ends at each row by the curve through the half neighbourhood before it."""
        half = _half(width)
        near = np.arange(-half, 0)
        missed = curve(near, np.arange(width), self.power)  # (width, half)
        pieces = np.lib.stride_tricks.sliding_window_view(rows, half + width, axis=0)
        error = pieces[..., half:] - pieces[..., :half] @ missed.T
        return np.concatenate([np.full(half + width - 1, np.nan), np.sqrt(np.square(error).mean(axis=(1, 2)))])

    def _around(self, rows: Floats, width: int) -> Floats:
        """Score each block by the curve through what surrounds it; at the ends the surroundings are one-sided."""
        scores = np.empty(len(rows))
        reach = min(2 * _half(width), len(rows))
        for first in range(0, len(rows), width):
            last = min(first + width, len(rows))
            start = min(max(first - reach // 2, 0), len(rows) - reach)
            near = np.concatenate([np.arange(start, first), np.arange(last, start + reach)])
            place = curve(near - first, np.arange(last - first), self.power)
            scores[first:last] = np.sqrt(np.square(rows[first:last] - place @ rows[near]).mean())
        return scores


def _half(width: int) -> int:
    """Return the rows of half a neighbourhood."""
    return max(NEIGHBOURHOOD * width, FEWEST_ROWS) // 2


def curve(known: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], power: int) -> Floats:
    """Return (W, K) the weights by which values at `known` places tell the fitted polynomial at `wanted` ones."""
    scale = float(np.abs(known).max())
    basis = np.vander(known / scale, power + 1)
    weights: Floats = np.vander(wanted / scale, power + 1) @ np.linalg.pinv(basis)
    return weights
