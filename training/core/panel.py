"""The table that everything is trained on and forecast from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd

from cluster.errors import InsufficientHistoryError
from training.core.schema import Schema
from training.core.validation import ID, TIME, check
from training.core.windows import Windows, cut


@dataclass(frozen=True)
class Panel:
    """A long table of one or more series under a schema.

    Parameters
    ----------
    frame
        Columns `series_id`, `timestamp`, targets, covariates; each series' rows together and in order of time.
    schema
        Names, units and ranges.
    """

    frame: pd.DataFrame
    schema: Schema

    def validate(self, *, minimum_rows: int = 1) -> Self:
        """Return self, or raise the DataError that names the first fault's row, column, got and expected."""
        check(self.frame, self.schema, minimum_rows=minimum_rows)
        return self

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def series(self) -> tuple[str, ...]:
        """Ids in order of appearance."""
        return self.table.series

    @cached_property
    def table(self) -> Windows:
        """The numbers as one float64 table with its series' borders, no window cut yet."""
        ids = self.frame[ID].to_numpy()
        starts = np.flatnonzero(ids[1:] != ids[:-1]) + 1
        segments = np.concatenate([[0] if len(ids) else [], starts, [len(ids)]]).astype(np.int64)
        return Windows(
            rows=self.frame[list(self.schema.names)].to_numpy(dtype=np.float64),
            times=self.frame[TIME].to_numpy(dtype="datetime64[ns]"),
            segments=segments,
            starts=np.empty(0, dtype=np.int64),
            length=0,
            columns=self.schema.names,
            series=tuple(str(ids[start]) for start in segments[:-1]),
            frequency=self.schema.frequency,
        )

    def windows(self, length: int, *, stride: int = 1) -> Windows:
        """Cut all windows of `length` rows; see `training.core.windows.cut`."""
        return cut(self.table, length=length, stride=stride)

    def last(self, length: int) -> Windows:
        """Return each series' last `length` rows, one window a series."""
        table = self.table
        if not len(self):
            raise InsufficientHistoryError(
                f"the panel is empty: got 0 rows, expected at least {length}", got=0, expected=length
            )
        sizes = np.diff(table.segments)
        if sizes.min() < length:
            short = int(sizes.argmin())
            raise InsufficientHistoryError(
                f"series '{table.series[short]}' has too little history: got {sizes[short]} rows, "
                f"expected at least {length}; send more rows or choose a model with a shorter window",
                series=table.series[short],
                got=int(sizes[short]),
                expected=length,
            )
        return cut(table, length=length, stride=len(self))

    def before(self, time: Any) -> Panel:
        """Return the rows before `time`."""
        return Panel(self.frame[self.frame[TIME] < pd.Timestamp(time)], self.schema)

    def since(self, time: Any) -> Panel:
        """Return the rows at or after `time`."""
        return Panel(self.frame[self.frame[TIME] >= pd.Timestamp(time)], self.schema)

    def for_target(self, name: str) -> Panel:
        """Return the same rows with `name` as the only target."""
        return Panel(self.frame, self.schema.for_target(name))

    def with_roles(self, *, known: Sequence[str] = (), static: Sequence[str] = ()) -> Panel:
        """Return the same rows with exactly these covariates known ahead or static; see `Schema.with_roles`."""
        return Panel(self.frame, self.schema.with_roles(known=known, static=static))

    def digest(self) -> str:
        """Return a sha256 of the values, the ids and the timestamps: the data's fingerprint in a lineage."""
        digest = hashlib.sha256(self.schema.digest().encode())
        digest.update(np.ascontiguousarray(self.table.rows).tobytes())
        digest.update(self.table.times.astype(np.int64).tobytes())
        digest.update("\0".join(self.series).encode())
        digest.update(self.table.segments.tobytes())
        return digest.hexdigest()
