"""Population-based training: who moves, to whom, with which parameters; and a search that moves trials."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.errors import ConfigError
from training.core.space import Choice, Draw, Real, Space, Whole
from tuning.folds import FoldsSpec
from tuning.population import FACTORS, LEAST, Move, Population
from tuning.proposer import Proposal
from tuning.study_spec import StudySpec

SPACE: Space = {
    "learning_rate": Real(1e-4, 1.0, log=True),
    "dropout": Real(0.0, 0.5),
    "stride": Whole(1, 8),
    "hidden": Choice((8, 16)),
}
CHANGING = ("learning_rate", "dropout", "stride")


def proposal(number: int, **draw: float) -> Proposal:
    chosen: Draw = {"learning_rate": 0.01 * (number + 1), "dropout": 0.0, "stride": 4, "hidden": number % 2, **draw}
    return Proposal(number=number, model="m", params={}, draw=chosen)


def moves(population: Population, values: list[float], reports: int) -> dict[int, Move]:
    """Let each trial report the same value again and again; return the moves of the last round."""
    found: dict[int, Move] = {}
    for _ in range(reports):
        found = {
            number: move
            for number, value in enumerate(values)
            if (move := population.hear(proposal(number), value)) is not None
        }
    return found


def test_the_worst_quarter_goes_on_from_the_best_with_parameters_near_its_own() -> None:
    found = moves(Population({"m": SPACE}, CHANGING, interval=2), [0.4, 0.1, 0.3, 0.9], reports=2)
    assert set(found) == {3}
    move = found[3]
    assert move.donor == 1
    assert move.draw["hidden"] == 1  # its size is the donor's
    assert move.draw["learning_rate"] in [pytest.approx(0.02 * factor) for factor in FACTORS]
    assert move.draw["dropout"] == pytest.approx(0.005)  # from 0 by a hundredth of the range
    assert move.draw["stride"] in (3, 5)


def test_nobody_moves_between_two_looks_or_in_a_small_family() -> None:
    assert moves(Population({"m": SPACE}, CHANGING, interval=2), [0.4, 0.1, 0.3, 0.9], reports=3) == {}
    few = [0.1 * at for at in range(LEAST - 1)]
    assert moves(Population({"m": SPACE}, CHANGING, interval=1), few, reports=3) == {}


def test_who_has_ended_gives_nothing() -> None:
    population = Population({"m": SPACE}, CHANGING, interval=1)
    moves(population, [0.4, 0.1, 0.3, 0.5, 0.9], reports=1)
    population.leave(1)
    move = population.hear(proposal(4), 0.9)
    assert move is not None
    assert move.donor == 2


def test_changes_stay_within_the_space() -> None:
    population = Population({"m": SPACE}, CHANGING, interval=1)
    for number, value in enumerate((0.1, 0.3, 0.4)):
        population.hear(proposal(number, learning_rate=1.0, stride=8), value)
    seen = [population.hear(proposal(3), 0.9) for _ in range(20)]
    rates = {move.draw["learning_rate"] for move in seen if move is not None}
    assert rates == {0.8, 1.0}


@pytest.mark.parametrize("changing", [(), ("depth",)])
def test_what_cannot_change_is_refused(changing: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"parameters that change in training: got .* expected some of dropout"):
        Population({"m": SPACE}, changing)


def test_a_study_names_its_population() -> None:
    same: dict[str, Any] = {"name": "s", "models": ({"name": "lstm"},), "horizon": 4, "stopping": "population"}
    assert StudySpec(**same).population() is not None
    assert StudySpec(**same | {"stopping": "halving"}).population() is None
    with pytest.raises(ConfigError, match="population-based training: got 3 folds, expected 1"):
        StudySpec(**same, folds=FoldsSpec(count=3))
