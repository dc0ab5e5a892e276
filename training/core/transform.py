"""Features and scalings: from a table to a table with other columns, never looking ahead."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np

from training.core.component import Component, State
from training.core.windows import Floats, Times, Windows


class Transform(Component):
    """Maps each series' rows to rows with other columns; row t depends on rows up to t of its series alone.

    A subclass says which columns come out (`columns`), how many earlier rows it needs (`lookback`), and computes
    one block of equally long series at a time (`compute`). The same fitted object serves training, where a block
    is one long series, and serving, where it is a batch of short histories.
    """

    @property
    def lookback(self) -> int:
        """Rows at the start of a series that come out incomplete and are cut off."""
        return 0

    def fit(self, windows: Windows) -> Self:  # noqa: ARG002 - most transforms learn nothing
        """Learn from the rows that the training windows cover, and no others."""
        return self

    @abstractmethod
    def columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the output's column names for the input's."""

    @abstractmethod
    def compute(self, values: Floats, times: Times, columns: tuple[str, ...]) -> Floats:
        """Compute one block.

        Parameters
        ----------
        values
            (S, T, C) equally long series.
        times
            (S, T) their timestamps.
        columns
            (C,) names.

        Returns
        -------
        Floats
            (S, T, C'); the first `lookback` rows are not looked at.
        """

    def transform(self, windows: Windows) -> Windows:
        """Return the same windows with other columns, `lookback` rows shorter."""
        columns = self.columns(windows.columns)
        rows = np.empty((len(windows.rows), len(columns)))
        sizes = np.diff(windows.segments)
        if len(set(sizes.tolist())) == 1:
            shape = (len(sizes), int(sizes[0]), -1)
            block = self.compute(windows.rows.reshape(shape), windows.times.reshape(shape[:2]), windows.columns)
            rows[:] = block.reshape(len(rows), -1)
        else:
            for start, stop in zip(windows.segments[:-1], windows.segments[1:], strict=True):
                here = slice(start, stop)
                rows[here] = self.compute(windows.rows[None, here], windows.times[None, here], windows.columns)[0]
        return windows.with_rows(rows, columns, lookback=self.lookback)

    def inverse(self, windows: Windows) -> Windows:
        """Undo `transform` on the rows that are left. A transform that only adds columns drops them."""
        kept = self.inverse_columns(windows.columns)
        return windows.with_rows(windows.rows[:, windows.positions(kept)], kept, lookback=0)

    def inverse_columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return which of the output's columns were the input's: all, unless a subclass adds some."""
        return columns

    def state(self) -> State:
        """Return what `fit` learned."""
        return {}

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
