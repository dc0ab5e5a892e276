"""Which trial comes next, without Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from training.core.space import Choice, Real, Whole
from tuning.proposer import Family, Proposal, Proposer
from tuning.records import TrialRecord, TrialStatus

FAMILIES: Mapping[str, Family] = {
    "plain": Family(space={}, fixed={"season": 24}, defaults={}),
    "smooth": Family(space={"x": Real(-4.0, 4.0), "sizes": Choice(((1, 2), (3,)))}, fixed={}, defaults={"x": 3.0}),
    "whole": Family(space={"k": Whole(1, 50)}, fixed={"seed": 7}, defaults={"k": 40}),
}


def _ended(proposal: Proposal, score: float | None, status: TrialStatus = TrialStatus.FINISHED) -> TrialRecord:
    return TrialRecord(
        number=proposal.number,
        model=proposal.model,
        params=proposal.params,
        draw=proposal.draw,
        status=status,
        score=score,
    )


def _score(proposal: Proposal) -> float:
    if proposal.model == "smooth":
        return float(proposal.params["x"] - 1.0) ** 2
    return 30.0


def _search(proposer: Proposer) -> list[TrialRecord]:
    records = []
    while (proposal := proposer.propose()) is not None:
        records.append(_ended(proposal, _score(proposal)))
        proposer.tell(records[-1])
    return records


def test_each_family_starts_with_its_defaults() -> None:
    proposer = Proposer(FAMILIES, trials=6, seed=0)
    plain, smooth, whole = (proposal for _ in range(3) if (proposal := proposer.propose()))
    assert [(each.number, each.model) for each in (plain, smooth, whole)] == [
        (0, "plain"),
        (1, "smooth"),
        (2, "whole"),
    ]
    assert plain.params == {"season": 24}
    assert smooth.params["x"] == 3.0
    assert smooth.params["sizes"] in ((1, 2), (3,))
    assert whole.params == {"seed": 7, "k": 40}


def test_the_search_ends_after_its_trials_and_plain_models_run_once() -> None:
    records = _search(Proposer(FAMILIES, trials=12, seed=0))
    assert [record.number for record in records] == list(range(12))
    assert Counter(record.model for record in records)["plain"] == 1


def test_a_search_without_spaces_has_one_trial_a_model() -> None:
    records = _search(Proposer({"plain": FAMILIES["plain"]}, trials=9, seed=0))
    assert [record.model for record in records] == ["plain"]


def test_the_seed_repeats_a_search() -> None:
    def draws(seed: int) -> list[object]:
        return [(each.model, each.draw) for each in _search(Proposer(FAMILIES, trials=15, seed=seed))]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_the_search_learns_where_the_good_ones_are() -> None:
    records = _search(Proposer(FAMILIES, trials=50, seed=0))
    late = [record for record in records[25:] if record.model == "smooth"]
    assert len(late) > 15
    assert min(record.score for record in records if record.score is not None) < 0.05


def test_a_search_that_goes_on_repeats_no_number_and_no_point() -> None:
    all_of_it = _search(Proposer(FAMILIES, trials=6, seed=0))
    killed = [all_of_it[0], all_of_it[1], all_of_it[2], all_of_it[4]]
    rest = _search(Proposer(FAMILIES, trials=8, seed=0, ended=killed))
    assert [record.number for record in rest] == [3, 5, 6, 7]
    draws = [str(record.draw) for record in killed + rest if record.draw]
    assert len(draws) == len(set(draws))


def test_failed_and_stopped_trials_are_told_and_remembered() -> None:
    proposer = Proposer(FAMILIES, trials=8, seed=0)
    records = []
    for status in (TrialStatus.FINISHED, TrialStatus.FAILED, TrialStatus.STOPPED):
        proposal = proposer.propose()
        assert proposal is not None
        records.append(_ended(proposal, 1.0 if status is TrialStatus.FINISHED else None, status))
        proposer.tell(records[-1])
    again = Proposer(FAMILIES, trials=8, seed=0, ended=records)
    assert [record.number for record in _search(again)] == [3, 4, 5, 6, 7]


def test_a_search_that_goes_on_with_fewer_trials_counts_those_beyond() -> None:
    all_of_it = _search(Proposer(FAMILIES, trials=9, seed=0))
    rest = _search(Proposer(FAMILIES, trials=5, seed=0, ended=[all_of_it[0], all_of_it[7], all_of_it[8]]))
    assert [record.number for record in rest] == [1, 2]
