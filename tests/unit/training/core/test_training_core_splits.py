"""Parts by time: shares, order, one border for all series."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cluster.errors import ConfigError
from training.core.panel import Panel
from training.core.splits import chronological_split


def test_parts_have_their_shares(hourly: Panel) -> None:
    split = chronological_split(hourly)
    first = hourly.table.times[0]
    hours = [(border.to_datetime64() - first) / np.timedelta64(1, "h") for border in vars(split).values()]
    assert [round(hour / 672, 3) for hour in hours] == [0.699, 0.774, 0.85]


def test_no_window_lies_in_two_parts(hourly: Panel) -> None:
    split = chronological_split(hourly)
    windows = hourly.windows(30)
    borders = [None, split.validation_start, split.calibration_start, split.test_start, None]
    parts = [windows.ahead_within(6, since, until) for since, until in pairwise(borders)]
    starts = [set(part.starts.tolist()) for part in parts]
    assert sum(map(len, starts)) == len(set().union(*starts))
    assert all(starts)


@pytest.mark.parametrize(("train", "validation"), [(0.0, 0.5), (0.7, 0.0), (0.8, 0.2), (-0.1, 0.3)])
def test_impossible_shares_are_refused(hourly: Panel, train: float, validation: float) -> None:
    with pytest.raises(ConfigError, match=f"got train={train}"):
        chronological_split(hourly, train=train, validation=validation)
