"""How strange each row is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cluster.errors import UnknownNameError
from training.core.validation import ID, TIME
from training.core.windows import Floats, Ints, Times

SCORE = "score"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One anomaly score a row.

    Parameters
    ----------
    values
        (R,) higher is stranger; NaN where a row could not be judged: a value is missing, or the rows before it are
        too few.
    times
        (R,) timestamps.
    segments
        (S + 1,) offsets of the series.
    series
        (S,) ids.
    detector
        Catalog name of the detector.
    """

    values: Floats
    times: Times
    segments: Ints
    series: tuple[str, ...]
    detector: str

    def __len__(self) -> int:
        return len(self.values)

    def of(self, series: str) -> Floats:
        """Return the scores of one series."""
        if series not in self.series:
            raise UnknownNameError.of("series", series, self.series)
        at = self.series.index(series)
        return self.values[self.segments[at] : self.segments[at + 1]]

    def to_frame(self) -> pd.DataFrame:
        """Return `series_id`, `timestamp` and `score`."""
        ids = np.repeat(np.array(self.series, dtype=object), np.diff(self.segments))
        return pd.DataFrame({ID: ids, TIME: self.times, SCORE: self.values})
