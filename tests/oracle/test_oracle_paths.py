"""Sample paths against first-passage probabilities in closed form."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest

from apps.operations.crossings import Crossings
from apps.operations.limits import Limit
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.windows import Floats
from training.inference.paths import ErrorPaths, Paths
from training.models.channel_ridge import ChannelRidge
from training.models.seasonal_naive import SeasonalNaive

HORIZON, ROWS = 16, 40_000


def panel_of(**columns: Floats) -> Panel:
    count = len(next(iter(columns.values())))
    times = pd.date_range("2000-01-01", periods=count, freq="h")
    schema = Schema(name="walk", frequency="h", targets=tuple(Column(name=name) for name in columns))
    return Panel(pd.DataFrame({"series_id": "s", "timestamp": times, **columns}), schema).validate()


def walk_paths() -> Paths:
    """Return paths of a random walk of steps -1 and +1, forecast by its last value, its exact model."""
    steps = np.random.default_rng(0).choice([-1.0, 1.0], ROWS)
    panel = panel_of(x=np.cumsum(steps))
    model = SeasonalNaive(season=1)
    model.fit(panel.windows(1 + HORIZON), horizon=HORIZON, targets=("x",))
    return ErrorPaths.fit(model, panel, since=panel.frame["timestamp"].iloc[0]).after(panel)[0]


def ends_at_least(steps: int, level: int) -> float:
    """Return P(S_n >= level) of the symmetric walk of steps -1 and +1."""
    ups = range(-(-(steps + level) // 2), steps + 1)
    return float(sum(comb(steps, k) for k in ups) / 2**steps)


@pytest.mark.parametrize("level", [1, 3, 6])
def test_a_random_walk_crosses_as_the_reflection_principle_says(level: int) -> None:
    paths = walk_paths()
    limit = Limit(column="x", value=float(paths.recent[-1, 0]) + level)
    found = Crossings.of(paths, [limit]).by_step[:, 0]
    exact = [ends_at_least(h, level) + ends_at_least(h, level + 1) for h in range(1, HORIZON + 1)]
    # 2,000 kept rows, of which neighbours overlap little: 3 standard errors of a share
    np.testing.assert_allclose(found, exact, atol=0.04)


def test_steps_taken_one_by_one_would_be_far_off() -> None:
    paths, rng = walk_paths(), np.random.default_rng(0)
    limit = Limit(column="x", value=float(paths.recent[-1, 0]) + 3)
    torn = paths.values.copy()
    for h in range(HORIZON):
        rng.shuffle(torn[:, h, 0])
    apart = paths.with_column("x", point=paths.point[:, 0], values=torn[..., 0], recent=paths.recent[:, 0])
    exact = ends_at_least(HORIZON, 3) + ends_at_least(HORIZON, 4)
    assert abs(Crossings.of(paths, [limit]).probability[0] - exact) < 0.04
    assert Crossings.of(apart, [limit]).probability[0] - exact > 0.3


def test_two_dependent_columns_cross_as_their_true_process_does() -> None:
    rng = np.random.default_rng(1)
    rho, shared = 0.9, 0.8

    def run(noise: Floats, start: Floats) -> Floats:
        """Return (..., H, 2) of an AR(1) from its noise (..., H, 2)."""
        out, state = np.empty_like(noise), start
        for h in range(noise.shape[-2]):
            state = rho * state + noise[..., h, :]
            out[..., h, :] = state
        return out

    mix = np.array([[1, shared], [0, np.sqrt(1 - shared**2)]])
    series = run(rng.normal(size=(ROWS // 2, 2)) @ mix, np.zeros(2))
    panel = panel_of(a=series[:, 0], b=series[:, 1])
    model = ChannelRidge(window=4, anchor="none", alpha=1e-6)
    model.fit(panel.windows(4 + HORIZON), horizon=HORIZON, targets=("a", "b"))
    paths = ErrorPaths.fit(model, panel, since=panel.frame["timestamp"].iloc[0]).after(panel)[0]
    truth = run(rng.normal(size=(20_000, HORIZON, 2)) @ mix, series[-1])
    known = Paths(
        series="s", times=paths.times, columns=("a", "b"), point=paths.point, values=truth, recent=paths.recent,
        independent=20_000,
    )  # fmt: skip
    limits = [Limit(column="a", value=2.5), Limit(column="b", value=3.0)]
    ours, exact = Crossings.of(paths, limits), Crossings.of(known, limits)
    np.testing.assert_allclose(ours.by_step, exact.by_step, atol=0.05)
    np.testing.assert_allclose(ours.shares, exact.shares, atol=0.05)
    assert ours.any_probability == pytest.approx(exact.any_probability, abs=0.05)
    alone = 1 - np.prod(1 - exact.probability)
    assert alone - exact.any_probability > 0.05  # taking columns one by one would be off
