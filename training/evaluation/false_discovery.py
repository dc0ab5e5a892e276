"""Which of many p-values are discoveries, with a bounded share of false ones among them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from cluster.errors import DataError
from training.core.parameters import real
from training.core.windows import Floats
from training.evaluation.alarm_budget import Flags

GAMMA_TERMS = 20_000
"""Weights of an online sequence that are tabled; later ones are 0, which only lowers levels."""


def check_p_values(p_values: Floats) -> Floats:
    """Return p-values as floats; raise the DataError that names the first outside [0, 1]."""
    array = np.asarray(p_values, dtype=np.float64)
    bad = np.argwhere(~((array >= 0) & (array <= 1)))
    if len(bad):
        place = tuple(int(each) for each in bad[0])
        raise DataError.at("a p-value is none", row=place, got=array[place], expected="0 .. 1")
    return array


def benjamini_hochberg(p_values: Floats, q: float) -> Flags:
    """Return (S,) discoveries among (S,) p-values: on average at most the share `q` of them false.

    It holds for independent p-values, and for positively dependent ones.

    References
    ----------
    Benjamini and Hochberg (1995), Controlling the false discovery rate.
    """
    return joint_alarms(check_p_values(p_values)[:, None], np.array([q / max(len(p_values), 1)]))[:, 0]


def e_benjamini_hochberg(e_values: Floats, q: float) -> Flags:
    """Return (S,) discoveries among (S,) e-values: at most the share `q` false, whatever their dependence.

    References
    ----------
    Wang and Ramdas (2022), False discovery rate control with e-values.
    """
    count = len(e_values)
    order = np.argsort(-e_values, kind="stable")
    ranks = np.arange(1, count + 1)
    enough = np.flatnonzero(e_values[order] * ranks * q >= count)
    out = np.zeros(count, dtype=bool)
    if len(enough):
        out[order[: enough[-1] + 1]] = True
    return out


def e_values(p_values: Floats) -> Floats:
    """Return 1 / (2 sqrt p): e-values whose mean is at most 1 where p-values are uniform or larger."""
    with np.errstate(divide="ignore"):
        out: Floats = 0.5 / np.sqrt(p_values)
    return out


def joint_alarms(p_values: Floats, allowed: Floats) -> Flags:
    """Judge S series at each of N rows together: Benjamini-Hochberg whose first step is each series' own level.

    The k lowest p-values of a row alarm together where each is below k times what its series is allowed. While all
    is as usual this costs each series what its own level alone would cost, up to second order in `allowed`; where
    many series are strange at one time, weaker signs of it are believed. The false discovery rate of a row is the
    sum of `allowed`.

    Parameters
    ----------
    p_values
        (S, N).
    allowed
        (S,) or (1,) p-value below which a row of the series alone would alarm.

    Returns
    -------
    (S, N) alarms.
    """
    ratios = p_values / np.broadcast_to(allowed, len(p_values))[:, None]
    ordered = np.sort(ratios, axis=0)
    ranks = np.arange(1, len(p_values) + 1)[:, None]
    count = np.where(ordered <= ranks, ranks, 0).max(axis=0, initial=0)
    out: Flags = (ratios <= count) & (count > 0)
    return out


class OnlineDiscoveries(ABC):
    """Judges p-values one by one, for ever, with at most the share `q` of false discoveries so far.

    Parameters
    ----------
    q
        False discovery rate, in (0, 1).
    """

    def __init__(self, *, q: float = 0.05) -> None:
        self.q = real("q", q, low=0, high=1, above=True)
        self._step = 0

    @property
    @abstractmethod
    def level(self) -> float:
        """The next p-value is a discovery at or below this."""

    @abstractmethod
    def _learn(self, p_value: float, *, found: bool) -> None:
        """Take one judged p-value in."""

    def update(self, p_value: float) -> bool:
        """Return whether the next p-value is a discovery or not; a DataError changes nothing."""
        if not 0.0 <= p_value <= 1.0:
            raise DataError.at("a p-value is none", row=self._step, got=p_value, expected="0 .. 1")
        found = p_value <= self.level
        self._step += 1
        self._learn(p_value, found=found)
        return found


class Lord(OnlineDiscoveries):
    """LORD++: each discovery earns wealth that later tests spend.

    Parameters
    ----------
    q
        False discovery rate.

    References
    ----------
    Ramdas, Yang, Wainwright and Jordan (2017), Online control of the false discovery rate with decaying memory.
    Memory grows with discoveries, not with rows; of more than 1,000 the oldest, whose share is smallest, are let
    go, which only lowers the level.
    """

    MOST = 1_000

    def __init__(self, *, q: float = 0.05) -> None:
        super().__init__(q=q)
        self._first: int | None = None
        self._later: list[int] = []

    @property
    def level(self) -> float:
        """Return what the wealth allows."""
        start, now = 0.5 * self.q, self._step + 1
        level = gamma(now) * start
        if self._first is not None:
            level += (self.q - start) * gamma(now - self._first)
        return level + self.q * sum(gamma(now - found) for found in self._later)

    def _learn(self, p_value: float, *, found: bool) -> None:  # noqa: ARG002 - LORD asks only whether it was one
        if found and self._first is None:
            self._first = self._step
        elif found:
            self._later = [*self._later, self._step][-self.MOST :]


class Saffron(OnlineDiscoveries):
    """SAFFRON: as LORD, but p-values that are surely nothing cost nothing.

    Parameters
    ----------
    q
        False discovery rate.
    candidate
        p-values at or below this are candidates, in (0, 1).

    References
    ----------
    Ramdas, Zrnic, Wainwright and Jordan (2018), SAFFRON: an adaptive algorithm for online control of the false
    discovery rate. Of more than 1,000 discoveries the oldest are let go, which only lowers the level.
    """

    MOST = 1_000

    def __init__(self, *, q: float = 0.05, candidate: float = 0.5) -> None:
        super().__init__(q=q)
        self.candidate = real("candidate", candidate, low=0, high=0.99, above=True)
        self._idle = 0
        self._first: int | None = None
        self._later: list[int] = []

    @property
    def level(self) -> float:
        """Return what the wealth allows, never above `candidate`."""
        # idle counts what was no candidate: time that costs
        start = 0.5 * self.q
        level = start * gamma(self._idle + 1)
        if self._first is not None:
            level += (self.q - start) * gamma(self._idle - self._first + 1)
        level += self.q * sum(gamma(self._idle - found + 1) for found in self._later)
        return min(self.candidate, (1.0 - self.candidate) * level)

    def _learn(self, p_value: float, *, found: bool) -> None:
        self._idle += p_value > self.candidate
        if found and self._first is None:
            self._first = self._idle
        elif found:
            self._later = [*self._later, self._idle][-self.MOST :]


def _weights() -> Floats:
    steps = np.arange(1, GAMMA_TERMS + 1, dtype=np.float64)
    raw = np.log(np.maximum(steps, 2.0)) / (steps * np.exp(np.sqrt(np.log(steps))))
    out: Floats = raw / raw.sum()
    return out


_GAMMA = _weights()


def gamma(step: int) -> float:
    """Return the weight of test `step`, 1 or more: they sum to 1 and fall slowly."""
    if step > GAMMA_TERMS:
        return 0.0
    return float(_GAMMA[step - 1])
