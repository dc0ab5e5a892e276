"""Which trial comes next: the families of a study as one conditional space, and a searcher over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.errors import ConfigError
from training.core.families import joined, parted, whole_draw
from training.core.space import Draw, Space, parameters, starting_draw
from tuning.goal import Goal
from tuning.records import TrialRecord, TrialStatus
from tuning.search.members import open_search
from tuning.search.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Family:
    """A model in a search.

    Parameters
    ----------
    space
        What is searched.
    fixed
        Arguments that stay.
    defaults
        Arguments of the first trial, where the space has them.
    """

    space: Space
    fixed: Mapping[str, Any]
    defaults: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Start:
    """A point worth trying early: a family, and a draw of its space."""

    model: str
    draw: Draw


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A trial to run.

    Parameters
    ----------
    number
        From 0, each once a study.
    model
        Catalog name.
    params
        Arguments.
    draw
        What the searcher chose.
    """

    number: int
    model: str
    params: dict[str, Any]
    draw: Draw


class Proposer:
    """Asks a searcher, and tells it what came out; what runs at the moment is pending, and is not proposed again.

    First come the families' defaults, then `starts`, then what the searcher proposes. A family without a space is
    a single point. A study that goes on is told what it knew, in the order in which it ended.

    Parameters
    ----------
    families
        Catalog name -> what is searched.
    goal
        What trials are judged by.
    search
        Name of a searcher.
    seed
        Of the searcher.
    starts
        What worked elsewhere.
    ended
        Trials that an earlier run has ended.
    """

    def __init__(
        self,
        families: Mapping[str, Family],
        *,
        goal: Goal | None = None,
        search: str,
        seed: int,
        starts: Sequence[Start] = (),
        ended: Iterable[TrialRecord] = (),
    ) -> None:
        if not families:
            raise ConfigError("a search space is empty: got no families, expected one or more")
        self._families = families
        self._goal = goal or Goal()
        self._spaces = {name: dict(family.space) for name, family in families.items()}
        first = [Start(model=name, draw=self._defaults(name)) for name in families]
        draws = [whole_draw(self._spaces, start.model, start.draw) for start in (*first, *starts)]
        self._search = open_search(search, joined(self._spaces), seed=seed, starts=draws)
        self._pending: dict[int, Draw] = {}
        known = sorted(ended, key=lambda record: (record.ended_at_s, record.number))
        for record in known:
            self.tell(record)
        self._taken = {record.number for record in known}
        self._next = 0

    def propose(self) -> Proposal | None:
        """Return the next trial; None where every point has been tried or is being tried."""
        draw = self._search.ask(list(self._pending.values()))
        if draw is None:
            return None
        while self._next in self._taken:
            self._next += 1
        number, self._next = self._next, self._next + 1
        self._pending[number] = draw
        return self._proposal(number, draw)

    def moved(self, proposal: Proposal, draw: Draw) -> Proposal:
        """Return the proposal with other parameters of its model: it changed in training."""
        self._pending[proposal.number] = whole_draw(self._spaces, proposal.model, draw)
        return self._proposal(proposal.number, self._pending[proposal.number])

    def exhausted(self) -> bool:
        """Say whether no point is left."""
        return self._search.ask(list(self._pending.values())) is None

    def tell(self, record: TrialRecord) -> None:
        """Learn from a trial that has ended."""
        self._pending.pop(record.number, None)
        draw = whole_draw(self._spaces, record.model, record.draw)
        self._search.tell(draw, self._outcome(record))

    def withdraw(self, number: int) -> None:
        """Forget a proposal that was never run to an end."""
        self._pending.pop(number, None)

    def _proposal(self, number: int, draw: Draw) -> Proposal:
        model, own = parted(self._spaces, draw)
        family = self._families[model]
        params = {**family.fixed, **parameters(family.space, own)}
        return Proposal(number=number, model=model, params=params, draw=own)

    def _defaults(self, model: str) -> Draw:
        family = self._families[model]
        return starting_draw(family.space, family.defaults) if family.space else {}

    def _outcome(self, record: TrialRecord) -> Outcome:
        if record.status is TrialStatus.FINISHED:
            return Outcome(values=self._goal.values(record.metrics), excess=self._goal.excess(record.metrics))
        if record.status is TrialStatus.STOPPED and record.curve:
            step, value = record.curve[-1]
            return Outcome(values=(value,) * len(self._goal.objectives), stopped_at=step)
        return Outcome()
