"""Why a forecast is what it is: contributions of columns that add up to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from training.core.windows import Floats, Windows


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Contributions of F source columns to N forecasts of H steps and T targets.

    Parameters
    ----------
    columns
        (F,) names of the columns that the model read.
    base
        (N, H, T) what is forecast when nothing is known, in the target's unit.
    values
        (N, H, T, F) contributions in the target's unit: `base + values.sum(-1)` is the forecast.
    """

    columns: tuple[str, ...]
    base: Floats
    values: Floats

    @property
    def point(self) -> Floats:
        """(N, H, T) the forecast that is explained."""
        total: Floats = self.base + self.values.sum(axis=-1)
        return total


class Explains(ABC):
    """A forecaster that can say exactly what each column contributed.

    References
    ----------
    Lundberg and Lee (2017), A Unified Approach to Interpreting Model Predictions.
    """

    @abstractmethod
    def contributions(self, context: Windows) -> Attribution:
        """Explain the forecasts after windows such as `Forecaster.predict` takes."""
