"""Rows that a forecast of one step missed by more than it usually does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from cluster.errors import ConfigError, InsufficientHistoryError
from training.core.component import State, build, pack, unpack
from training.core.detector import Detector, DetectorTags
from training.core.estimator import Forecaster
from training.core.parameters import real
from training.core.runner import Runner
from training.core.windows import Floats, Windows, cut
from training.detectors.z_score import MAD_TO_DEVIATION
from training.models import MODELS

RIDGE: Mapping[str, Any] = {"name": "ridge", "params": {"window": 48, "alpha": 1e-2}}


class ForecastResidual(Detector):
    """The largest error of a forecast of the row, made from the rows before, over the column's usual error.

    Parameters
    ----------
    model
        `name` and `params` of any model of the catalog.
    held_back
        Share of the rows, the last ones, that the usual error is measured on and the model does not learn from.

    References
    ----------
    Malhotra et al. (2015), Long Short Term Memory Networks for Anomaly Detection in Time Series. Ours takes any
    forecaster and a robust measure of its errors: their median size, as a standard deviation.
    """

    name: ClassVar[str] = "forecast_residual"
    tags: ClassVar[DetectorTags] = DetectorTags(online=True)

    def __init__(self, *, model: Mapping[str, Any] | None = None, held_back: float = 0.2) -> None:
        self.model = dict(RIDGE if model is None else model)
        self.held_back = real("held_back", held_back, low=0.01, high=0.9)
        if set(self.model) != {"name", "params"}:
            raise ConfigError(
                f"parameter 'model': got {sorted(self.model)}, expected name and params", parameter="model"
            )
        self._context = self._made().context
        self._newest: tuple[State, Forecaster] | None = None

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return a small linear model."""
        return {"model": {"name": "ridge", "params": {"window": 13}}}

    def _made(self) -> Forecaster:
        return build(MODELS, self.model["name"], self.model["params"])

    def lookback(self, state: State) -> int:  # noqa: ARG002 - the model's own, whatever it learned
        """Return the rows that a forecast is made from."""
        return self._context

    def learn(self, table: Windows, runner: Runner | None) -> State:
        """Fit on the earlier rows; measure the errors on the last ones."""
        need = self._context + 2
        if len(table.rows) < need + 1:
            raise InsufficientHistoryError(
                f"'{self.name}' has too little to learn from: got {len(table.rows)} rows, expected at least "
                f"{need + 1} for a context of {self._context}; give more rows or a model with a shorter one",
                got=len(table.rows),
                expected=need + 1,
            )
        windows = cut(_plain(table), length=self._context + 1)
        early = min(max(int(len(windows) * (1 - self.held_back)), 1), len(windows) - 1)
        model = self._made()
        model.fit(windows[:early], horizon=1, targets=table.columns, runner=runner)
        missed = _errors(model, windows[early:])
        usual = MAD_TO_DEVIATION * np.median(missed, axis=0)
        spread = table.rows.std(axis=0)
        floor = np.where(spread > 0, 1e-6 * spread, 1.0)
        return {"model": pack(model), "usual": np.maximum(usual, floor)}

    def judge(self, state: State, table: Windows) -> Floats:
        """Return (R,) the largest error of each row."""
        windows = cut(_plain(table), length=self._context + 1)
        missed = _errors(self._model_of(state), windows) / np.asarray(state["usual"])
        return np.concatenate([np.full(self._context, np.nan), missed.max(axis=1)])

    def _model_of(self, state: State) -> Forecaster:
        """Return the fitted model, the one used last at hand: a stream asks for it row by row."""
        if self._newest is None or self._newest[0] is not state:
            self._newest = (state, unpack(state["model"], MODELS))
        return self._newest[1]


def _plain(table: Windows) -> Windows:
    """Return the table with a step a row: where time has gaps, the model sees rows, as it did at fit."""
    return replace(table, starts=np.empty(0, dtype=np.int64), length=0, ahead=None)


def _errors(model: Forecaster, windows: Windows) -> Floats:
    """Return (N, T) how far the forecasts of the windows' last rows are off."""
    context, actual = model.split(windows)
    off: Floats = np.abs(actual - model.predict(context))[:, 0]
    return off
