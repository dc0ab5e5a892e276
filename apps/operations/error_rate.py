"""What share of requests will fail: counts of errors over counts of requests."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np

from cluster.errors import DataError, InsufficientHistoryError
from training.core.schema import Column
from training.core.windows import Floats
from training.inference.paths import Paths

ERROR_RATIO = Column(name="error_ratio", unit="1", low=0, high=1)
FIT_ROWS = 1000
"""Last rows that memory, strength and trust are chosen on."""
LEAST_ROWS = 20
MEMORIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e5)
TRUSTS = (1.0, 0.1, 0.01, 1e-3, 1e-4)
SHIFT = 8
"""From here on Stirling's series is exact to 1e-10."""


@dataclass(frozen=True, kw_only=True)
class ErrorRate:
    """The share of requests that fail, as a Beta distribution that follows the counts and forgets.

    Each step's errors are binomial given its requests and the rate; what is known of the rate is Beta(a, b). A step
    adds `trust` times its counts to a and b; then what all steps have added fades by `memory`, so that without
    requests the long-run rate comes back. Few requests move it little, none not at all. All three parameters are
    those under which the counts seen, each forecast from those before, were likeliest.

    Parameters
    ----------
    rate
        Long-run share of failures, 0 .. 1.
    strength
        Requests that the long-run rate counts for: a + b without memory.
    memory
        Share of what was learned that is left after a step, 0 .. 1.
    trust
        Weight of a counted request; below 1 where failures come in bursts, so that requests do not fail one by one.
    a, b
        What is known of the rate after the last row.

    References
    ----------
    Harvey and Fernandes (1989), Time series models for count or qualitative observations; West and Harrison (1997),
    Bayesian Forecasting and Dynamic Models, for discounting. Ours fades to the long-run rate instead of to nothing,
    and weighs the counts.
    """

    rate: float
    strength: float
    memory: float
    trust: float
    a: float
    b: float

    @classmethod
    def fit(cls, errors: Floats, requests: Floats) -> Self:
        """Learn from counts.

        Parameters
        ----------
        errors, requests
            (N,) a step; steps without requests are allowed.

        Raises
        ------
        DataError
            A count is negative or not finite, errors exceed requests, or nothing was requested.
        InsufficientHistoryError
            Fewer than 20 rows.
        """
        _check_counts(errors, requests)
        rate = float((errors.sum() + 0.5) / (requests.sum() + 1))
        grid = np.array(list(product(MEMORIES, STRENGTHS, TRUSTS)))
        a, b = _filtered(errors[-FIT_ROWS:], requests[-FIT_ROWS:], rate, grid)
        e, n = errors[-FIT_ROWS:, None], requests[-FIT_ROWS:, None]
        likelihood = log_beta(a[:-1] + e, b[:-1] + n - e) - log_beta(a[:-1], b[:-1])
        best = int(likelihood.sum(axis=0).argmax())
        memory, strength, trust = grid[best].tolist()
        return cls(
            rate=rate,
            strength=strength,
            memory=memory,
            trust=trust,
            a=float(a[-1, best]),
            b=float(b[-1, best]),
        )

    @property
    def now(self) -> float:
        """Mean of the rate of the next step."""
        return self.a / (self.a + self.b)

    def sample(self, requests: Floats, *, seed: int = 0) -> Floats:
        """Return (S, H): the share of failures in S futures, step by step, for their requests (S, H).

        A future's steps hang together: what fails in it moves its rate. Where nothing is requested nothing fails.
        """
        rng, counts = np.random.default_rng(seed), np.maximum(np.rint(requests), 0)
        ground_a, ground_b = self.rate * self.strength, (1 - self.rate) * self.strength
        a, b = np.full(len(counts), self.a), np.full(len(counts), self.b)
        out = np.zeros(counts.shape)
        for h, count in enumerate(counts.T):
            errors = rng.binomial(count.astype(np.int64), rng.beta(a, b))
            out[:, h] = errors / np.maximum(count, 1)
            a = ground_a + self.memory * (a + self.trust * errors - ground_a)
            b = ground_b + self.memory * (b + self.trust * (count - errors) - ground_b)
        return out

    def extend(self, paths: Paths, requests: str, *, errors: Floats, seed: int = 0) -> Paths:
        """Return the paths with `error_ratio`.

        Parameters
        ----------
        paths
            With a column of requests a step.
        requests
            Its name.
        errors
            (R,) known errors of the paths' recent rows.
        seed
            Of the failures' draws.
        """
        at = paths.at(requests)
        recent = errors / np.maximum(paths.recent[:, at], 1)
        values = self.sample(paths.values[..., at], seed=seed)
        return paths.with_column(ERROR_RATIO.name, point=values.mean(axis=0), values=values, recent=recent)


def _filtered(errors: Floats, requests: Floats, rate: float, grid: Floats) -> tuple[Floats, Floats]:
    """Return (N + 1, G) a and b, before each row and after the last, for (G, 3) memories, strengths and trusts."""
    memory, strength, trust = grid.T
    ground_a, ground_b = rate * strength, (1 - rate) * strength
    a, b = [ground_a], [ground_b]
    for e, n in zip(errors, requests, strict=True):
        a.append(ground_a + memory * (a[-1] + trust * e - ground_a))
        b.append(ground_b + memory * (b[-1] + trust * (n - e) - ground_b))
    return np.array(a), np.array(b)


def log_beta(a: Floats, b: Floats) -> Floats:
    """Return the logarithm of the beta function; whole tables at once, which the standard library does not."""
    value: Floats = _log_gamma(a) + _log_gamma(b) - _log_gamma(a + b)
    return value


def _log_gamma(x: Floats) -> Floats:
    z = x + SHIFT
    series = 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5)
    below = np.log(np.prod([x + n for n in range(SHIFT)], axis=0))
    value: Floats = (z - 0.5) * np.log(z) - z + 0.5 * np.log(2 * np.pi) + series - below
    return value


def _check_counts(errors: Floats, requests: Floats) -> None:
    if len(errors) < LEAST_ROWS:
        raise InsufficientHistoryError(
            f"an error rate needs history: got {len(errors)} rows, expected at least {LEAST_ROWS}",
            got=len(errors),
            expected=LEAST_ROWS,
        )
    both = np.stack([errors, requests])
    wrong = ~np.isfinite(both).all(axis=0) | (both < 0).any(axis=0) | (errors > requests)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError.at(
            "counts are not possible",
            row=row,
            got=f"{errors[row]:g} errors of {requests[row]:g} requests",
            expected="0 <= errors <= requests",
        )
    if not requests.any():
        raise DataError.at("an error rate is not defined", got="no request in any row", expected="1 or more")
