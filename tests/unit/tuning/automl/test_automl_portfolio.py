"""The portfolio: strong and different defaults, sized to the rows, each buildable; proposals are sized alike."""

from __future__ import annotations

import pytest

from training.core.families import joined, whole_draw
from training.core.space import starting_draw
from training.core.table import TableTask
from training.tabular.ensemble import make
from tuning.automl.candidate import Candidate, arguments, from_draw, kind_of, space_of
from tuning.automl.portfolio import KERNEL_WORK, LARGE_ROWS, NEAREST_ROWS, portfolio, sizes
from tuning.automl.proposals import Proposals

TASKS: tuple[TableTask, ...] = ("regression", "classification")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("rows", [50, 1000, LARGE_ROWS, 100_000])
def test_every_candidate_is_buildable_and_each_label_once(task: TableTask, rows: int) -> None:
    made = portfolio(task, rows, skewed=task == "regression", seed=3)
    labels = [each.label for each in made]
    assert len(set(labels)) == len(labels) > 8
    assert len({each.family for each in made[:6]}) >= 4, "the first candidates are alike"
    for each in made:
        model = make(task, each.family, each.params)
        assert model.params().get("seed", 3) == 3
        draw = starting_draw(space_of(task, each.family, skewed=True), arguments(task, each))
        missing = set(space_of(task, each.family, skewed=True)) - set(draw)
        assert missing <= {"column_share"}, "the search is told a part of it"


def test_fits_that_nothing_ends_stay_small() -> None:
    for rows in (100, 10_000, 1_000_000):
        assert sizes("kernel", rows)["landmarks"] ** 2 * rows <= KERNEL_WORK * 1.01 or rows == 1_000_000
        assert sizes("kernel", rows)["landmarks"] <= rows
    assert "nearest" not in {
        each.family for each in portfolio("regression", NEAREST_ROWS + 1, skewed=False, seed=0)
    }
    assert sizes("lightgbm", 100) == {}


def test_a_draw_becomes_what_it_says() -> None:
    space = space_of("regression", "kernel", skewed=True)
    draw = {"length": 2.0, "shape": 1, "inputs.relevance": 0.5, "bend": 1}
    whole = whole_draw({"kernel": space}, "kernel", draw)
    made = from_draw("kernel-7", "kernel", space, draw, whole=whole, fixed={"landmarks": 30})
    assert made.params == {"length": 2.0, "shape": "laplace", "landmarks": 30}
    assert made.inputs == {"relevance": 0.5}
    assert made.bend


def test_proposals_are_of_the_best_families_and_told_what_the_portfolio_showed() -> None:
    shown = [
        (Candidate(label=family, family=family), score)
        for family, score in (("kernel", 0.1), ("lightgbm", 0.2), ("forest", 0.3), ("xgboost", 0.4))
    ]
    proposals = Proposals("regression", lambda: shown, skewed=False, search="random", rows=500, seed=1)
    made = [proposals.propose(number) for number in range(12)]
    families = {each.family for each in made if each}
    assert families <= {"kernel", "lightgbm", "forest"}
    assert len(families) > 1
    for each in made:
        assert each is not None
        assert each.params.get("seed") == 1
        proposals.tell(each, 0.5)
    assert all(kind_of("regression", each.family)(**each.params) for each in made if each)


def test_where_no_family_has_a_space_there_is_nothing_to_propose() -> None:
    proposals = Proposals("regression", list, skewed=False, search="random", rows=500, seed=1)
    assert proposals.propose(0) is None
    assert joined({"linear": space_of("regression", "linear", skewed=False)})
