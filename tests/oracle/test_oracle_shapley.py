"""Sampled contributions, held to Shapley's formula over all coalitions of a model's drivers."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import ClassVar

import numpy as np
import pandas as pd

from training.core.component import State
from training.core.estimator import Forecaster
from training.core.panel import Panel
from training.core.runner import Runner
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.core.windows import Floats, Windows
from training.inference.factors import key_factors

SCHEMA = Schema(
    name="three",
    frequency="D",
    targets=(Column(name="y"),),
    covariates=(Column(name="a"), Column(name="b"), Column(name="c")),
)


class Product(Forecaster):
    """Far from linear: products of the newest values, and of the weekday."""

    name: ClassVar[str] = "product"

    @property
    def context(self) -> int:
        return 2

    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        pass

    def predict_windows(self, context: Windows) -> Floats:
        y, a, b, _ = np.moveaxis(context.values[:, -1], 1, 0)
        day = (context.last_times.astype("datetime64[D]").astype(np.int64) + 3) % 7
        made: Floats = np.stack([y + a * b, a * a * y - b * day], axis=1)[..., None]
        return made

    def learned(self) -> State:
        return {}

    def relearn(self, state: State) -> None:
        pass


def shapley(value: dict[frozenset[int], Floats], players: int) -> Floats:
    """Return (P, H): each player's marginal values, weighted over all coalitions of the others."""
    out = []
    for player in range(players):
        others = [each for each in range(players) if each != player]
        total = np.zeros_like(value[frozenset()])
        for size in range(players):
            weight = factorial(size) * factorial(players - size - 1) / factorial(players)
            for some in combinations(others, size):
                coalition = frozenset(some)
                total += weight * (value[coalition | {player}] - value[coalition])
        out.append(total)
    return np.stack(out)


def test_samples_come_to_the_formula() -> None:
    rng = np.random.default_rng(5)
    rows = 12
    frame = pd.DataFrame({ID: "s", TIME: pd.date_range("2024-01-01", periods=rows)})
    panel = Panel(frame.assign(**{name: rng.normal(2, 1, rows) for name in SCHEMA.names}), SCHEMA)
    model = Product().fit(panel.windows(4), horizon=2, targets=("y",))
    found = key_factors(model, panel, sampled=True, pairs=900)
    names = ("y history", "a", "b", "calendar")
    assert found.drivers == names  # c moves nothing and is left out

    explained = panel.last(2)
    background = panel.windows(4).head(2)
    players = len(names)
    exact = np.zeros((players, 2))
    for at in range(len(background)):
        value: dict[frozenset[int], Floats] = {}
        for bits in range(2**players):
            inside = frozenset(player for player in range(players) if bits >> player & 1)
            y, a, b = (
                (explained if player in inside else background[[at]]).values[0, -1, column]  # type: ignore[index]
                for player, column in ((0, 0), (1, 1), (2, 2))
            )
            last = (explained if 3 in inside else background[[at]]).last_times[0]  # type: ignore[index]
            day = (last.astype("datetime64[D]").astype(np.int64) + 3) % 7
            value[inside] = np.array([y + a * b, a * a * y - b * day])
        exact += shapley(value, players) / len(background)
    errors = found.errors[0, :, 0].T
    assert (np.abs(found.values[0, :, 0].T - exact) < 4 * errors + 1e-9).all()
    np.testing.assert_allclose(found.values[0, :, 0].T, exact, atol=0.1 * np.abs(exact).max())
