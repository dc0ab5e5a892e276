"""ARIMA with regressors: order and coefficients from some windows, applied to all of them as one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from training.core.component import State
from training.core.estimator import Forecaster, Tags
from training.core.parameters import whole
from training.core.runner import Runner
from training.core.space import Space, Whole
from training.core.windows import Floats, Windows
from training.models.local import JUDGED, best, check_seasons, quiet, spread
from training.models.regressors import Regressors
from training.models.state_space import Filtered, arima_filter


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One ARIMA model with its coefficients; level, drift and regressors are left to each window.

    Parameters
    ----------
    label
        Order in the usual notation.
    phi, theta, delta
        Polynomials: auto-regression, moving average, sums.
    degree
        Power of time in the mean: 0 a level, 1 a drift; None where differences leave neither.
    """

    label: str
    phi: Floats
    theta: Floats
    delta: Floats
    degree: int | None

    @classmethod
    def of(cls, model: dict[str, Any]) -> Self:
        """Read what statsforecast fitted; a stationary model always gets a level: no series owes us a mean of 0."""
        p, q, sp, sq, season, d, sd = model["arma"]
        drift = "drift" in model["coef"]
        seasonal = f"({sp},{sd},{sq})[{season}]" if season > 1 else ""
        parts = (np.asarray(model["model"][name], dtype=np.float64) for name in ("phi", "theta", "delta"))
        phi, theta, delta = parts
        return cls(
            label=f"ARIMA({p},{d},{q}){seasonal}{' with drift' if drift else ''}",
            phi=phi,
            theta=theta,
            delta=delta,
            degree=0 if d + sd == 0 else 1 if drift else None,
        )

    @classmethod
    def naive(cls, season: int) -> Self:
        """Return the seasonal random walk, which needs no fit and must be beaten."""
        delta = np.zeros(season)
        delta[-1] = 1.0
        none = np.empty(0)
        label = f"ARIMA(0,0,0)(0,1,0)[{season}]" if season > 1 else "ARIMA(0,1,0)"
        return cls(label=label, phi=none, theta=none, delta=delta, degree=None)

    def filter(self, length: int, horizon: int) -> Filtered:
        """Return what it makes of a window."""
        time = np.arange(1.0, length + horizon + 1)[:, None]
        trend = None if self.degree is None else time**self.degree
        return arima_filter(self.phi, self.theta, self.delta, trend, length=length, horizon=horizon)


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A structure as it is applied to one target."""

    label: str
    weights: Floats
    regressors: Regressors | None

    def forecast(self, values: Floats, past: Floats, ahead: Floats) -> Floats:
        """Return (N, H) from windows (N, L) and regressors (N, L, K), (N, H, K)."""
        plain: Floats = values @ self.weights.T
        return (
            plain if self.regressors is None else plain + self.regressors.effect(self.weights, values, past, ahead)
        )


class AutoARIMA(Forecaster):
    """The ARIMA model that forecasts best among those that the AICc picks in some windows.

    In each of `trials` training windows statsforecast searches order and coefficients step by step, and errors on
    later windows choose one of them per target. With the coefficients given, the forecast of the Kalman filter is
    linear in the window: the filter runs once, and forecasts of any number of windows are one product of matrices.
    The level, the drift and the weights of covariates known ahead are estimated anew in each window by generalised
    least squares, so that one structure serves series of any level and scale, unknown ones too.

    Parameters
    ----------
    season
        Steps in a season, 1 or more; 1 is none.
    window
        Rows that a forecast is computed from, at least two seasons and 16.
    trials
        Training windows searched, 1 or more: each costs the search of one ARIMA model.
    max_order
        The most auto-regressive or moving-average terms of each kind, 1 .. 5.
    ahead
        Which of the columns known ahead are regressors; all by default.

    References
    ----------
    Hyndman and Khandakar (2008), Automatic Time Series Forecasting: The forecast Package for R; Harvey (1989),
    Forecasting, Structural Time Series Models and the Kalman Filter, for the filter. Ours keeps the coefficients of
    the best window where the original fits them anew at every origin: thousands of origins cost what one does.
    Weights of regressors lean on their pooled estimate, the more the less a window says of them.
    """

    name: ClassVar[str] = "auto_arima"
    tags: ClassVar[Tags] = Tags(known_future=True)

    def __init__(
        self,
        *,
        season: int = 24,
        window: int = 336,
        trials: int = 4,
        max_order: int = 5,
        ahead: tuple[str, ...] | None = None,
    ) -> None:
        self.season = whole("season", season, low=1)
        self.window = whole("window", window, low=16)
        self.trials = whole("trials", trials, low=1)
        self.max_order = whole("max_order", max_order, low=1, high=5)
        self.ahead = None if ahead is None else tuple(ahead)
        check_seasons(self.name, self.window, self.season, 2)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return two seasons of 12, and one short search."""
        return {"season": 12, "window": 24, "trials": 1, "max_order": 1}

    @classmethod
    def search_space(cls) -> Space:
        """Return the window; the season is known, and the order is chosen by fitting."""
        return {"window": Whole(96, 672, log=True)}

    @property
    def context(self) -> int:
        """The window."""
        return self.window

    @property
    def labels(self) -> tuple[str, ...]:
        """The chosen order of each target's model."""
        return tuple(fitted.label for fitted in self._fitted)

    def fit_windows(
        self,
        train: Windows,
        validation: Windows | None,
        runner: Runner | None,  # noqa: ARG002 - no loop to run
    ) -> None:
        """Choose order and coefficients for each target."""
        trials = spread(train, self.trials).split(self.horizon, self.known)[0]
        judged = spread(validation if validation else train, JUDGED)
        self._fitted = [self._choose(target, trials, judged) for target in self.targets]

    def _choose(self, target: str, trials: Windows, judged: Windows) -> _Fitted:
        values, regressors = trials.select((target,))[..., 0], trials.select(self.known)
        found = [self._search(*pair) for pair in zip(values, regressors, strict=True)]
        context, future = judged.split(self.horizon, self.known)
        past, actual = context.select((target,))[..., 0], future.select((target,))[..., 0]
        known = context.select(self.known), future.select(self.known)
        structures = [each for each in found if each is not None] + [Structure.naive(self.season)]
        candidates = [fitted for each in structures for fitted in self._variants(each, past, known[0])]
        return best(candidates, lambda each: each.forecast(past, *known), past, actual)

    def _search(self, values: Floats, regressors: Floats) -> Structure | None:
        """Return the structure of one window (L,) with regressors (L, K); None where the search finds none."""
        from statsforecast.models import AutoARIMA as Search

        most = self.max_order
        terms = {"max_p": most, "max_q": most, "max_P": min(most, 2), "max_Q": min(most, 2)}
        search = Search(season_length=self.season, approximation=True, **terms)
        varying = regressors[:, np.ptp(regressors, axis=0) > 0]
        scaled = (varying - varying.mean(axis=0)) / varying.std(axis=0)
        try:
            with quiet():
                search.fit(values.copy(), scaled if scaled.shape[1] else None)
        except ValueError:  # no order could be estimated, or regressors that cannot be told apart
            return None
        return Structure.of(search.model_)

    def _variants(self, structure: Structure, past: Floats, known: Floats) -> list[_Fitted]:
        """Return the structure without regressors, and with them leaning more or less on the pooled weights."""
        filtered = structure.filter(self.window, self.horizon)
        fitted = [_Fitted(label=structure.label, weights=filtered.weights, regressors=None)]
        if self.known:
            pooled = Regressors.fit(filtered.whiten, past, known)
            fitted += [
                _Fitted(label=f"{structure.label} with regressors", weights=filtered.weights, regressors=each)
                for each in pooled.leanings()
            ]
        return fitted

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): each window's filtered forecast."""
        values = context.select(self.targets)
        shape = (len(context), self.horizon, len(self.known))
        past, ahead = context.select(self.known), np.empty(shape)
        if context.ahead is not None and self.known:
            ahead = context.ahead.select(self.known)
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for place, fitted in enumerate(self._fitted):
            out[..., place] = fitted.forecast(values[..., place], past, ahead)
        return out

    def learned(self) -> State:
        """Return each target's matrices."""
        return {
            "fitted": [
                {
                    "label": each.label,
                    "weights": each.weights,
                    "regressors": each.regressors.state() if each.regressors else None,
                }
                for each in self._fitted
            ]
        }

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._fitted = [
            _Fitted(
                label=each["label"],
                weights=each["weights"],
                regressors=Regressors(**each["regressors"]) if each["regressors"] else None,
            )
            for each in state["fitted"]
        ]
