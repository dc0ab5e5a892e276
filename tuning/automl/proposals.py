"""Candidates that a search proposes once the portfolio is through: of the families that did best in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from training.core.families import joined, parted, whole_draw
from training.core.space import Draw, Space, starting_draw
from training.core.table import TableTask
from tuning.automl.candidate import Candidate, arguments, from_draw, kind_of, space_of
from tuning.automl.portfolio import sizes
from tuning.search.members import open_search
from tuning.search.outcome import Outcome
from tuning.search.policy import SearchPolicy

SEARCHED = 3
"""Families that are searched: more would each have too few trials in a run of seconds."""
Ranking = Callable[[], Sequence[tuple[Candidate, float]]]
"""Candidates that are through, the best first, with their scores."""


class Proposals:
    """Asks one search over the best families, each with its own conditional space.

    Parameters
    ----------
    task
        What is predicted.
    ranking
        What the portfolio has shown, asked at the first proposal: the search is told all of it.
    skewed
        Whether bending the target is worth a try.
    search
        Name of the searcher.
    rows
        That are learned from: sizes what it proposes.
    seed
        Of the search and of what it proposes.
    """

    def __init__(
        self, task: TableTask, ranking: Ranking, *, skewed: bool, search: str, rows: int, seed: int
    ) -> None:
        self._task = task
        self._ranking = ranking
        self._skewed = skewed
        self._name = search
        self._rows = rows
        self._seed = seed
        self._spaces: dict[str, Space] = {}
        self._policy: SearchPolicy | None = None
        self._pending: list[Draw] = []

    def propose(self, number: int) -> Candidate | None:
        """Return the next candidate; None where there is nothing to search."""
        policy = self._policy or self._opened()
        draw = policy.ask(self._pending) if policy else None
        if draw is None:
            return None
        self._pending.append(draw)
        family, own = parted(self._spaces, draw)
        fixed = sizes(family, self._rows)
        if "seed" in kind_of(self._task, family).parameter_names():
            fixed["seed"] = self._seed
        return from_draw(f"{family}-{number}", family, self._spaces[family], own, whole=draw, fixed=fixed)

    def tell(self, candidate: Candidate, score: float | None) -> None:
        """Learn what a proposed candidate scored; None where it failed."""
        if candidate.draw is not None and self._policy is not None and candidate.draw in self._pending:
            self._pending.remove(candidate.draw)
            self._policy.tell(candidate.draw, Outcome() if score is None else Outcome(values=(score,)))

    def _opened(self) -> SearchPolicy | None:
        known = self._ranking()
        families = list(dict.fromkeys(candidate.family for candidate, _ in known))
        spaces = {family: space_of(self._task, family, skewed=self._skewed) for family in families}
        self._spaces = {family: space for family, space in list(spaces.items())[:SEARCHED] if space}
        if not self._spaces:
            return None
        self._policy = open_search(self._name, joined(self._spaces), seed=self._seed)
        for candidate, score in known:
            if candidate.family in self._spaces:
                space = self._spaces[candidate.family]
                draw = starting_draw(space, arguments(self._task, candidate))
                if set(draw) != set(space):
                    continue  # a default such as "the root of all columns" is no point of the space
                self._policy.tell(whole_draw(self._spaces, candidate.family, draw), Outcome(values=(score,)))
        return self._policy
