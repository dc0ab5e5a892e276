"""The race says what to fit next: portfolio first, on as many folds as time allows, the far behind dropped."""

from __future__ import annotations

from tuning.automl.candidate import Candidate
from tuning.automl.race import TELLING_ROWS, Race
from tuning.automl.trial import Assigned


def named(label: str, family: str = "linear") -> Candidate:
    return Candidate(label=label, family=family)


def race_of(*labels: str, budget_s: float = 100.0, rows: int = 800, ordered: bool = False) -> Race:
    def propose(number: int) -> Candidate | None:
        return named(f"proposed-{number}")

    openings = (tuple(range(6)), tuple(range(3)), (0,))
    portfolio = [named(label) for label in labels]
    return Race(portfolio, propose, openings=openings, rows=rows, budget_s=budget_s, ordered=ordered)


def drive(race: Race, *, took_s: float, scores: dict[str, float], until_s: float) -> list[Assigned]:
    """Do what the race says, every fit taking as long, until it says nothing or time is up."""
    done, elapsed_s = [], 0.0
    while elapsed_s < until_s and (assigned := race.next(elapsed_s)):
        elapsed_s += took_s
        race.tell(assigned, score=scores.get(assigned.candidate.label, 1.0), took_s=took_s)
        done.append(assigned)
    return done


def test_quick_candidates_do_every_fold_one_after_the_other() -> None:
    race = race_of("a", "b")
    done = drive(race, took_s=0.1, scores={}, until_s=1.15)
    assert [(each.candidate.label, each.fold) for each in done] == [
        (label, fold) for label in "ab" for fold in range(6)
    ]
    assert race.deep


def test_the_first_fit_is_not_taken_for_the_usual_one() -> None:
    race = race_of("a")
    first = race.next(0.0)
    assert first is not None
    race.tell(first, score=1.0, took_s=5.0)  # loading a library
    second = race.next(5.0)
    assert second is not None
    assert (second.candidate.label, second.fold) == ("a", 1)
    race.tell(second, score=1.0, took_s=0.2)
    assert race.opening == tuple(range(6))


def test_slower_candidates_do_fewer_folds() -> None:
    three = race_of("a")
    drive(three, took_s=3.0, scores={}, until_s=7)
    assert three.opening == (0, 1, 2)
    one = race_of("a", "b")
    done = drive(one, took_s=14.0, scores={}, until_s=45)
    assert one.opening == (0,)
    assert [each.candidate.label for each in done] == ["a", "a", "b"]


def test_a_candidate_far_behind_is_dropped_after_a_fold() -> None:
    race = race_of("a", "bad", "b")
    done = drive(race, took_s=0.1, scores={"bad": 1.3}, until_s=1.25)
    assert [each.candidate.label for each in done].count("bad") == 1
    assert race.courses[1].dropped


def test_proposals_follow_and_their_number_is_bounded_by_the_rows() -> None:
    race = race_of("a", rows=6 * TELLING_ROWS)
    done = drive(race, took_s=0.01, scores={}, until_s=90)
    proposed = {each.candidate.label for each in done} - {"a"}
    assert len(proposed) == 6
    assert race.next(1.0) is None


def test_time_is_left_for_winners_that_are_fitted_once_more() -> None:
    deep, slow, ordered = race_of("a", "b"), race_of("a", "b"), race_of("a", "b", ordered=True)
    drive(deep, took_s=0.1, scores={}, until_s=2)
    assert deep.until_s == 92.0
    drive(slow, took_s=4.5, scores={}, until_s=12)
    assert slow.opening == (0,)
    assert slow.until_s < deep.until_s
    drive(ordered, took_s=0.5, scores={}, until_s=3)
    assert ordered.deep
    assert ordered.until_s < 92.0


def test_nothing_begins_when_time_is_up_but_the_very_first() -> None:
    race = race_of("a")
    assert race.next(1000.0) is not None
    assert race.next(1000.0) is None


def test_families_that_take_too_long_are_passed_over() -> None:
    race = Race(
        [named("a"), named("slow", "kernel"), named("slower", "kernel"), named("b")],
        lambda number: None,
        openings=((0,),),
        rows=100,
        budget_s=20.0,
    )
    for label, took_s in (("a", 0.1), ("slow", 4.5)):
        assigned = race.next(0.0)
        assert assigned is not None
        assert assigned.candidate.label == label
        race.tell(assigned, score=1.0, took_s=took_s)
    after = race.next(1.0)
    assert after is not None
    assert after.candidate.label == "b"


def test_a_failed_candidate_is_left_and_the_others_go_on() -> None:
    race = race_of("a", "b")
    first = race.next(0.0)
    assert first is not None
    race.fail(first, "no memory")
    following = race.next(0.1)
    assert following is not None
    assert following.candidate.label == "b"
    assert race.courses[0].error == "no memory"
