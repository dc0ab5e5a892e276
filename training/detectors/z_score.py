"""How many standard deviations a value is from its column's mean."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from training.core.component import State
from training.core.detector import Detector, DetectorTags
from training.core.parameters import flag
from training.core.runner import Runner
from training.core.watch import RowJudge
from training.core.windows import Floats, Windows

MAD_TO_DEVIATION = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""
MEAN_TO_DEVIATION = 1.2533
"""The same over its mean absolute deviation."""


class ZScore(Detector):
    """The largest distance of a row's values from their columns' centre, in units of the columns' spread.

    Parameters
    ----------
    robust
        Centre and spread are the median and the median absolute deviation, which a half of strange rows does not
        move, instead of the mean and the standard deviation.

    References
    ----------
    Iglewicz and Hoaglin (1993), How to Detect and Handle Outliers: the modified z-score, and the mean absolute
    deviation where the median one is zero.
    """

    name: ClassVar[str] = "z_score"
    tags: ClassVar[DetectorTags] = DetectorTags(online=True)

    def __init__(self, *, robust: bool = False) -> None:
        self.robust = flag("robust", robust)

    def learn(self, table: Windows, runner: Runner | None) -> State:  # noqa: ARG002 - nothing to iterate
        """Return each column's centre and spread."""
        rows = table.rows
        centre = np.median(rows, axis=0) if self.robust else rows.mean(axis=0)
        distance = np.abs(rows - centre)
        spread = rows.std(axis=0)
        if self.robust:
            middle = MAD_TO_DEVIATION * np.median(distance, axis=0)
            spread = np.where(middle > 0, middle, MEAN_TO_DEVIATION * distance.mean(axis=0))
        still = spread <= 1e-12 * np.maximum(1.0, np.abs(centre))
        return {"centre": centre, "spread": np.where(still, 1.0, spread)}

    def row_judge(self, state: State) -> RowJudge:
        """Return the same with plain numbers."""
        centre: list[float] = np.asarray(state["centre"]).tolist()
        usual: list[tuple[float, float]] = list(zip(centre, np.asarray(state["spread"]).tolist(), strict=True))

        def judge(_: Floats, row: list[float]) -> float:
            return max(abs(value - middle) / spread for value, (middle, spread) in zip(row, usual, strict=True))

        return judge

    def judge(self, state: State, table: Windows) -> Floats:
        """Return (R,) the largest distance of each row."""
        distance = np.abs(table.rows - np.asarray(state["centre"])) / np.asarray(state["spread"])
        largest: Floats = distance.max(axis=1)
        return largest
