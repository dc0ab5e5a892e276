"""Scores of all rows of a history by detectors that have not seen them, to set a level by."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pandas as pd

from training.core.panel import Panel
from training.core.parameters import whole
from training.core.windows import Floats

Made = TypeVar("Made")


def held_out_scores(
    fit: Callable[[Panel], Made],
    history: Panel,
    read: Callable[[Made, Panel], Floats],
    *,
    reach: Callable[[Made], int],
    folds: int = 2,
) -> Floats:
    """Return (..., R) scores of one series' history, each part by a detector that was fitted on the others.

    Rows that taught a detector have lower scores than new ones; a level from them lets too many alarms through. A
    part that is held back for the level alone is lost to both sides: the detector never learns from it, and the
    level has only it. Here all rows do both, while the detector that is used in the end may learn from all of them.

    Parameters
    ----------
    fit
        Rows -> what was fitted on them.
    history
        One series, in order of time.
    read
        What was fitted, and rows -> (..., R) scores of the rows.
    reach
        What was fitted -> how many rows before and after a row its score may hang on: they are read beside a part.
    folds
        Parts, 2 or more: of more parts a detector learns more rows, with a seam where the part is missing.

    Raises
    ------
    DataError, InsufficientHistoryError
        As `Detector.fit`, of the other parts.

    References
    ----------
    Vovk (2015), Cross-conformal predictors. Ours hands the scores to a tail instead of ranking them: the parts are
    long pieces, since neighbours know each other.
    """
    whole("folds", folds, low=2)
    edges = [len(history) * fold // folds for fold in range(folds + 1)]
    told = []
    for start, stop in pairwise(edges):
        others = pd.concat([history.frame.iloc[:start], history.frame.iloc[stop:]], ignore_index=True)
        made = fit(Panel(others, history.schema))
        first = max(start - reach(made), 0)
        near = history.frame.iloc[first : stop + reach(made)].reset_index(drop=True)
        told.append(read(made, Panel(near, history.schema))[..., start - first : stop - first])
    return np.concatenate(told, axis=-1)
