"""The theta method: what a window's season, drift and smoothed level say, fitted anew in each window."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cluster.errors import UnknownNameError
from training.core.component import State
from training.core.estimator import Forecaster
from training.core.parameters import whole
from training.core.runner import Runner
from training.core.space import Choice, Space
from training.core.windows import Floats, Windows
from training.models.local import best, check_seasons, quiet, spread

VARIANTS = {
    "standard": "Theta",
    "optimised": "OptimizedTheta",
    "dynamic": "DynamicTheta",
    "dynamic_optimised": "DynamicOptimizedTheta",
}
"""Our names, and statsforecast's classes."""
AUTO = "auto"
COMPARED = 48
"""Windows that the variants are compared on: each costs a fit of each variant, some milliseconds."""


class Theta(Forecaster):
    """Seasonal adjustment, then a mixture of a smoothed level and a straight line.

    Everything is fitted in the window that is forecast from, by statsforecast, some milliseconds a window. What
    fitting chooses is the variant, per target, by errors on later windows. A season counts where the window's
    auto-correlation shows one, which takes about four seasons. A window that stands still is repeated.

    Parameters
    ----------
    season
        Steps in a season, 1 or more; below 4 there is no seasonal adjustment.
    window
        Rows that a forecast is computed from, at least two seasons and 16.
    variant
        `standard`, `optimised`, `dynamic`, `dynamic_optimised`, or `auto`: the best of the four. Optimised ones
        choose how much of the line's slope remains; dynamic ones let the line follow the data.
    multiplicative
        Whether seasons multiply where all values are positive; else they are added.

    References
    ----------
    Assimakopoulos and Nikolopoulos (2000), The theta model; Fiorucci et al. (2016), Models for optimising the
    theta method and their relationship to state space models.
    """

    name: ClassVar[str] = "theta"

    def __init__(
        self, *, season: int = 24, window: int = 168, variant: str = AUTO, multiplicative: bool = False
    ) -> None:
        self.season = whole("season", season, low=1)
        self.window = whole("window", window, low=16)
        if variant not in {AUTO, *VARIANTS}:
            raise UnknownNameError.of("theta variant", variant, (AUTO, *VARIANTS))
        self.variant = variant
        self.multiplicative = multiplicative
        check_seasons(self.name, self.window, self.season, 2)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return four seasons of 12: on fewer the test does not see a season."""
        return {"season": 12, "window": 48, "variant": "standard"}

    @classmethod
    def search_space(cls) -> Space:
        """Return how seasons enter; the season is known, and the variant is chosen by fitting."""
        return {"multiplicative": Choice((False, True))}

    @property
    def context(self) -> int:
        """The window."""
        return self.window

    @property
    def variants(self) -> tuple[str, ...]:
        """The chosen variant of each target."""
        return tuple(self._variants)

    def fit_windows(
        self,
        train: Windows,
        validation: Windows | None,
        runner: Runner | None,  # noqa: ARG002 - no loop to run
    ) -> None:
        """Choose the variant for each target."""
        self._variants = [self.variant] * len(self.targets)
        if self.variant == AUTO:
            judged = spread(validation if validation else train, COMPARED)
            self._variants = [self._choose(target, judged) for target in self.targets]

    def _choose(self, target: str, judged: Windows) -> str:
        context, future = judged.split(self.horizon)
        past, actual = context.select((target,))[..., 0], future.select((target,))[..., 0]
        return best(tuple(VARIANTS), lambda variant: self._forecasts(past, variant), past, actual)

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): each window's own fit."""
        values = context.select(self.targets)
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for place, variant in enumerate(self._variants):
            out[..., place] = self._forecasts(values[..., place], variant)
        return out

    def _forecasts(self, values: Floats, variant: str) -> Floats:
        """Return (N, H) of windows (N, L)."""
        from statsforecast import models

        kind = "multiplicative" if self.multiplicative else "additive"
        model = getattr(models, VARIANTS[variant])(season_length=self.season, decomposition_type=kind)
        out = np.repeat(values[:, -1:], self.horizon, axis=1)
        with quiet():
            for place in np.flatnonzero(np.ptp(values, axis=1) > 0):
                out[place] = model.forecast(y=values[place].copy(), h=self.horizon)["mean"]
        return out

    def learned(self) -> State:
        """Return the chosen variants."""
        return {"variants": self._variants}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._variants = list(state["variants"])
