"""Ridge regression of each target on its own past, around its mean season: for few rows or many targets."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training.core.attribution import Attribution, Explains
from training.core.component import State
from training.core.estimator import Forecaster
from training.core.parameters import one_of, real, whole
from training.core.runner import Runner
from training.core.space import Choice, Real, Space, Whole
from training.core.windows import Floats, Windows
from training.models.mean_season import MeanSeason, covered_rows
from training.models.normal_equations import NormalEquations

ANCHORS = ("last", "mean", "none")
SCALES = ("linear", "sqrt", "log")
LOSSES = ("squared", "absolute")
CHUNK_WINDOWS = 1024
"""Windows gathered at a time: some tens of megabytes, whatever the series' length."""
REWEIGHTINGS = 4
"""Solutions after the first for absolute errors; a fifth moves validation errors by less than a thousandth."""
ROUND_OFF = 1e-2
"""Errors below this share of a target's spread count as this, so that no window's weight is infinite."""
OFFSETS = {"sqrt": 0.02, "log": 0.2}
"""What is added before the root or the logarithm, as a share of the target's mean size: near zero the scale is
linear."""


class ChannelRidge(Forecaster, Explains):
    """Linear in each target's own last `window` values, as differences from its mean season and its anchor.

    What other targets do plays no part: their coefficients cost more than they bring where rows are few. Where
    targets are alike, one map may be shared by all, learned from all of them together in units of their spread.

    Parameters
    ----------
    window
        Rows looked back on, 2 or more.
    alpha
        Weight of the penalty on squared coefficients of standardised inputs, beside the mean squared error; 0 or
        more.
    shared
        Whether one map serves all targets; else each has its own.
    anchor
        What is subtracted from a window and added to its forecast: its `last` value, its `mean`, or `none`. None
        forecasts a return to the usual level.
    season
        Steps in the season whose mean course is subtracted first, e.g. 168 for a week of hours; None for none. One
        course serves all series: with scale `log` it is a factor. Wants many seasons of history.
    scale
        On which targets are linear: `linear`, or `sqrt` or `log` of their size, sign kept, for amounts that vary
        more when they are large. Point forecasts are then nearer to medians than to means.
    loss
        `squared` errors, or the mean `absolute` error of a window's steps, which outliers move less; five times the
        work.
    floor
        No forecast lies below it; None for no floor.

    References
    ----------
    Zeng et al. (2023), Are Transformers Effective for Time Series Forecasting?, for linear models on anchored
    windows; Nie et al. (2023), A Time Series is Worth 64 Words, for channel independence; Lin et al. (2024),
    CycleNet, for a season of its own; Schlossmacher (1973), An iterative technique for absolute deviations curve
    fitting. Ours is solved in closed form, and weighs whole windows by their mean absolute error.
    """

    name: ClassVar[str] = "channel_ridge"
    together: ClassVar[int] = 4

    def __init__(
        self,
        *,
        window: int = 168,
        alpha: float = 1e-2,
        shared: bool = False,
        anchor: str = "last",
        season: int | None = None,
        scale: str = "linear",
        loss: str = "squared",
        floor: float | None = None,
    ) -> None:
        self.window = whole("window", window, low=2)
        self.alpha = real("alpha", alpha, low=0)
        self.shared = shared
        self.anchor = one_of("anchor", anchor, ANCHORS)
        self.season = None if season is None else whole("season", season, low=2)
        self.scale = one_of("scale", scale, SCALES)
        self.loss = one_of("loss", loss, LOSSES)
        self.floor = None if floor is None else real("floor", floor, low=-np.inf)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return a window of 24, and a season of 12."""
        return {"window": 24, "season": 12, "scale": "sqrt", "loss": "absolute"}

    @classmethod
    def search_space(cls) -> Space:
        """Return all but the season and the floor, which are known."""
        return {
            "window": Whole(8, 512, log=True),
            "alpha": Real(1e-5, 1.0, log=True),
            "shared": Choice((False, True)),
            "anchor": Choice(ANCHORS),
            "scale": Choice(SCALES),
            "loss": Choice(LOSSES),
        }

    @property
    def context(self) -> int:
        """The window."""
        return self.window

    def fit_windows(
        self,
        train: Windows,
        validation: Windows | None,  # noqa: ARG002 - closed form: nothing to stop early,
        runner: Runner | None,  # noqa: ARG002 - and no loop to run
    ) -> None:
        """Learn scale, season and spread, then solve the normal equations, again and again for absolute errors."""
        covered = covered_rows(train)
        rows = train.rows[:, train.positions(self.targets)]
        self._size = _or_one(np.abs(rows[covered]).mean(axis=0))
        scaled = train.with_rows(self._scaled(rows), self.targets, lookback=0)
        self._season = MeanSeason.fit(scaled, self.season)
        around = self._around(train)
        self._unit = _or_one(around.rows[covered].std(axis=0))
        self._weights, self._intercept = self._solve(around, absolute=False)
        for _ in range(REWEIGHTINGS if self.loss == "absolute" else 0):
            self._weights, self._intercept = self._solve(around, absolute=True)
        self._usual = train.tail(self.horizon).select(self.targets).mean(axis=0)

    def _solve(self, around: Windows, *, absolute: bool) -> tuple[Floats, Floats]:
        """Return weights (M, L, H) and intercepts (M, 1, H); M is 1 where the map is shared, else T."""
        sums = [NormalEquations() for _ in range(1 if self.shared else len(self.targets))]
        for _, chunk in around.chunks(CHUNK_WINDOWS):
            context, future = chunk.split(self.horizon)
            inputs, anchor = self._inputs(context)
            outputs = _by_target(future.values / self._unit) - anchor
            weights = np.ones(inputs.shape[:2])
            if absolute:
                errors = np.abs(outputs - inputs @ self._weights - self._intercept).mean(axis=2)
                weights = 1 / np.maximum(errors, ROUND_OFF)
            for t in range(len(self.targets)):
                sums[0 if self.shared else t].add(inputs[t], outputs[t], weights[t])
        maps = [each.solve(self.alpha) for each in sums]
        return np.stack([each for each, _ in maps]), np.stack([each[None] for _, each in maps])

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): anchor plus map, around the season, back from the scale."""
        around = self._around(context)
        season = self._season.at(context.future_times(self.horizon))
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for rows, chunk in around.chunks(CHUNK_WINDOWS):
            inputs, anchor = self._inputs(chunk)
            forecast = inputs @ self._weights + self._intercept + anchor
            out[rows] = np.moveaxis(forecast, 0, 2) * self._unit + season[rows]
        point = self._unscaled(out)
        return point if self.floor is None else np.maximum(point, self.floor)

    def contributions(self, context: Windows) -> Attribution:
        """Explain forecasts: each target's own past makes all of the difference from the training futures' mean."""
        point = self.predict(context)
        base = np.broadcast_to(self._usual, point.shape)
        own = np.eye(len(self.targets))
        return Attribution(columns=self.targets, base=base, values=(point - base)[..., None] * own)

    def _around(self, windows: Windows) -> Windows:
        """Return the windows over the targets as scaled differences from their season."""
        rows = self._scaled(windows.rows[:, windows.positions(self.targets)])
        return windows.with_rows(rows - self._season.at(windows.times), self.targets, lookback=0)

    def _inputs(self, around: Windows) -> tuple[Floats, Floats]:
        """Return (T, N, L) differences from the anchor, and (T, N, 1) the anchor, in units of each target."""
        values = _by_target(around.values / self._unit)
        anchor = values[..., -1:] if self.anchor == "last" else values.mean(axis=2, keepdims=True)
        anchor = np.zeros_like(anchor) if self.anchor == "none" else anchor
        return values - anchor, anchor

    def _scaled(self, values: Floats) -> Floats:
        if self.scale == "linear":
            return values
        size = np.abs(values) / self._size
        offset = OFFSETS[self.scale]
        bent = np.sqrt(size + offset) - np.sqrt(offset) if self.scale == "sqrt" else np.log1p(size / offset)
        scaled: Floats = np.sign(values) * bent
        return scaled

    def _unscaled(self, scaled: Floats) -> Floats:
        if self.scale == "linear":
            return scaled
        size = np.abs(scaled)
        offset = OFFSETS[self.scale]
        back = np.square(size + np.sqrt(offset)) - offset if self.scale == "sqrt" else offset * np.expm1(size)
        values: Floats = np.sign(scaled) * back * self._size
        return values

    def learned(self) -> State:
        """Return scale, season, spread, the maps, and the training futures' mean."""
        return {
            "size": self._size,
            "unit": self._unit,
            "season": self._season.course,
            "frequency": self._season.frequency,
            "weights": self._weights,
            "intercept": self._intercept,
            "usual": self._usual,
        }

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._size, self._unit = state["size"], state["unit"]
        self._season = MeanSeason(state["season"], state["frequency"])
        self._weights, self._intercept = state["weights"], state["intercept"]
        self._usual = state["usual"]


def _by_target(values: Floats) -> Floats:
    """Return (T, N, L) for (N, L, T)."""
    return np.moveaxis(values, 2, 0)


def _or_one(spread: Floats) -> Floats:
    return np.where(spread > 1e-9, spread, 1.0)
