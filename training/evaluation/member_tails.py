"""Scores of several detectors as calibrated tail probabilities, averaged on that scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cluster.errors import HeliotropeError
from training.core.component import State
from training.core.windows import Floats
from training.evaluation.alarm_budget import Budget
from training.evaluation.peaks_threshold import PeaksThreshold

MOST_NATS = 40.0
"""A member's surprise ends here, a chance of 4e-18: no tail that was ever fitted can tell smaller ones apart."""


@dataclass(frozen=True, kw_only=True)
class MemberTails:
    """One fitted tail a detector.

    A rank among scores seen before cannot say how much rarer than all of them a new one is, and a level for one
    alarm a month from some days of scores lies beyond all of them. The tail's law can: peaks above a high base
    follow a generalised Pareto law, each detector's its own.

    Parameters
    ----------
    tails
        Member -> its tail; those that cannot be calibrated are left out.
    silent
        Member -> why it is left out.
    weights
        (M,) of the tails' members, with the sum 1.

    References
    ----------
    Kriegel et al. (2011), Interpreting and Unifying Outlier Scores, for one scale; Fisher (1925), the sum of the
    logarithms of probabilities; Siffer et al. (2017) for the tails. Ours puts the three together, weighted.
    """

    tails: Mapping[str, PeaksThreshold]
    silent: Mapping[str, str]
    weights: Floats

    @classmethod
    def fit(cls, names: Sequence[str], scores: Floats, weights: Floats, budget: Budget) -> Self:
        """Learn each member's tail.

        Parameters
        ----------
        names
            (M,) members.
        scores
            (M, R) of rows that they were not fitted on, in order of time; NaN where a row has none.
        weights
            (M,) 0 or more.
        budget
            Says what one event is.

        Raises
        ------
        DataError, InsufficientHistoryError
            No member can be calibrated: the first one's fault.
        """
        tails: dict[str, PeaksThreshold] = {}
        faults: dict[str, HeliotropeError] = {}
        for name, each in zip(names, scores, strict=True):
            try:
                tails[name] = PeaksThreshold().fit(each[np.isfinite(each)], budget)
            except HeliotropeError as error:
                faults[name] = error
        if not tails:
            raise next(iter(faults.values()))
        kept = np.array([float(weights[at]) for at, name in enumerate(names) if name in tails])
        kept = kept if kept.sum() > 0 else np.ones(len(kept))
        silent = {name: error.message for name, error in faults.items()}
        return cls(tails=tails, silent=silent, weights=kept / kept.sum())

    def state(self) -> State:
        """Return what was learned."""
        tails = {name: tail.state() for name, tail in self.tails.items()}
        return {"tails": tails, "silent": dict(self.silent), "weights": self.weights}

    @classmethod
    def restored(cls, state: State) -> Self:
        """Rebuild what `state` gave."""
        tails = {name: PeaksThreshold() for name in state["tails"]}
        for name, tail in tails.items():
            tail.restore(state["tails"][name])
        return cls(tails=tails, silent=state["silent"], weights=np.asarray(state["weights"]))

    def surprises(self, names: Sequence[str], scores: Floats) -> dict[str, Floats]:
        """Return member -> (R,) minus the logarithm of the chance of so high a score at a usual row.

        Parameters
        ----------
        names, scores
            As at `fit`.
        """
        told = {}
        for name, each in zip(names, scores, strict=True):
            if name in self.tails:
                known = np.isfinite(each)
                told[name] = np.full(len(each), np.nan)
                chances = self.tails[name].p_values(each[known])
                told[name][known] = np.minimum(-np.log(np.maximum(chances, 1e-300)), MOST_NATS)
        return told

    def mean(self, surprises: Mapping[str, Floats]) -> Floats:
        """Return (R,) the weighted mean of the members that have one for the row; NaN where none has."""
        table = np.stack([surprises[name] for name in self.tails])
        heard = np.where(np.isnan(table), 0.0, self.weights[:, None])
        total = heard.sum(axis=0)
        summed = (np.nan_to_num(table) * heard).sum(axis=0)
        out: Floats = np.divide(summed, total, out=np.full(table.shape[1], np.nan), where=total > 0)
        return out
