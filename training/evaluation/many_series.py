"""Alarms of many series at one time: what moves together is believed earlier, at the same budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cluster.errors import DataError, UnknownNameError
from training.core.windows import Floats
from training.evaluation.alarm_budget import Flags
from training.evaluation.false_discovery import joint_alarms
from training.evaluation.threshold import Threshold


def alarms_together(thresholds: Mapping[str, Threshold], series: Sequence[str], scores: Floats) -> Flags:
    """Return (S, N) which rows of which series are strange, judged together at each time; nothing is learned.

    A series alone alarms where its own threshold says so, and is held to its own budget; k series that are strange
    at one time need only be below k times what each is allowed: see `joint_alarms`.

    Parameters
    ----------
    thresholds
        Series -> its own, fitted.
    series
        (S,) ids.
    scores
        (S, N) at the same N times.

    Raises
    ------
    UnknownNameError
        A series has no threshold.
    DataError
        The shape does not fit, or a score is not finite.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(series):
        raise DataError.at(
            "scores do not match the series", got=f"shape {table.shape}", expected=f"({len(series)}, N)"
        )
    for name in series:
        if name not in thresholds:
            raise UnknownNameError.of("series", name, thresholds)
    p_values = np.stack([thresholds[name].p_values(row) for name, row in zip(series, table, strict=True)])
    allowed = np.array([thresholds[name].allowed_p_value for name in series])
    return joint_alarms(p_values, allowed)
