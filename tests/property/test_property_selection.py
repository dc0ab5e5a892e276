"""What is chosen depends on nothing in the test part."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.splits import Split, chronological_split
from training.evaluation.groups import groups_by_look
from training.evaluation.rolling import Family, RollingPlan, rolling_backtest
from training.evaluation.selection import select

SCHEMA = Schema(name="some", frequency="h", targets=(Column(name="y"),), season_length=6)


def noisy() -> Panel:
    rng = np.random.default_rng(4)
    frames = []
    for number, size in enumerate((120, 90, 100)):
        hours = np.arange(120 - size, 120)
        times = pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h")
        y = 20 + 5 * np.sin(hours / 6 * 2 * np.pi) + rng.normal(0, 2, size)
        frames.append(pd.DataFrame({"series_id": f"s{number}", "timestamp": times, "y": y}))
    return Panel(pd.concat(frames, ignore_index=True), SCHEMA)


PANEL = noisy()
SPLIT = chronological_split(PANEL)


def chosen(panel: Panel, split: Split) -> str:
    groups = groups_by_look(panel.before(split.test_start))
    families = [Family.of("seasonal_naive", season=6), Family.of("ridge", window=12)]
    rolling = rolling_backtest(
        panel, families, RollingPlan(horizon=3, cutoffs=4), groups=groups, until=split.test_start
    )
    return json.dumps(select(rolling, groups=groups).to_json())


EXPECTED = chosen(PANEL, SPLIT)


@settings(max_examples=15, deadline=None)
@given(
    factor=st.floats(-1e6, 1e6),
    shift=st.floats(-1e6, 1e6),
    spoiled=st.sampled_from([None, np.nan, np.inf, -np.inf]),
)
def test_the_test_part_changes_nothing_in_a_selection(factor: float, shift: float, spoiled: float | None) -> None:
    frame = PANEL.frame.copy()
    late = frame["timestamp"] >= SPLIT.test_start
    frame.loc[late, "y"] = frame.loc[late, "y"] * factor + shift
    if spoiled is not None:
        frame.loc[frame.index[late][::7], "y"] = spoiled
    assert chosen(Panel(frame, SCHEMA), SPLIT) == EXPECTED
