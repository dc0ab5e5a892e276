"""Which trial comes next, without Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from cluster.errors import ConfigError, UnknownNameError
from training.core.space import Choice, Real, Whole
from tuning.goal import Bound, Goal
from tuning.proposer import Family, Proposal, Proposer, Start
from tuning.records import TrialRecord, TrialStatus

FAMILIES: Mapping[str, Family] = {
    "plain": Family(space={}, fixed={"season": 24}, defaults={}),
    "smooth": Family(space={"x": Real(-4.0, 4.0), "sizes": Choice(((1, 2), (3,)))}, fixed={}, defaults={"x": 3.0}),
    "whole": Family(space={"k": Whole(1, 50)}, fixed={"seed": 7}, defaults={"k": 40}),
}


def proposer(
    *,
    seed: int = 0,
    ended: Sequence[TrialRecord] = (),
    starts: Sequence[Start] = (),
    families: tuple[str, ...] = (),
) -> Proposer:
    chosen = {name: FAMILIES[name] for name in families or FAMILIES}
    return Proposer(chosen, search="random", seed=seed, ended=ended, starts=starts)


def ended(proposal: Proposal, score: float | None, status: TrialStatus = TrialStatus.FINISHED) -> TrialRecord:
    return TrialRecord(
        number=proposal.number,
        model=proposal.model,
        params=proposal.params,
        draw=proposal.draw,
        status=status,
        score=score,
        metrics={} if score is None else {"wape": score},
        ended_at_s=float(proposal.number),
    )


def search(asked: Proposer, trials: int) -> list[TrialRecord]:
    records: list[TrialRecord] = []
    while len(records) < trials and (proposal := asked.propose()) is not None:
        records.append(ended(proposal, 30.0))
        asked.tell(records[-1])
    return records


def test_each_family_starts_with_its_defaults() -> None:
    asked = proposer()
    plain, smooth, whole = (proposal for _ in range(3) if (proposal := asked.propose()))
    assert [(each.number, each.model) for each in (plain, smooth, whole)] == [
        (0, "plain"),
        (1, "smooth"),
        (2, "whole"),
    ]
    assert plain.params == {"season": 24}
    assert smooth.params["x"] == 3.0
    assert smooth.params["sizes"] in ((1, 2), (3,))
    assert whole.params == {"seed": 7, "k": 40}


def test_what_worked_elsewhere_comes_after_the_defaults() -> None:
    asked = proposer(starts=[Start(model="whole", draw={"k": 13})])
    models = [proposal.params.get("k") for _ in range(4) if (proposal := asked.propose())]
    assert models == [None, None, 40, 13]


def test_plain_models_run_once_and_what_runs_is_not_proposed_again() -> None:
    asked = proposer()
    proposals = [proposal for _ in range(40) if (proposal := asked.propose())]
    assert Counter(each.model for each in proposals)["plain"] == 1
    points = [(each.model, str(each.draw)) for each in proposals]
    assert len(set(points)) == len(points) == 40


def test_a_search_without_spaces_has_one_trial_a_model() -> None:
    asked = proposer(families=("plain",))
    assert [record.model for record in search(asked, 9)] == ["plain"]
    assert asked.exhausted()


def test_the_seed_repeats_a_search() -> None:
    def draws(seed: int) -> list[object]:
        return [(each.model, each.draw) for each in search(proposer(seed=seed), 15)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_a_search_that_goes_on_repeats_no_number_and_no_point() -> None:
    whole = search(proposer(), 6)
    killed = [whole[0], whole[1], whole[2], whole[4]]
    rest = search(proposer(ended=killed), 4)
    assert [record.number for record in rest] == [3, 5, 6, 7]
    points = [(record.model, str(record.draw)) for record in killed + rest]
    assert len(points) == len(set(points))


def test_a_search_that_goes_on_proposes_as_if_it_had_never_stopped() -> None:
    whole = search(proposer(), 12)
    rest = search(proposer(ended=whole[:7]), 5)
    assert [record.draw for record in rest] == [record.draw for record in whole[7:]]


def test_failed_stopped_and_bounded_trials_are_told() -> None:
    goal = Goal(bounds=(Bound(metric="cpu_s", at_most=1.0),))
    asked = Proposer(FAMILIES, goal=goal, search="random", seed=0)
    proposals = [proposal for _ in range(4) if (proposal := asked.propose())]
    records = [
        ended(proposals[0], None, TrialStatus.FAILED),
        ended(proposals[1], None, TrialStatus.STOPPED),
        TrialRecord(**{**vars(ended(proposals[2], None, TrialStatus.STOPPED)), "curve": ((1, 0.5),)}),
        TrialRecord(**{**vars(ended(proposals[3], 0.1)), "metrics": {"wape": 0.1, "cpu_s": 2.0}}),
    ]
    for record in records:
        asked.tell(record)
    assert asked.propose() == Proposer(FAMILIES, goal=goal, search="random", seed=0, ended=records).propose()


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ConfigError, match="a search space is empty: got no families"):
        Proposer({}, search="random", seed=0)
    with pytest.raises(UnknownNameError, match="unknown search 'tpf'"):
        Proposer(FAMILIES, search="tpf", seed=0)
