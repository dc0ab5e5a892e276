"""Features and scalings: from a table to a table with other columns, never looking ahead."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
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
        out = windows.with_rows(_computed(windows, self.compute, columns), columns, lookback=self.lookback)
        if windows.ahead is None:
            return out
        known = self.ahead_columns(windows.ahead.columns)
        rows = _computed(windows.ahead, self.compute_ahead, known)
        return replace(out, ahead=windows.ahead.with_rows(rows, known, lookback=0))

    def ahead_columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return which of the output's columns are known ahead where `columns` of the input are: these alone.

        A transform whose columns follow from the time, or from what is known, says so here.
        """
        return columns

    def compute_ahead(self, values: Floats, times: Times, columns: tuple[str, ...]) -> Floats:  # noqa: ARG002
        """Compute one block of known future rows; unchanged, unless a subclass adds to it.

        Parameters
        ----------
        values
            (S, T, K) what is known of equally long series; a row may look at no other one.
        times
            (S, T) their timestamps.
        columns
            (K,) names.

        Returns
        -------
        Floats
            (S, T, K') the columns that `ahead_columns` names.
        """
        return values

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


def _computed(
    windows: Windows, compute: Callable[[Floats, Times, tuple[str, ...]], Floats], columns: tuple[str, ...]
) -> Floats:
    """Return (R, C') the table that `compute` makes, all series in one block where they are equally long."""
    sizes = np.diff(windows.segments)
    if len(set(sizes.tolist())) == 1:
        shape = (len(sizes), int(sizes[0]))
        block = compute(
            windows.rows.reshape(*shape, windows.rows.shape[1]), windows.times.reshape(shape), windows.columns
        )
        return block.reshape(len(windows.rows), len(columns))
    rows = np.empty((len(windows.rows), len(columns)))
    for start, stop in zip(windows.segments[:-1], windows.segments[1:], strict=True):
        here = slice(start, stop)
        rows[here] = compute(windows.rows[None, here], windows.times[None, here], windows.columns)[0]
    return rows
