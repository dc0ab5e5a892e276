"""Which features tell most about a target: those of a recipe, the products of two columns, and the table's own."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from apps.pipelines.recipe import default_recipe
from cluster.errors import ConfigError, InsufficientHistoryError
from training.core.component import build
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.core.transform import Transform
from training.core.windows import Windows
from training.features import TRANSFORMS
from training.features.calendar import Calendar
from training.features.interactions import Interactions
from training.features.selection import Selection

CROSSED = 12
"""Columns whose products are looked at, the best by themselves: 78 products, squares included."""


@dataclass(frozen=True, kw_only=True)
class JudgedFeatures:
    """What each feature tells about a target.

    Parameters
    ----------
    target
        The column to forecast.
    horizon
        Steps from a row to the target it is judged by.
    table
        Of `Selection.report`, the best first.
    until
        The rows before it were looked at: the training part's.
    """

    target: str
    horizon: int
    table: pd.DataFrame
    until: pd.Timestamp

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the features that are kept, the best first."""
        return tuple(self.table["feature"][self.table["kept"]])


def judge_features(
    panel: Panel,
    target: str,
    *,
    horizon: int,
    keep: int = 50,
    country: str | None = None,
    zone: str | None = None,
    seed: int = 0,
) -> JudgedFeatures:
    """Judge the default recipe's features and interactions to depth 2 by mutual information with the target.

    The first 70 % of the time line are looked at, as in training: what is kept was not chosen on the test part.

    Parameters
    ----------
    panel
        Validated.
    target
        One of its columns.
    horizon
        Steps from a row to the target it is judged by.
    keep
        The most features kept, the target included.
    country, zone
        Of the calendar's holidays, and of its hours where the times are UTC.
    seed
        Draws the rows that are looked at.

    Raises
    ------
    InsufficientHistoryError
        The training part is too short for the features.
    """
    data = panel.for_target(target)
    until = chronological_split(data).validation_start
    parts = [part for part in default_recipe(data.schema, target).features if part["name"] != "calendar"]
    features: list[Transform] = [Calendar(country=country, zone=zone)]
    features += [build(TRANSFORMS, part["name"], part["params"]) for part in parts]
    rows = sum(feature.lookback for feature in features) + 1
    windows = _training_windows(data.before(until), rows)
    crossed = _best(windows, target, horizon, seed)
    if len(crossed) > 1:
        features.append(Interactions(columns=crossed, squares=True))
    for feature in features:
        windows = feature.fit(windows).transform(windows)
    if keep < 1:
        raise ConfigError(f"keep: got {keep}, expected 1 or more", parameter="keep")
    selection = Selection(targets=[target], keep=keep, horizon=horizon, seed=seed).fit(windows)
    return JudgedFeatures(target=target, horizon=horizon, table=selection.report(), until=until)


def _training_windows(seen: Panel, rows: int) -> Windows:
    longest = max((int(size) for size in seen.table.segments[1:] - seen.table.segments[:-1]), default=0)
    if longest <= rows:
        raise InsufficientHistoryError(
            f"the training part is too short for the features: got {longest} rows in the longest series, expected "
            f"more than {rows}; send more rows",
            got=longest,
            expected=rows + 1,
        )
    return seen.windows(rows)


def _best(windows: Windows, target: str, horizon: int, seed: int) -> tuple[str, ...]:
    """Return the columns worth crossing: all where they are few, else those that tell most by themselves."""
    if len(windows.columns) <= CROSSED:
        return windows.columns
    selection = Selection(targets=[target], keep=CROSSED, horizon=horizon, redundancy=1.0, seed=seed)
    return selection.fit(windows).kept
