"""Which trials go on: pure policies that hear every report and say at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import insort
from collections import defaultdict
from statistics import fmean, median

from training.core.parameters import one_of, whole

REDUCTION = 3
"""After as many reports the best third goes on, as the authors of successive halving advise (3 or 4)."""
LEAST_COMPARED = 3
"""A median of fewer trials says nothing."""


class StopPolicy(ABC):
    """Judges trials by their reports; a report is compared with those of the same group only.

    A group is a family of models where they report their own losses (an epoch of one is no boosting round of
    another), and all trials where they report folds.
    """

    @abstractmethod
    def stops(self, number: int, group: str, value: float) -> bool:
        """Hear a trial's next report, lower is better; say whether the trial is to stop."""


class NeverStop(StopPolicy):
    """Lets every trial run to its end."""

    def stops(self, number: int, group: str, value: float) -> bool:  # noqa: ARG002 - hears nothing
        """Say no."""
        return False


class SuccessiveHalving(StopPolicy):
    """Asynchronous successive halving: at each rung a trial goes on that is among the best 1/eta seen there.

    Parameters
    ----------
    grace_reports
        Reports that every trial may make: the first rung, 1 or more. The next ones are at eta times as many.
    reduction
        eta, 2 or more.

    References
    ----------
    Li et al. (2020), A System for Massively Parallel Hyperparameter Tuning. Ours stops where the paper pauses: a
    trial is judged when it comes to a rung, and never again.
    """

    def __init__(self, grace_reports: int = 5, reduction: int = REDUCTION) -> None:
        self._reduction = whole("reduction", reduction, low=2)
        self._rung = whole("grace_reports", grace_reports, low=1)
        self._heard: dict[int, int] = defaultdict(int)
        self._rungs: dict[tuple[str, int], list[float]] = defaultdict(list)

    def stops(self, number: int, group: str, value: float) -> bool:
        """Compare at rungs."""
        self._heard[number] += 1
        if not self._is_rung(self._heard[number]):
            return False
        seen = self._rungs[group, self._heard[number]]
        insort(seen, value)
        return value > seen[max(len(seen) // self._reduction, 1) - 1]

    def _is_rung(self, reports: int) -> bool:
        rung = self._rung
        while rung < reports:
            rung *= self._reduction
        return rung == reports


class MedianStopping(StopPolicy):
    """Stops a trial whose best report is worse than the median of the others' running means at that step.

    Parameters
    ----------
    grace_reports
        Reports that every trial may make.

    References
    ----------
    Golovin et al. (2017), Google Vizier: A Service for Black-Box Optimization.
    """

    def __init__(self, grace_reports: int = 5) -> None:
        self._grace = whole("grace_reports", grace_reports, low=1)
        self._curves: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))

    def stops(self, number: int, group: str, value: float) -> bool:
        """Compare after the grace."""
        curves = self._curves[group]
        curves[number].append(value)
        step = len(curves[number])
        means = [fmean(curve[:step]) for at, curve in curves.items() if at != number and len(curve) >= step]
        if step < self._grace or len(means) < LEAST_COMPARED:
            return False
        return min(curves[number]) > median(means)


STOPPING = ("halving", "median", "none")


def stop_policy(name: str, grace_reports: int) -> StopPolicy:
    """Return a policy by its name."""
    if one_of("stopping", name, STOPPING) == "none":
        return NeverStop()
    return SuccessiveHalving(grace_reports) if name == "halving" else MedianStopping(grace_reports)
