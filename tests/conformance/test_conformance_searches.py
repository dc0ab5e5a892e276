"""The exam that every searcher of the list sits: what the contract promises, tried."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from cluster.errors import ConfigError
from training.core.space import Choice, Draw, Real, Space, When, Whole, parameters
from tuning.search.members import SEARCHES, open_search
from tuning.search.outcome import Outcome
from tuning.search.policy import SearchPolicy

EVERY = pytest.mark.parametrize("search", list(SEARCHES))
BOX: Space = {"x": Real(-1.0, 2.0), "y": Real(-1.0, 2.0)}
MIXED: Space = {
    "rate": Real(1e-4, 1.0, log=True),
    "layers": Whole(1, 3),
    "wide": Whole(8, 512, log=True),
    "kind": Choice(("sgd", "adam", (1, 2))),
    "momentum": Real(0.0, 0.99, when=When("kind", ("sgd",))),
    "second": Whole(4, 64, when=When("layers", (2, 3))),
    "third": Choice((False, True), when=When("layers", (3,))),
}
SMALL: Space = {"a": Choice(("p", "q", "r")), "b": Whole(1, 4), "c": Choice((0, 1), when=When("a", ("q",)))}
SMALL_SIZE = 16
Value = Callable[[Draw], Outcome]


def bowl(draw: Draw) -> Outcome:
    return Outcome(values=((draw["x"] - 0.7) ** 2 + (draw["y"] + 0.2) ** 2,))


def mixed_cost(draw: Draw) -> Outcome:
    chosen = parameters(MIXED, draw)
    cost = abs(math.log10(chosen["rate"]) + 2) + 0.3 * (chosen["layers"] != 2) + abs(math.log2(chosen["wide"] / 64))
    return Outcome(values=(cost + {"sgd": chosen.get("momentum", 0.0), "adam": 0.2}.get(chosen["kind"], 0.6),))


def run(policy: SearchPolicy, cost: Value, trials: int) -> list[Draw]:
    """Ask and tell in turn; return the draws."""
    draws = []
    for _ in range(trials):
        draw = policy.ask()
        assert draw is not None
        policy.tell(draw, cost(draw))
        draws.append(draw)
    return draws


def best(policy: SearchPolicy) -> float:
    return min(each.outcome.values[0] for each in policy.observations if not each.outcome.failed)


def course(search: str) -> list[Draw]:
    """What is drawn with two trials at a time, some of which fail or are stopped."""
    policy = open_search(search, MIXED, seed=7)
    return steps(policy, [], 14)


def steps(policy: SearchPolicy, pending: list[Draw], count: int) -> list[Draw]:
    draws = []
    for _ in range(count):
        draw = policy.ask(pending)
        assert draw is not None
        draws.append(draw)
        pending.append(draw)
        if len(pending) == 3:
            ended = pending.pop(0)
            found = mixed_cost(ended)
            stopped = Outcome(values=found.values, stopped_at=3)
            policy.tell(ended, Outcome() if ended["layers"] == 1 else stopped if ended["wide"] > 100 else found)
    return draws


@EVERY
def test_mixed_and_conditional_parameters_are_within_their_bounds(search: str) -> None:
    policy = open_search(search, MIXED, seed=1)
    for draw in run(policy, mixed_cost, 16):
        assert json.loads(json.dumps(draw)) == draw
        policy.cube.encode(draw)  # refuses what is out of bounds, lacking or too much
        chosen = parameters(MIXED, draw)
        assert ("momentum" in chosen) == (chosen["kind"] == "sgd")
        assert ("second" in chosen, "third" in chosen) == (chosen["layers"] > 1, chosen["layers"] == 3)


@EVERY
def test_workers_beside_each_other_never_repeat_each_other(search: str) -> None:
    policy = open_search(search, BOX, seed=2)
    run(policy, bowl, 10)
    pending: list[Draw] = []
    for _ in range(6):
        draw = policy.ask(pending)
        assert draw is not None
        pending.append(draw)
    points = np.array([policy.cube.encode(draw) for draw in pending])
    apart = np.abs(points[:, None] - points[None]).max(axis=2)[np.triu_indices(6, 1)]
    assert apart.min() > 1e-3
    assert policy.ask(pending[:3]) != policy.ask(pending)


@EVERY
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_it_comes_near_the_best_point(search: str, noise: float) -> None:
    policy = open_search(search, BOX, seed=3)
    rng = np.random.default_rng(0)
    draws = run(policy, lambda draw: Outcome(values=(bowl(draw).values[0] + noise * rng.standard_normal(),)), 25)
    assert min(bowl(draw).values[0] for draw in draws) < 0.15
    if search == "random":
        return
    late = np.median([bowl(draw).values[0] for draw in draws[15:]])
    assert late < np.median([bowl(draw).values[0] for draw in draws[:8]])


@EVERY
def test_failures_and_early_stops_are_lived_with(search: str) -> None:
    policy = open_search(search, BOX, seed=4)
    run(policy, lambda _: Outcome(), 12)
    run(policy, lambda draw: Outcome() if draw["x"] > 0.5 else bowl(draw), 4)
    run(policy, lambda draw: Outcome(values=bowl(draw).values, stopped_at=2), 4)
    assert len(policy.observations) == 20
    assert best(policy) < math.inf


def test_another_process_with_the_same_seed_draws_the_same() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        theirs = list(pool.map(course, SEARCHES, timeout=120))
    mine = [course(search) for search in SEARCHES]
    assert theirs == mine
    assert all(
        steps(open_search(search, MIXED, seed=8), [], 3) != here[:3]
        for search, here in zip(SEARCHES, mine, strict=True)
    )


@EVERY
def test_a_restored_search_goes_on_as_if_it_had_not_stopped(search: str) -> None:
    through = open_search(search, MIXED, seed=9)
    pending: list[Draw] = []
    steps(through, pending, 15)
    state, left = json.loads(json.dumps(through.state())), list(pending)
    expected = steps(through, pending, 4)
    again = open_search(search, MIXED, seed=9)
    again.restore(state)
    assert steps(again, left, 4) == expected


@EVERY
def test_a_small_space_is_tried_once_each_and_then_ends(search: str) -> None:
    policy = open_search(search, SMALL, seed=5)
    draws = run(policy, lambda draw: Outcome(values=(float(sum(draw.values())),)), SMALL_SIZE)
    assert len({policy.cube.key(draw) for draw in draws}) == SMALL_SIZE
    assert policy.ask() is None


@EVERY
def test_several_objectives_and_constraints_are_traded(search: str) -> None:
    policy = open_search(search, BOX, seed=6)
    run(
        policy,
        lambda draw: Outcome(values=(draw["x"] ** 2, (draw["x"] - 1) ** 2 + draw["y"] ** 2), excess=(-draw["y"],)),
        16,
    )
    assert len(policy.observations) == 16
    with pytest.raises(ConfigError, match="1 values: expected 2"):
        policy.tell({"x": 0.0, "y": 0.0}, Outcome(values=(1.0,)))


@EVERY
def test_what_is_kept_does_not_outgrow_what_was_told(search: str) -> None:
    policy = open_search(search, BOX, seed=0)
    rng = np.random.default_rng(0)
    for _ in range(600):
        draw = policy.cube.decode(rng.random(2))
        policy.tell(draw, bowl(draw))
    before = len(json.dumps(policy.state()))
    for _ in range(2):
        assert policy.ask() is not None
    assert len(json.dumps(policy.state())) == before < 600 * 150


@EVERY
def test_the_callers_starts_come_first(search: str) -> None:
    start: Draw = {"x": 0.25, "y": -0.5}
    policy = open_search(search, BOX, seed=0, starts=[start])
    assert policy.ask() == start
    assert policy.ask([start]) != start


@EVERY
def test_a_point_of_another_space_is_refused(search: str) -> None:
    policy = open_search(search, BOX)
    with pytest.raises(ConfigError, match="'y' is missing"):
        policy.tell({"x": 0.0}, Outcome(values=(1.0,)))
    with pytest.raises(ConfigError, match="state is of another space"):
        policy.restore(open_search(search, MIXED).state())


@EVERY
def test_an_empty_space_and_unknown_options_are_refused(search: str) -> None:
    with pytest.raises(ConfigError, match="search space is empty"):
        open_search(search, {})
    with pytest.raises(ConfigError, match=f"search '{search}' has no option 'speed'"):
        open_search(search, BOX, speed=1)
