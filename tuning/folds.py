"""Cross-validation in time: each fold trains on what was before, and is scored on what came next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster.errors import ConfigError
from training.core.panel import Panel
from training.core.parameters import one_of, whole
from training.core.splits import Split

WINDOWS = ("expanding", "sliding")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One training part and the block that follows it.

    Parameters
    ----------
    train_start
        The first time that is learned from; all there is where None.
    validation_start, validation_end
        Training ends before the first, the score is taken between them.
    """

    train_start: pd.Timestamp | None = None
    validation_start: pd.Timestamp
    validation_end: pd.Timestamp


@dataclass(frozen=True, kw_only=True)
class FoldsSpec:
    """How the time before the calibration part is cut.

    Parameters
    ----------
    count
        Blocks that are validated, each as long as the split's validation part; 1 is that part alone.
    window
        `expanding`: each fold learns from all that was before; `sliding`: from as many rows as the first fold.
    """

    count: int = 1
    window: str = "expanding"

    def __post_init__(self) -> None:
        whole("folds", self.count, low=1)
        one_of("fold_window", self.window, WINDOWS)

    def of(self, panel: Panel, split: Split) -> tuple[Fold, ...]:
        """Return the folds, the oldest first; the last one validates on the split's validation part.

        Raises
        ------
        ConfigError
            The first fold would have less to learn from than to forecast; the message says how many folds fit.
        """
        times = pd.DatetimeIndex(pd.Series(panel.table.times).drop_duplicates().sort_values())
        start, end = (int(times.searchsorted(mark)) for mark in (split.validation_start, split.calibration_start))
        block = end - start
        first = start - (self.count - 1) * block
        if first < block:
            raise ConfigError(
                f"folds: got {self.count} of {block} rows, expected at most {max(start // max(block, 1), 1)}: the "
                "first one must learn from as many rows as it forecasts",
                folds=self.count,
            )
        starts = [first + at * block for at in range(self.count)]
        return tuple(
            Fold(
                train_start=times[at - first] if self.window == "sliding" else None,
                validation_start=times[at],
                validation_end=times[min(at + block, len(times) - 1)],
            )
            for at in starts
        )

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"count": self.count, "window": self.window}
