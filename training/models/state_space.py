"""Linear state-space models as matrices: what a filter makes of a window is linear in the window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.core.windows import Floats

RANK = 1e-6
"""Directions of the unknowns that change the errors less than this share of the most visible one are not estimated:
they would be noise divided by nothing."""
DIFFUSE = 1e6
"""Variance of a state that nothing is known of before the window, in shocks' variances; statsforecast's value."""
DOUBLINGS = 40
"""Of the sum over all past shocks: enough for roots as near to 1 as 1 - 1e-9."""


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """What a model with given coefficients makes of any window y (L,): a filter, run once, serves all windows.

    Parameters
    ----------
    whiten
        (L, L): `whiten @ y` are the one-step errors, in units of their standard deviations.
    weights
        (H, L): `weights @ y` is the forecast.
    """

    whiten: Floats
    weights: Floats

    def estimating(self, errors: Floats, effects: Floats) -> Filtered:
        """Return the filter that estimates c unknown numbers of each window by generalised least squares.

        Parameters
        ----------
        errors
            (L, c) what a unit of each unknown takes from the whitened errors.
        effects
            (H, c) what it adds to the forecast.
        """
        left, sizes, right = np.linalg.svd(errors, full_matrices=False)
        seen = sizes > RANK * sizes.max(initial=0.0)
        left = left[:, seen]
        explained = left.T @ self.whiten
        estimate = (right[seen].T / sizes[seen]) @ explained
        return Filtered(whiten=self.whiten - left @ explained, weights=self.weights + effects @ estimate)


def arima_filter(
    phi: Floats, theta: Floats, delta: Floats, trend: Floats | None, *, length: int, horizon: int
) -> Filtered:
    """Return the filter of an ARIMA model.

    Parameters
    ----------
    phi, theta
        (p,), (q,) coefficients of the whole auto-regressive and moving-average polynomials, seasons multiplied in.
    delta
        (d,) weights of the last values in the sum that undoes all differences.
    trend
        (L + H, c) columns with unknown coefficients in the mean, such as ones; None where there are none.
    length, horizon
        L, rows of a window, and H.
    """
    transition, shock, reads = _arima_system(phi, theta, delta)
    size = len(shock)
    stationary = size - len(delta)
    covariance = np.eye(size) * DIFFUSE
    covariance[:stationary, :stationary] = _stationary(transition[:stationary, :stationary], shock[:stationary])
    whiten, state = np.empty((length, length)), np.zeros((size, length))
    for step in range(length):
        if step:
            covariance = transition @ covariance @ transition.T + np.outer(shock, shock)
            state = transition @ state
        error = -(reads @ state)
        error[step] += 1.0
        seen = covariance @ reads
        variance = seen @ reads
        state += np.outer(seen / variance, error)
        covariance -= np.outer(seen, seen) / variance
        whiten[step] = error / np.sqrt(variance)
    plain = Filtered(whiten=whiten, weights=_ahead(transition, reads, state, horizon))
    if trend is None:
        return plain
    past = trend[:length]
    return plain.estimating(whiten @ past, trend[length:] - plain.weights @ past)


def _arima_system(phi: Floats, theta: Floats, delta: Floats) -> tuple[Floats, Floats, Floats]:
    """Return transition (n, n), shock (n,) and what is read of the state (n,), after Harvey."""
    stationary, differences = max(len(phi), len(theta) + 1), len(delta)
    size = stationary + differences
    reads, shock, transition = np.zeros(size), np.zeros(size), np.zeros((size, size))
    reads[0], reads[stationary:] = 1.0, delta
    shock[0], shock[1 : len(theta) + 1] = 1.0, theta
    transition[: len(phi), 0] = phi
    transition[np.arange(stationary - 1), np.arange(1, stationary)] = 1.0
    if differences:
        transition[stationary] = reads
        older = np.arange(stationary + 1, size)
        transition[older, older - 1] = 1.0
    return transition, shock, reads


def _stationary(transition: Floats, shock: Floats) -> Floats:
    """Return the covariance of the state long after its start: the sum of all shocks, doubled each turn."""
    covariance, power = np.outer(shock, shock), transition
    for _ in range(DOUBLINGS):
        more = power @ covariance @ power.T
        covariance = covariance + more
        power = power @ power
        if np.abs(more).max() <= np.finfo(float).eps * np.abs(covariance).max():
            break
    return covariance


def _ahead(transition: Floats, reads: Floats, state: Floats, horizon: int) -> Floats:
    """Return (H, c): what is read of the states (n, c) that follow."""
    out = np.empty((horizon, state.shape[1]))
    for step in range(horizon):
        state = transition @ state
        out[step] = reads @ state
    return out


def smoothing_filter(
    *, alpha: float, beta: float | None, gamma: float | None, phi: float, season: int, length: int, horizon: int
) -> Filtered:
    """Return the filter of an additive exponential smoothing model whose first state is estimated in each window.

    Parameters
    ----------
    alpha, beta, gamma
        Shares of an error that go to level, trend and season; without trend or season None.
    phi
        What remains of the trend after a step.
    season
        Steps in a season.
    length, horizon
        L, rows of a window, and H.
    """
    transition, gain, reads = _smoothing_system(alpha, beta, gamma, phi, season)
    size = len(gain)
    whiten, started = np.empty((length, length)), np.empty((length, size))
    state, first = np.zeros((size, length)), np.eye(size)
    for step in range(length):
        error = -(reads @ state)
        error[step] += 1.0
        whiten[step], started[step] = error, reads @ first
        state = transition @ state + np.outer(gain, error)
        first = transition @ first - np.outer(gain, started[step])
    weights, effects = (_next(transition, reads, each, horizon) for each in (state, first))
    return Filtered(whiten=whiten, weights=weights).estimating(started, effects)


def _smoothing_system(
    alpha: float, beta: float | None, gamma: float | None, phi: float, season: int
) -> tuple[Floats, Floats, Floats]:
    """Return transition (n, n), gain (n,) and what is read of the state before a step (n,)."""
    trend, seasons = beta is not None, season if gamma is not None else 0
    size = 1 + trend + seasons
    transition, gain, reads = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    transition[0, 0], gain[0], reads[0] = 1.0, alpha, 1.0
    if beta is not None:
        transition[0, 1] = transition[1, 1] = reads[1] = phi
        gain[1] = beta
    if gamma is not None:
        newest = 1 + trend
        transition[newest, -1] = reads[-1] = 1.0
        older = np.arange(newest + 1, size)
        transition[older, older - 1] = 1.0
        gain[newest] = gamma
    return transition, gain, reads


def _next(transition: Floats, reads: Floats, state: Floats, horizon: int) -> Floats:
    """Return (H, c): what is read before each of the steps that follow the states (n, c)."""
    out = np.empty((horizon, state.shape[1]))
    for step in range(horizon):
        out[step] = reads @ state
        state = transition @ state
    return out
