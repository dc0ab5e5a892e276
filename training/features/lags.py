"""Earlier values as columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.core.windows import Floats
from training.features.added import Block, PerColumn, whole_steps


class Lags(PerColumn):
    """Adds the value of some rows ago: `NOX_lag_7`.

    Parameters
    ----------
    steps
        How many rows back, each 1 or more.
    columns
        K columns; None takes all that `fit` sees.
    """

    name = "lags"

    def __init__(self, *, steps: Sequence[int] = (1, 7, 30), columns: Sequence[str] | None = None) -> None:
        super().__init__(columns=columns)
        self.steps = whole_steps("steps", steps)

    @property
    def lookback(self) -> int:
        """The longest step."""
        return max(self.steps)

    def added(self) -> tuple[str, ...]:
        """Return a name for each step of each column."""
        return tuple(f"{name}_lag_{step}" for step in self.steps for name in self.described)

    def compute_added(self, block: Block) -> Floats:
        """Return (S, T, steps x K); NaN where the series had not begun."""
        picked = block.pick(self.described)
        series, rows, count = picked.shape
        added = np.full((series, rows, len(self.steps), count), np.nan)
        for i, step in enumerate(self.steps):
            added[:, step:, i] = picked[:, : max(rows - step, 0)]
        return added.reshape(series, rows, -1)
