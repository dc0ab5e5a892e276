"""What is still fitted once the blend is known: the winners on the other folds, or on all rows, as time allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuning.automl.candidate import Candidate
from tuning.automl.trial import ALL_ROWS, Assigned

MARGIN = 1.15
"""A fit may take so much longer than the one it is judged by."""


@dataclass(frozen=True, kw_only=True)
class Closing:
    """A winner, and what it has.

    Parameters
    ----------
    number, candidate
        Which.
    done
        Folds that it is fitted on.
    fold_s, fold_rows
        Seconds and rows of the longest of these fits.
    stage
        Rounds that a staged family stops at on all rows, where no held-out rows say when; 0 for others.
    """

    number: int
    candidate: Candidate
    done: tuple[int, ...]
    fold_s: float
    fold_rows: int
    stage: int

    def cost_s(self, rows: int) -> float:
        """Return the seconds of a fit on so many rows."""
        return self.fold_s * rows / self.fold_rows * MARGIN

    def on_all(self, rows: int) -> Assigned:
        """Return the fit on all rows."""
        return Assigned(
            number=self.number,
            candidate=self.candidate,
            fold=ALL_ROWS,
            limit_s=2 * self.cost_s(rows),
            stage=self.stage,
        )

    def on_fold(self, fold: int) -> Assigned:
        """Return the fit on another fold."""
        return Assigned(
            number=self.number,
            candidate=self.candidate,
            fold=fold,
            limit_s=2 * self.cost_s(self.fold_rows),
            stage=self.stage,
        )


def plan_closing(
    winners: Sequence[Closing], *, folds: int, ordered: bool, rows: int, left_s: float
) -> list[Assigned]:
    """Return the fits that the time allows, the most useful first.

    Every winner, the weightiest first, is fitted on all rows; with time to spare, on every fold in place of that,
    since the mean of such a bag errs less than one fit. Rows in time have no bags: the newest rows count.

    Parameters
    ----------
    winners
        The weightiest first.
    folds
        How many make a bag.
    rows
        In all.
    left_s
        Seconds.
    """
    plan: list[Assigned] = []
    lacking = [each for each in winners if ordered or len(each.done) < folds]
    for at, winner in enumerate(lacking):
        later_s = sum(each.cost_s(rows) for each in lacking[at + 1 :])
        missing = [fold for fold in range(folds) if fold not in winner.done]
        bag_s = len(missing) * winner.cost_s(winner.fold_rows)
        if not ordered and bag_s + later_s <= left_s:
            plan += [winner.on_fold(fold) for fold in missing]
            left_s -= bag_s
        elif winner.cost_s(rows) <= left_s:
            plan.append(winner.on_all(rows))
            left_s -= winner.cost_s(rows)
    return plan
