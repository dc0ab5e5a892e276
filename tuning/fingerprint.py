"""What a data set is like, in a few numbers: so that a search can begin from what worked on similar data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from training.core.panel import Panel
from training.core.windows import Floats

SCALES: Mapping[str, float] = {
    "log_rows": 2.0,
    "log_series": 2.0,
    "log_horizon": 1.0,
    "season_share": 0.5,
    "covariates": 8.0,
    "variation": 0.5,
    "next_correlation": 0.3,
    "season_correlation": 0.3,
    "zeros": 0.2,
}
"""By how much two data sets may differ in each number and still be alike: a factor of seven in rows and series,
three in the horizon, a third in correlations. The distance is one where one number differs by its scale."""
ALIKE = 1.5
"""Data sets at most so far apart are similar: one and a half scales in all."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """A data set in numbers, of its rows before the validation part alone.

    Parameters
    ----------
    log_rows, log_series, log_horizon
        Natural logarithms of how many.
    season_share
        Logarithm of horizon over season.
    covariates
        Columns beside the target.
    variation
        Standard deviation over mean size of the targets, at most 3.
    next_correlation, season_correlation
        Of a row with the next one, and with the one a season later, mean over the longest series' targets.
    zeros
        Share of rows that are zero.
    """

    log_rows: float
    log_series: float
    log_horizon: float
    season_share: float
    covariates: float
    variation: float
    next_correlation: float
    season_correlation: float
    zeros: float

    @classmethod
    def of(cls, panel: Panel, horizon: int) -> Self:
        """Measure a panel."""
        table, schema = panel.table, panel.schema
        sizes = np.diff(table.segments)
        longest = int(np.argmax(sizes))
        rows = slice(table.segments[longest], table.segments[longest + 1])
        targets = table.rows[rows][:, table.positions(schema.target_names)]
        season = max(schema.season_length, 1)
        return cls(
            log_rows=math.log(max(len(table.rows), 1)),
            log_series=math.log(len(sizes)),
            log_horizon=math.log(horizon),
            season_share=math.log(horizon / season),
            covariates=float(len(schema.names) - len(schema.target_names)),
            variation=min(float(np.nanstd(targets) / max(float(np.nanmean(np.abs(targets))), 1e-12)), 3.0),
            next_correlation=_correlation(targets, 1),
            season_correlation=_correlation(targets, season),
            zeros=float(np.mean(targets == 0)),
        )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Rebuild what `vars` gave."""
        return cls(**{each.name: float(facts[each.name]) for each in fields(cls)})

    def distance(self, other: Fingerprint) -> float:
        """Return how far apart two data sets are, in scales."""
        apart = (((getattr(self, name) - getattr(other, name)) / scale) ** 2 for name, scale in SCALES.items())
        return math.sqrt(sum(apart))


def _correlation(targets: Floats, lag: int) -> float:
    """Return the mean correlation of the columns with themselves `lag` rows later; 0 where it is not defined."""
    if len(targets) <= lag + 1:
        return 0.0
    found = []
    for column in targets.T:
        early, late = column[:-lag], column[lag:]
        both = np.isfinite(early) & np.isfinite(late)
        if both.sum() > 2 and early[both].std() > 0 and late[both].std() > 0:
            found.append(float(np.corrcoef(early[both], late[both])[0, 1]))
    return float(np.mean(found)) if found else 0.0
