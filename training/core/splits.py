"""Train, validation and test by time, never at random."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from cluster.errors import ConfigError
from training.core.panel import Panel


@dataclass(frozen=True, kw_only=True)
class Split:
    """The first moments of the later parts; the same for every series, so that none sees another's future.

    Parameters
    ----------
    validation_start
        Training ends before it. Early stopping, choices between models and an ensemble's weights look at what
        follows.
    calibration_start
        Intervals look at what follows.
    test_start
        The judge alone looks at what follows.
    """

    validation_start: pd.Timestamp
    calibration_start: pd.Timestamp
    test_start: pd.Timestamp


def chronological_split(panel: Panel, *, train: float = 0.70, validation: float = 0.15) -> Split:
    """Split the panel's distinct times into shares; the rest is the test part.

    The validation share is halved: choices are made on its first half and calibrated on the second,
    so that intervals are not fitted to the errors of the very forecasts that were selected.

    Parameters
    ----------
    train, validation
        Shares of the time line, both positive, together below 1.
    """
    if train <= 0 or validation <= 0 or train + validation >= 1:
        raise ConfigError(
            f"shares of a split: got train={train}, validation={validation}, "
            "expected both above 0 and their sum below 1",
            train=train,
            validation=validation,
        )
    times = pd.Series(panel.table.times).drop_duplicates().sort_values(ignore_index=True)
    count = len(times)
    marks = (train, train + validation / 2, train + validation)
    first, second, third = (times.iloc[min(int(count * mark), count - 1)] for mark in marks)
    return Split(validation_start=first, calibration_start=second, test_start=third)
