"""Exponential smoothing: form and coefficients from some windows, applied to all of them as one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np

from training.core.component import State
from training.core.estimator import Forecaster
from training.core.parameters import whole
from training.core.runner import Runner
from training.core.space import Space, Whole
from training.core.windows import Floats, Windows
from training.models.local import JUDGED, best, check_seasons, quiet, spread
from training.models.state_space import smoothing_filter

LEVELS, SEASONS = (0.05, 0.2, 0.5, 0.8), (0.01, 0.1, 0.3)
"""Shares of an error that go to level and season in the forms that are tried in any case: on short windows the
AICc refuses every season, whose first state costs it a parameter a step, while all windows together show one."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One model with its coefficients; its first state is left to each window.

    Parameters
    ----------
    label
        Error, trend and season in the usual notation.
    alpha, beta, gamma, phi
        See `training.models.state_space.smoothing_filter`.
    logarithms
        Whether it smooths the logarithms of positive values: the multiplicative forms.
    """

    label: str
    alpha: float
    beta: float | None
    gamma: float | None
    phi: float
    logarithms: bool = False

    @classmethod
    def of(cls, model: dict[str, Any], *, logarithms: bool) -> Self:
        """Read what statsforecast fitted."""
        error, trend, season, damped = model["components"]
        alpha, beta, gamma, phi = (float(value) for value in model["par"][:4])
        name = f"ETS({error},{trend}{'d' if damped == 'D' else ''},{season})"
        return cls(
            label=f"{name} of logarithms" if logarithms else name,
            alpha=alpha,
            beta=None if trend == "N" else beta,
            gamma=None if season == "N" else gamma,
            phi=phi if damped == "D" else 1.0,
            logarithms=logarithms,
        )


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A form as it is applied to one target."""

    label: str
    weights: Floats
    logarithms: bool

    def forecast(self, values: Floats) -> Floats:
        """Return (N, H) from windows (N, L); windows with values of 0 or less are smoothed as they are."""
        if not self.logarithms:
            return self._weighed(values)
        positive = values.min(axis=1, initial=np.inf) > 0
        out = self._weighed(values)
        logs = np.log(values[positive])
        low, high = logs.min(axis=1), logs.max(axis=1)
        # A trend of logarithms is a power: no further than the window's own range beyond what it has seen.
        reach = high - low
        bounded = np.clip(self._weighed(logs), (low - reach)[:, None], (high + reach)[:, None])
        out[positive] = np.exp(bounded)
        return out

    def _weighed(self, values: Floats) -> Floats:
        """Return (N, H): not by the matrix product, whose last bits depend on N (see `Forecaster.together`)."""
        weighed: Floats = np.einsum("nl,hl->nh", values, self.weights)
        return weighed


class AutoETS(Forecaster):
    """The exponential smoothing model that forecasts best among those that the AICc picks in some windows.

    In each of `trials` training windows statsforecast chooses among the additive forms, with and without (damped)
    trend and season, for the values and, where all are positive, for their logarithms; errors on later windows
    choose one of them, or of some usual seasonal ones, per target. The first state, level, trend and season, is
    estimated anew in each window by least squares, which makes the forecast linear in the window: any number of
    windows is one product of matrices.

    Parameters
    ----------
    season
        Steps in a season, 1 or more; 1 is none.
    window
        Rows that a forecast is computed from, at least two seasons and 16.
    trials
        Training windows searched, 1 or more.

    References
    ----------
    Hyndman, Koehler, Ord and Snyder (2008), Forecasting with Exponential Smoothing: The State Space Approach. Ours
    keeps the coefficients of the best window where the original fits them anew at every origin, finds the first
    state exactly rather than by search, has the additive forms of logarithms in place of the multiplicative ones,
    and damps a slope from the first step on, where R and statsforecast count its first step twice.
    """

    name: ClassVar[str] = "auto_ets"

    def __init__(self, *, season: int = 24, window: int = 336, trials: int = 6) -> None:
        self.season = whole("season", season, low=1)
        self.window = whole("window", window, low=16)
        self.trials = whole("trials", trials, low=1)
        check_seasons(self.name, self.window, self.season, 2)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return two seasons of 12, and one search."""
        return {"season": 12, "window": 24, "trials": 1}

    @classmethod
    def search_space(cls) -> Space:
        """Return the window; the season is known, and the form is chosen by fitting."""
        return {"window": Whole(96, 672, log=True)}

    @property
    def context(self) -> int:
        """The window."""
        return self.window

    @property
    def labels(self) -> tuple[str, ...]:
        """The chosen form of each target's model."""
        return tuple(fitted.label for fitted in self._fitted)

    def fit_windows(
        self,
        train: Windows,
        validation: Windows | None,
        runner: Runner | None,  # noqa: ARG002 - no loop to run
    ) -> None:
        """Choose form and coefficients for each target."""
        trials = spread(train, self.trials).head(self.window)
        judged = spread(validation if validation else train, JUDGED)
        self._fitted = [self._choose(target, trials, judged) for target in self.targets]

    def _choose(self, target: str, trials: Windows, judged: Windows) -> _Fitted:
        found = [form for values in trials.select((target,))[..., 0] for form in self._search(values)]
        context, future = judged.split(self.horizon)
        past, actual = context.select((target,))[..., 0], future.select((target,))[..., 0]
        candidates = [self._apply(form) for form in (*found, *self._usual())]
        return best(candidates, lambda each: each.forecast(past), past, actual)

    def _usual(self) -> list[Form]:
        """Return the forms that are tried in any case: the random walk, and levels with a season."""
        walk = Form(label="ETS(A,N,N)", alpha=1.0, beta=None, gamma=None, phi=1.0)
        if self.season == 1:
            return [walk]
        seasonal = [
            Form(label="ETS(A,N,A)", alpha=alpha, beta=None, gamma=gamma, phi=1.0)
            for alpha, gamma in product(LEVELS, SEASONS)
            if alpha + gamma <= 1
        ]
        return [walk, *seasonal]

    def _search(self, values: Floats) -> list[Form]:
        """Return the best form of a window's values and, where all are positive, of their logarithms."""
        forms = [(values, False)]
        if values.min() > 0:
            forms.append((np.log(values), True))
        return [form for each, logs in forms if (form := self._best_form(each, logarithms=logs)) is not None]

    def _best_form(self, values: Floats, *, logarithms: bool) -> Form | None:
        from statsforecast.models import AutoETS as Search

        # Few rows cannot carry a state of a whole season: there the search is for the forms without one.
        season = self.season if len(values) > self.season + 6 else 1
        with quiet():
            model = Search(season_length=season, model="AZZ" if season > 1 else "AZN").fit(values.copy()).model_
        form = Form.of(model, logarithms=logarithms)
        return form if np.isfinite([form.alpha, form.beta or 0.0, form.gamma or 0.0, form.phi]).all() else None

    def _apply(self, form: Form) -> _Fitted:
        filtered = smoothing_filter(
            alpha=form.alpha,
            beta=form.beta,
            gamma=form.gamma,
            phi=form.phi,
            season=self.season,
            length=self.window,
            horizon=self.horizon,
        )
        return _Fitted(label=form.label, weights=filtered.weights, logarithms=form.logarithms)

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): each window's smoothed forecast."""
        values = context.select(self.targets)
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for place, fitted in enumerate(self._fitted):
            out[..., place] = fitted.forecast(values[..., place])
        return out

    def learned(self) -> State:
        """Return each target's form and matrix."""
        return {
            "fitted": [
                {"label": each.label, "weights": each.weights, "logarithms": each.logarithms}
                for each in self._fitted
            ]
        }

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._fitted = [_Fitted(**each) for each in state["fitted"]]
