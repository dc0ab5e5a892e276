"""Scores of all rows of a history by detectors that have not seen them, to set a level by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from training.core.detector import Detector
from training.core.panel import Panel
from training.core.windows import Floats

Made = TypeVar("Made", bound=Detector)


def held_out_scores(make: Callable[[], Made], history: Panel, read: Callable[[Made, Panel], Floats]) -> Floats:
    """Return (..., R) scores of one series' history, each half by a detector that was fitted on the other.

    Rows that taught a detector have lower scores than new ones; a level from them lets too many alarms through. A
    part that is held back for the level alone is lost to both sides: the detector never learns from it, and the
    level has only it. Here all rows do both, while the detector that is used in the end may learn from all of them.

    Parameters
    ----------
    make
        Returns a detector that is not fitted.
    history
        One series, in order of time.
    read
        Detector and panel -> (..., R) scores of its rows.

    Raises
    ------
    DataError, InsufficientHistoryError
        As `Detector.fit`, of a half.

    References
    ----------
    Vovk (2015), Cross-conformal predictors, with two folds. Ours hands the scores to a tail instead of ranking
    them: the halves are long pieces, since neighbours know each other.
    """
    half = len(history) // 2
    early, late = (
        make().fit(Panel(history.frame.iloc[part].reset_index(drop=True), history.schema))
        for part in (slice(0, half), slice(half, None))
    )
    return np.concatenate([read(late, history)[..., :half], read(early, history)[..., half:]], axis=-1)
