"""A model's figures on a test: overall, by target, by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from training.core import metrics
from training.evaluation.backtest import Backtest
from training.evaluation.coverage import interval, interval_score


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is measured. NaN where the data do not define it.

    Parameters
    ----------
    accuracy
        1 - WAPE.
    wape, mase, r2
        Ratios, see `training.core.metrics`.
    mae, rmse, bias
        In the target's unit.
    directional_accuracy
        Share of steps on the right side of the last known value.
    coverage_90, coverage_95
        Share of the truth inside the 90 % and the 95 % interval.
    width_90, width_95
        Mean width of these intervals, in the target's unit.
    score_90, score_95
        Mean interval score of these intervals, in the target's unit; smaller is better.
    pinball
        Mean quantile loss over the backtest's levels, in the target's unit; smaller is better.
    """

    accuracy: float
    wape: float
    mae: float
    rmse: float
    mase: float
    r2: float
    bias: float
    directional_accuracy: float
    coverage_90: float
    width_90: float
    score_90: float
    coverage_95: float
    width_95: float
    score_95: float
    pinball: float


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """Figures of one backtest.

    With several targets each figure is the mean of the targets', so that no unit drowns another; a mean of figures
    in different units (MAE, RMSE, bias, width) says little, `targets` has each alone.

    Parameters
    ----------
    model
        Catalog name.
    origins
        Forecasts made.
    first_origin, last_origin
        ISO times of the first and the last of them.
    horizon
        Steps of each.
    overall
        Over all steps.
    targets
        Target -> over all steps.
    steps
        (H,) of each step alone.
    """

    model: str
    origins: int
    first_origin: str
    last_origin: str
    horizon: int
    overall: Figures
    targets: dict[str, Figures]
    steps: tuple[Figures, ...]

    @classmethod
    def of(cls, test: Backtest) -> Self:
        """Measure a backtest."""
        horizon = test.point.shape[1]
        everything = slice(0, horizon)
        by_target = {name: _figures(test, everything, t) for t, name in enumerate(test.targets)}
        steps = (
            _mean([_figures(test, slice(h, h + 1), t) for t in range(len(test.targets))]) for h in range(horizon)
        )
        return cls(
            model=test.model,
            origins=len(test),
            first_origin=np.datetime_as_string(test.origins.min(), unit="s"),
            last_origin=np.datetime_as_string(test.origins.max(), unit="s"),
            horizon=horizon,
            overall=_mean(list(by_target.values())),
            targets=by_target,
            steps=tuple(steps),
        )

    def metrics(self) -> dict[str, float]:
        """Return the overall figures by name; one that the data do not define is left out."""
        return {name: value for name, value in asdict(self.overall).items() if np.isfinite(value)}

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able data; null for what the data do not define."""
        return {
            "model": self.model,
            "origins": self.origins,
            "first_origin": self.first_origin,
            "last_origin": self.last_origin,
            "horizon": self.horizon,
            "overall": _json(self.overall),
            "targets": {name: _json(figures) for name, figures in self.targets.items()},
            "steps": [_json(figures) for figures in self.steps],
        }


def _figures(test: Backtest, steps: slice, target: int) -> Figures:
    """Measure some steps of one target."""
    one = slice(target, target + 1)
    actual, point = test.actual[:, steps, one], test.point[:, steps, one]
    wape = metrics.wape(actual, point)
    low_90, high_90 = (end[:, steps, one] for end in interval(test, 0.90))
    low_95, high_95 = (end[:, steps, one] for end in interval(test, 0.95))
    return Figures(
        accuracy=1 - wape,
        wape=wape,
        mae=metrics.mae(actual, point),
        rmse=metrics.rmse(actual, point),
        mase=metrics.mase(actual, point, float(test.naive_mae[target])),
        r2=metrics.r2(actual, point),
        bias=metrics.bias(actual, point),
        directional_accuracy=metrics.directional_accuracy(actual, point, test.last[:, one]),
        coverage_90=metrics.coverage(actual, low_90, high_90),
        width_90=metrics.width(low_90, high_90),
        score_90=float(interval_score(actual, low_90, high_90, 0.90).mean()),
        coverage_95=metrics.coverage(actual, low_95, high_95),
        width_95=metrics.width(low_95, high_95),
        score_95=float(interval_score(actual, low_95, high_95, 0.95).mean()),
        pinball=metrics.pinball(actual, test.quantiles[:, steps, one], np.asarray(test.levels)),
    )


def _mean(parts: Sequence[Figures]) -> Figures:
    names = [field.name for field in fields(Figures)]
    return Figures(**{name: float(np.mean([getattr(part, name) for part in parts])) for name in names})


def _json(figures: Figures) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in asdict(figures).items()}
