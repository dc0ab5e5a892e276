"""What a search makes of outcomes: trade-offs, constraints, early stops and failures as one number each."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.errors import ConfigError
from tuning.search.outcome import Outcome, merits


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_one_objective_is_taken_as_it_is() -> None:
    found = merits([Outcome(values=(3.0,)), Outcome(values=(-1.0,))], rng())
    assert found is not None
    assert found.tolist() == [3.0, -1.0]


def test_nothing_is_known_before_a_trial_has_finished() -> None:
    assert merits([], rng()) is None
    assert merits([Outcome(), Outcome(values=(1.0,), stopped_at=3)], rng()) is None


def test_a_stopped_trial_is_of_the_worse_half_and_a_failed_one_is_the_worst() -> None:
    finished = [Outcome(values=(float(value),)) for value in range(5)]
    found = merits([*finished, Outcome(values=(0.0,), stopped_at=2), Outcome()], rng())
    assert found is not None
    assert found[5:].tolist() == [3.0, 4.0]


def test_what_keeps_the_constraints_is_better_than_what_does_not() -> None:
    found = merits(
        [
            Outcome(values=(5.0,), excess=(-1.0,)),
            Outcome(values=(7.0,), excess=(0.0,)),
            Outcome(values=(0.0,), excess=(0.1,)),
            Outcome(values=(0.0,), excess=(2.0,)),
        ],
        rng(),
    )
    assert found is not None
    assert found[0] < found[1] < found[2] < found[3]
    only = merits([Outcome(values=(1.0,), excess=(2.0,)), Outcome(values=(9.0,), excess=(1.0,))], rng())
    assert only is not None
    assert only[1] < only[0]


def test_weights_of_several_objectives_change_and_never_prefer_what_is_dominated() -> None:
    outcomes = [Outcome(values=values) for values in ((0.0, 1000.0), (1.0, 0.0), (0.4, 400.0), (1.1, 1100.0))]
    random = rng()
    found = [merits(outcomes, random) for _ in range(40)]
    best = {int(np.argmin(each)) for each in found if each is not None}
    assert best == {0, 1, 2}


def test_outcomes_survive_json() -> None:
    for outcome in (Outcome(), Outcome(values=(1.0, 2.0), excess=(-1.0,)), Outcome(values=(1.0,), stopped_at=3)):
        assert Outcome.from_json(outcome.to_json()) == outcome
    assert (Outcome().failed, Outcome(values=(1.0,)).finished, Outcome(values=(1.0,), excess=(1.0,)).feasible) == (
        True,
        True,
        False,
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"a trial without them has failed: Outcome\(\)"):
        Outcome(values=(value,))
