"""The mean of bounded numbers, with an interval that holds at every look: by betting against each candidate mean.

For each candidate m on a grid two gamblers bet that the mean is higher, or lower; where m is the true mean neither
game is favourable, so the chance that a gambler's wealth ever reaches 2 / alpha is at most alpha / 2. The interval
is what has not been refuted. Nothing is assumed but the bounds and that the mean does not depend on the past. Bets
shrink with the variance seen so far, so that the interval is about as narrow as the empirical-Bernstein one.

References
----------
Waudby-Smith, I. and Ramdas, A. (2023). Estimating means of bounded random variables by betting. JRSS B 86
(theorem 3: hedged capital, predictable plug-in bets). Ours keeps rows of means side by side, and offers each
gambler's wealth for itself, as one-sided evidence.
Howard, S., Ramdas, A., McAuliffe, J. and Sekhon, J. (2021). Time-uniform, nonparametric, nonasymptotic confidence
sequences. Annals of Statistics 49.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cluster.errors import ConfigError, DataError

Floats = NDArray[np.float64]
STATE = ("higher", "lower", "count", "sum", "squares")
BOLDEST = 0.5
"""Share of the wealth a gambler risks at most: the paper's c; 0.5 or 0.75 are its choices."""


class BettingMean:
    """Confidence sequences of means of numbers in [low, high], one a row; constant memory.

    Parameters
    ----------
    low, high
        Bounds of the numbers.
    rows
        Means kept side by side.
    alpha
        The intervals of a row hold at all times together with probability 1 - alpha; also shapes the bets.
    grid
        Candidate means; the interval's ends are rounded outwards to this grid.
    """

    def __init__(
        self, *, low: float = 0.0, high: float = 1.0, rows: int = 1, alpha: float = 0.05, grid: int = 401
    ) -> None:
        if not (low < high and 0.0 < alpha < 1.0 and grid >= 3):
            raise ConfigError(
                f"got bounds [{low}, {high}], alpha {alpha}, grid {grid}; expected low < high, alpha in (0, 1), "
                "grid of 3 or more"
            )
        self.low, self.high, self.alpha = low, high, alpha
        self._means = np.linspace(0.0, 1.0, grid)
        self._higher = np.zeros((rows, grid))
        self._lower = np.zeros((rows, grid))
        self._count = np.zeros(rows)
        # The paper's priors: a mean of 1/2 and a variance of 1/4, worth one observation.
        self._sum = np.full(rows, 0.5)
        self._squares = np.full(rows, 0.25)

    def update(self, values: ArrayLike) -> None:
        """Take in the next number of each row: (rows,), NaN where a row has none now.

        Raises
        ------
        DataError
            A number is outside the bounds.
        """
        x = (np.broadcast_to(np.asarray(values, dtype=np.float64), self._count.shape) - self.low) / (
            self.high - self.low
        )
        if np.any((x < 0.0) | (x > 1.0)):
            raise DataError.at("betting", got=values, expected=f"numbers in [{self.low}, {self.high}]")
        live = ~np.isnan(x)
        bet = self._bets()
        gain = np.where(live, x, 0.0)[:, None] - self._means
        with np.errstate(divide="ignore"):
            up = np.minimum(bet[:, None], BOLDEST / self._means)
            down = np.minimum(bet[:, None], BOLDEST / (1.0 - self._means))
        self._higher += np.where(live[:, None], np.log1p(up * gain), 0.0)
        self._lower += np.where(live[:, None], np.log1p(-down * gain), 0.0)
        self._learn(np.where(live, x, 0.0), live)

    def _bets(self) -> Floats:
        variance = self._squares / (self._count + 1.0)
        place = self._count + 1.0
        bets = np.sqrt(2.0 * np.log(2.0 / self.alpha) / (variance * place * np.log(place + 1.0)))
        return np.asarray(bets, dtype=np.float64)

    def _learn(self, x: Floats, live: NDArray[np.bool_]) -> None:
        self._count += live
        self._sum += np.where(live, x, 0.0)
        mean = self._sum / (self._count + 1.0)
        self._squares += np.where(live, (x - mean) ** 2, 0.0)

    @property
    def count(self) -> Floats:
        """Numbers seen by each row."""
        return self._count.copy()

    @property
    def mean(self) -> Floats:
        """Mean of each row, NaN where none was seen."""
        with np.errstate(invalid="ignore"):
            mean = (self._sum - 0.5) / self._count
        return np.asarray(self.low + (self.high - self.low) * mean, dtype=np.float64)

    def interval(self) -> tuple[Floats, Floats]:
        """Return the bounds of each row's mean."""
        limit = np.log(2.0 / self.alpha)
        kept = (self._higher < limit) & (self._lower < limit)
        step = self._means[1]
        # The grid point beyond the last that is kept may be the bound: round outwards.
        low = np.where(kept.any(axis=1), self._means[kept.argmax(axis=1)], self._middle()) - step
        high = np.where(kept.any(axis=1), self._means[-1 - kept[:, ::-1].argmax(axis=1)], self._middle()) + step
        scale = self.high - self.low
        return self.low + scale * np.maximum(low, 0.0), self.low + scale * np.minimum(high, 1.0)

    def _middle(self) -> Floats:
        return np.asarray(self._sum / (self._count + 1.0), dtype=np.float64)

    def log_evidence_above(self, mean: float) -> Floats:
        """Return each row's evidence against "the mean is at most `mean`"; compare with log(1 / alpha)."""
        return self._higher[:, self._place(mean, np.ceil)].copy()

    def log_evidence_below(self, mean: float) -> Floats:
        """Return each row's evidence against "the mean is at least `mean`"; compare with log(1 / alpha)."""
        return self._lower[:, self._place(mean, np.floor)].copy()

    def to_json(self) -> dict[str, Any]:
        """Return the wealths and what bets go by; with the constructor's arguments they are the whole state."""
        return {name: getattr(self, f"_{name}").tolist() for name in STATE}

    def restore(self, state: Mapping[str, Any]) -> Self:
        """Take over what `to_json` gave."""
        for name in STATE:
            setattr(self, f"_{name}", np.asarray(state[name], dtype=np.float64))
        return self

    def _place(self, mean: float, rounded: np.ufunc) -> int:
        share = (mean - self.low) / (self.high - self.low)
        if not 0.0 <= share <= 1.0:
            raise ConfigError(f"mean: got {mean}, expected a number in [{self.low}, {self.high}]")
        return int(rounded(round(share * (len(self._means) - 1), 9)))
