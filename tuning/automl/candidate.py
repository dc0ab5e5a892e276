"""A candidate: a family, its parameters, and how its inputs are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.core.space import Choice, Draw, Real, Space, Whole, parameters
from training.core.table import TableTask
from training.core.tabular import Classifier, Regressor, TabularTags
from training.tabular import CLASSIFIERS, REGRESSORS

INPUTS = "inputs."
"""Before the names of what is searched of a candidate's inputs, not of its family."""
BEND = "bend"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is fitted on each fold.

    Parameters
    ----------
    label
        In the leaderboard, each once a run.
    family
        Name in the catalog of regressors or classifiers.
    params
        Of the family.
    inputs
        Of its `TableEncoder`, without the view: that is the family's.
    bend
        Whether a regression's target is bent before it is learned.
    draw
        The point of the search that it is; None of the portfolio's.
    """

    label: str
    family: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    bend: bool = False
    draw: Draw | None = None


def kind_of(task: TableTask, family: str) -> type[Regressor] | type[Classifier]:
    """Return the family's class for a task."""
    return CLASSIFIERS.load(family) if task == "classification" else REGRESSORS.load(family)


def view_of(task: TableTask, family: str) -> str:
    """Return how the family wants its inputs."""
    tags = kind_of(task, family).tags
    return tags.view if isinstance(tags, TabularTags) else "plain"


def space_of(task: TableTask, family: str, *, skewed: bool) -> Space:
    """Return what is searched of a family: its parameters, its inputs, and whether a skewed target is bent."""
    space: Space = dict(kind_of(task, family).search_space())
    view = view_of(task, family)
    if view == "robust":
        space[f"{INPUTS}relevance"] = Real(0.0, 1.0)
    if family == "linear":
        space[f"{INPUTS}products"] = Whole(0, 24)
    if skewed:
        space[BEND] = Choice((False, True))
    return space


def from_draw(
    label: str, family: str, space: Space, draw: Draw, *, whole: Draw, fixed: Mapping[str, Any]
) -> Candidate:
    """Return the candidate that a family's draw stands for.

    Parameters
    ----------
    whole
        Its point in the joined space.
    fixed
        Parameters that are not searched.
    """
    found = parameters(space, draw)
    inputs = {name.removeprefix(INPUTS): value for name, value in found.items() if name.startswith(INPUTS)}
    params = {name: value for name, value in found.items() if not name.startswith(INPUTS) and name != BEND}
    return Candidate(
        label=label,
        family=family,
        params={**params, **fixed},
        inputs=inputs,
        bend=bool(found.get(BEND, False)),
        draw=whole,
    )


def arguments(task: TableTask, candidate: Candidate) -> dict[str, Any]:
    """Return all that a search may have chosen of a candidate: what it was given, else the defaults."""
    params = kind_of(task, candidate.family)(**candidate.params).params()
    inputs = {"relevance": 0.0, "products": 0} | dict(candidate.inputs)
    return params | {f"{INPUTS}{name}": value for name, value in inputs.items()} | {BEND: candidate.bend}
