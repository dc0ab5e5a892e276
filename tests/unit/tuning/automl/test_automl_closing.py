"""Winners are fitted on the other folds where there is time, else on all rows, else left as they are."""

from __future__ import annotations

from tuning.automl.candidate import Candidate
from tuning.automl.closing import MARGIN, Closing, plan_closing
from tuning.automl.trial import ALL_ROWS


def winner(number: int, done: tuple[int, ...] = (0,), fold_s: float = 1.0) -> Closing:
    candidate = Candidate(label=str(number), family="lightgbm")
    return Closing(number=number, candidate=candidate, done=done, fold_s=fold_s, fold_rows=800, stage=40)


def plan(*winners: Closing, left_s: float, ordered: bool = False) -> list[tuple[int, int]]:
    made = plan_closing(winners, folds=5, ordered=ordered, rows=1000, left_s=left_s)
    return [(each.number, each.fold) for each in made]


def test_with_time_every_winner_gets_its_bag() -> None:
    assert plan(winner(0), winner(1), left_s=20) == [(at, fold) for at in (0, 1) for fold in (1, 2, 3, 4)]


def test_with_less_the_weightiest_gets_a_bag_and_the_others_all_rows() -> None:
    assert plan(winner(0), winner(1), left_s=4 * MARGIN + 1.25 * MARGIN) == [
        *((0, fold) for fold in (1, 2, 3, 4)),
        (1, ALL_ROWS),
    ]


def test_with_little_all_rows_and_with_none_nothing() -> None:
    assert plan(winner(0), left_s=2) == [(0, ALL_ROWS)]
    assert plan(winner(0), left_s=1) == []


def test_a_bag_that_is_there_is_left_alone() -> None:
    assert plan(winner(0, done=(0, 1, 2, 3, 4)), left_s=20) == []


def test_rows_in_time_are_fitted_on_all_of_them() -> None:
    assert plan(winner(0, done=(0, 1, 2, 3, 4)), left_s=20, ordered=True) == [(0, ALL_ROWS)]


def test_the_rounds_travel_with_the_fit() -> None:
    (fit,) = plan_closing([winner(0)], folds=5, ordered=True, rows=1000, left_s=20)
    assert fit.stage == 40
