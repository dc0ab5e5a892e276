"""Which of two versions do the bad events come from? Evidence that may be looked at after every request.

Let each request go to the new version with a probability that is known, its share w. Among the requests that end
badly (an error, an answer above a latency) a share of w p1 / (w p1 + (1 - w) p0) then belongs to the new version,
p1 and p0 being the two rates. So the labels of the bad events alone tell the ratio p1 / p0: neither rate has to be
known, both may drift together through the day, an outage that hits both versions changes nothing, and shares may
change on the way. A pair of answers to one request, of which one is bad, is such an event with w = 1/2.

The evidence against "p1 is at most `tolerated` times p0" is the likelihood of the labels under larger ratios
(a mixture of `ALTERNATIVES`) over their likelihood under `tolerated`. Under the hypothesis this is at most a fair
game's wealth: the chance that it ever reaches 1 / alpha is at most alpha, however often one looks (Ville). For
`tolerated` = 1 it is also the wealth of betting on the inverse-propensity-weighted difference of the rates.

What it asks: that the label does not depend on the request given the past. Where one user or series always goes
the same way and repeats itself, count each one's bad events once (`rollout.telemetry` does).

References
----------
Ville, J. (1939). Étude critique de la notion de collectif.
Johari, R., Koomen, P., Pekelis, L. and Walsh, D. (2022). Always valid inference: continuous monitoring of A/B
tests. Operations Research 70. (Their mixture SPRT is the two-sample form; ours conditions on the event, which
needs no rate and no paired arrivals.)
Waudby-Smith, I. and Ramdas, A. (2023). Estimating means of bounded random variables by betting. JRSS B 86.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cluster.errors import ConfigError

Floats = NDArray[np.float64]

MAX_SHARES = 64
"""Different shares that are kept apart: far above the stages of a rollout, and a bound on memory."""
RATIO_BOUND = 1e4
"""Ratios searched by `interval` lie between its inverse and it; beyond that no decision changes."""

STEPS = 24
"""Halvings by `interval`: to a millionth of a ratio. It is asked for by whoever looks, in a process that serves."""


@dataclass(frozen=True, kw_only=True)
class Alternatives:
    """Ratios that evidence is gathered for.

    Parameters
    ----------
    ratios
        New rate over tolerated rate, all above 1 (or all below, to gather evidence that a rate is lower).
    weights
        Belief in each, summing to 1. Evidence grows fastest where the truth lies near a ratio of much weight.
    """

    ratios: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.ratios) != len(self.weights) or abs(sum(self.weights) - 1.0) > 1e-9:
            raise ConfigError(f"alternatives: got {self}, expected as many weights as ratios, with the sum 1")
        if not (min(self.ratios) > 1.0 or 0.0 < min(self.ratios) <= max(self.ratios) < 1.0):
            raise ConfigError(f"alternatives: got ratios {self.ratios}, expected all above 1, or all in (0, 1)")


HIGHER = Alternatives(ratios=(1.5, 2.5, 5.0), weights=(0.2, 0.7, 0.1))
"""A rollout is there to catch a rate that doubles or trebles; a rise by a half shows in time."""
LOWER = Alternatives(ratios=tuple(1.0 / ratio for ratio in HIGHER.ratios), weights=HIGHER.weights)
"""The same the other way round: evidence that a rate is lower."""


def log_evidence(
    new_events: ArrayLike,
    old_events: ArrayLike,
    shares: ArrayLike,
    *,
    tolerated: float = 1.0,
    alternatives: Alternatives = HIGHER,
) -> Floats:
    """Return the logarithm of the evidence that new rate / old rate lies beyond `tolerated`.

    Parameters
    ----------
    new_events, old_events
        Bad events of each version, by share: (..., W).
    shares
        The new version's share of requests while they happened, in (0, 1): (W,).
    tolerated
        Ratio of rates that is still accepted; above 0.
    alternatives
        Ratios, times `tolerated`, that evidence is gathered for.

    Returns
    -------
    (...)
        Compare with log(1 / alpha).
    """
    w = np.asarray(shares, dtype=np.float64)
    null = _new_share(w, tolerated)
    logs = []
    for ratio, weight in zip(alternatives.ratios, alternatives.weights, strict=True):
        other = _new_share(w, tolerated * ratio)
        of_new = np.asarray(new_events) * np.log(other / null)
        of_old = np.asarray(old_events) * np.log((1.0 - other) / (1.0 - null))
        logs.append((of_new + of_old).sum(axis=-1) + np.log(weight))
    return np.asarray(np.logaddexp.reduce(logs, axis=0), dtype=np.float64)


def _new_share(share: Floats, ratio: float) -> Floats:
    return share * ratio / (share * ratio + 1.0 - share)


class EventShare:
    """The evidence of one question, or of one a row, as a Monitor: counts by share, and nothing else.

    Parameters
    ----------
    rows
        Questions kept side by side (segments); each has its own evidence.
    tolerated, alternatives
        See `log_evidence`.
    """

    def __init__(self, rows: int = 1, *, tolerated: float = 1.0, alternatives: Alternatives = HIGHER) -> None:
        if not tolerated > 0.0:
            raise ConfigError(f"tolerated: got {tolerated}, expected a ratio of rates above 0, such as 1.0")
        self.tolerated, self.alternatives = tolerated, alternatives
        self._shares: list[float] = []
        self._new = np.zeros((rows, 0))
        self._old = np.zeros((rows, 0))

    def update(self, new_events: ArrayLike, old_events: ArrayLike, *, share: float) -> None:
        """Take in bad events that happened while the new version had this share of the requests.

        Parameters
        ----------
        new_events, old_events
            How many, by row: (rows,) or a number.
        share
            In (0, 1); 0.5 for pairs of answers to the same request.

        Raises
        ------
        ConfigError
            The share is no such number, or there were too many different ones.
        """
        place = self._place(share)
        self._new[:, place] += np.asarray(new_events, dtype=np.float64)
        self._old[:, place] += np.asarray(old_events, dtype=np.float64)

    def _place(self, share: float) -> int:
        if share in self._shares:
            return self._shares.index(share)
        if not 0.0 < share < 1.0 or len(self._shares) >= MAX_SHARES:
            raise ConfigError(
                f"share: got {share} after {len(self._shares)} others, expected a number in (0, 1), "
                f"and at most {MAX_SHARES} different ones"
            )
        self._shares.append(share)
        self._new, self._old = (np.pad(each, ((0, 0), (0, 1))) for each in (self._new, self._old))
        return len(self._shares) - 1

    @property
    def events(self) -> tuple[Floats, Floats]:
        """Bad events of the new and of the old version, by row."""
        return self._new.sum(axis=1), self._old.sum(axis=1)

    def log_evidence(self) -> Floats:
        """Return the evidence of each row: (rows,)."""
        return self._log_evidence(self.tolerated, self.alternatives)

    def _log_evidence(self, tolerated: float, alternatives: Alternatives) -> Floats:
        return log_evidence(self._new, self._old, self._shares, tolerated=tolerated, alternatives=alternatives)

    def interval(self, alpha: float, row: int = 0) -> tuple[float, float]:
        """Return bounds of new rate / old rate that hold at all times together with probability 1 - alpha.

        A ratio is outside where the evidence against it, from below or from above, reaches 2 / alpha.
        """
        limit = float(np.log(2.0 / alpha))

        def refuted(log_ratio: float, alternatives: Alternatives) -> bool:
            return bool(self._log_evidence(float(np.exp(log_ratio)), alternatives)[row] >= limit)

        end = float(np.log(RATIO_BOUND))
        low = _edge(lambda at: refuted(at, HIGHER), -end, end)
        high = -_edge(lambda at: refuted(-at, LOWER), -end, end)
        return (0.0 if low <= -end else float(np.exp(low)), np.inf if high >= end else float(np.exp(high)))

    def to_json(self) -> dict[str, Any]:
        """Return the counts; with the constructor's arguments they are the whole state."""
        return {"shares": self._shares, "new": self._new.tolist(), "old": self._old.tolist()}

    def restore(self, state: dict[str, Any]) -> Self:
        """Take over counts that `to_json` gave."""
        self._shares = list(state["shares"])
        self._new, self._old = (np.asarray(state[key], dtype=np.float64) for key in ("new", "old"))
        return self


def _edge(refuted: Any, low: float, high: float) -> float:
    """Return where `refuted` ends to hold, from `low` on upwards; `low` where it never did."""
    if not refuted(low):
        return low
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
