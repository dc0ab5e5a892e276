"""How far a value is from the mean of the rows just before it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cluster.errors import InsufficientHistoryError
from training.core.component import State
from training.core.detector import Detector, DetectorTags
from training.core.parameters import whole
from training.core.period import panel_period
from training.core.runner import Runner
from training.core.space import Space, Whole
from training.core.watch import RowJudge
from training.core.windows import Floats, Windows
from training.detectors.subsequences import standards

QUIET = 0.1
"""Share of a column's whole spread that is added to the spread of its last rows: after a quiet hour the smallest
movement would otherwise be infinitely strange."""


class MovingAverage(Detector):
    """The largest distance of a row's values from the mean of the `window` rows before, in units of their spread.

    Parameters
    ----------
    window
        Rows before that are averaged; the dominant period of the rows it is fitted on when None.
    """

    name: ClassVar[str] = "moving_average"
    tags: ClassVar[DetectorTags] = DetectorTags(online=True)

    def __init__(self, *, window: int | None = None) -> None:
        self.window = None if window is None else whole("window", window, low=2)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return four of the example's seasons: a shorter window soon takes the strange for usual."""
        return {"window": 90}

    @classmethod
    def search_space(cls) -> Space:
        """Return the window."""
        return {"window": Whole(4, 300, log=True)}

    def learn(self, table: Windows, runner: Runner | None) -> State:  # noqa: ARG002 - nothing to iterate
        """Return the window and each column's whole spread."""
        width = self.window or panel_period(table.rows)
        if len(table.rows) <= width:
            raise InsufficientHistoryError(
                f"'{self.name}' has too little to learn from: got {len(table.rows)} rows, expected at least "
                f"{width + 1} for a window of {width}; give more rows or a smaller window",
                got=len(table.rows),
                expected=width + 1,
            )
        mean, scale = standards(table.rows)
        return {"width": width, "mean": mean, "scale": scale}

    def lookback(self, state: State) -> int:
        """Return the window."""
        return int(state["width"])

    def row_judge(self, state: State) -> RowJudge:
        """Return the same for one row after a window."""
        width, mean, scale = int(state["width"]), np.asarray(state["mean"]), np.asarray(state["scale"])

        def judge(before: Floats, row: list[float]) -> float:
            rows = ((before - mean) / scale).T
            middle = np.add.reduce(rows, axis=-1) / width
            spread = np.sqrt(np.add.reduce(np.square(rows - middle[:, None]), axis=-1) / width)
            distance = np.abs((np.array(row) - mean) / scale - middle) / np.hypot(spread, QUIET)
            return float(distance.max())

        return judge

    def judge(self, state: State, table: Windows) -> Floats:
        """Return (R,) the largest distance of each row from the mean of the window before it."""
        width = int(state["width"])
        rows = (table.rows - np.asarray(state["mean"])) / np.asarray(state["scale"])
        before = np.lib.stride_tricks.sliding_window_view(rows[:-1], width, axis=0)
        distance = np.abs(rows[width:] - before.mean(axis=-1)) / np.hypot(before.std(axis=-1), QUIET)
        return np.concatenate([np.full(width, np.nan), distance.max(axis=1)])
