"""A forecast with its uncertainty and its origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cluster.errors import ConfigError, UserError
from training.core.windows import Floats, Times


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Forecasts for N histories, H steps, T targets, at Q quantile levels.

    The house's plan says values (N, H, Q); a target axis keeps the scopes of a multi-output model together.

    Parameters
    ----------
    ids
        (N,) series.
    origins
        (N,) last timestamp of the history that each forecast was computed from.
    timestamps
        (N, H) what is forecast.
    targets
        (T,) names.
    point
        (N, H, T) the forecast, in the target's unit.
    levels
        (Q,) increasing, in (0, 1).
    values
        (N, H, T, Q) quantiles, non-decreasing along Q.
    confidence
        (N, H, T) share of the calibration forecasts at this step that came within 10 % of this point:
        how often, by experience, such a forecast is right to within a tenth.
    model
        Catalog name, or registered name.
    version
        Semantic version, empty before registration.
    """

    ids: tuple[str, ...]
    origins: Times
    timestamps: Times
    targets: tuple[str, ...]
    point: Floats
    levels: tuple[float, ...]
    values: Floats
    confidence: Floats
    model: str
    version: str = ""

    def to_frame(self) -> pd.DataFrame:
        """Return a long table: series_id, target, timestamp, prediction, confidence, one column a level."""
        n, h, t = self.point.shape
        table: dict[str, Any] = {
            "series_id": np.repeat(self.ids, h * t),
            "target": np.tile(self.targets, n * h),
            "timestamp": np.repeat(self.timestamps.reshape(-1), t),
            "prediction": self.point.reshape(-1),
            "confidence": self.confidence.reshape(-1),
        }
        for q, level in enumerate(self.levels):
            table[f"q{level:g}"] = self.values[..., q].reshape(-1)
        return pd.DataFrame(table)


def check_levels(levels: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return the levels as an array; raise ConfigError unless they increase strictly within (0, 1)."""
    array = np.asarray(levels, dtype=np.float64)
    inside = array.ndim == 1 and len(array) > 0 and bool(((array > 0) & (array < 1)).all())  # not so for NaN
    if not inside or (np.diff(array) <= 0).any():
        raise ConfigError(
            f"quantile levels: got {levels}, expected increasing numbers between 0 and 1, such as 0.05, 0.5, 0.95",
            levels=list(levels),
        )
    return array


def check_horizon(asked: int | None, fitted: int) -> int:
    """Return how many steps to give; raise UserError unless 1 <= asked <= fitted."""
    if asked is None:
        return fitted
    if not 1 <= asked <= fitted:
        raise UserError(
            f"horizon: got {asked}, expected 1 .. {fitted}, the horizon this model was trained for",
            field="horizon",
            got=asked,
            expected=f"1 .. {fitted}",
        )
    return asked
