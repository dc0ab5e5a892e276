"""Which trial comes next: each family's defaults first, then what a tree-structured Parzen estimator proposes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.core.space import Choice, Draw, Space, parameters, starting_draw
from tuning.records import TrialRecord, TrialStatus
from tuning.spaces import distribution, suggest

if TYPE_CHECKING:
    from optuna import Trial

FAMILY = "model"


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
        What the sampler chose.
    """

    number: int
    model: str
    params: dict[str, Any]
    draw: Draw


class Proposer:
    """Asks Optuna, and tells it what came out.

    The space is conditional: a family's parameters exist only where the family was chosen. A family without a
    space has one trial. A study that goes on is told what it knew; its random numbers start anew, lest it draw
    the same first points twice.

    Parameters
    ----------
    families
        Catalog name -> what is searched.
    trials
        How many in all, ended ones included.
    seed
        Of the sampler.
    ended
        Trials that an earlier run has ended.

    References
    ----------
    Bergstra et al. (2011), Algorithms for Hyper-Parameter Optimization.
    """

    def __init__(
        self, families: Mapping[str, Family], *, trials: int, seed: int, ended: Iterable[TrialRecord] = ()
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        known = {record.number: record for record in ended}
        self._families = families
        self._searched = tuple(name for name, family in families.items() if family.space)
        free = [number for number in range(trials) if number not in known]
        self._numbers = deque(free[: max(0, trials - len(known))])
        tried = {record.model for record in known.values()}
        self._first = deque(name for name in families if name not in tried)
        # Half of a small study may explore; ten random points are TPE's usual start.
        startup = min(10, max(len(families), trials // 2))
        sampler = optuna.samplers.TPESampler(seed=seed + len(known), n_startup_trials=startup)
        self._study = optuna.create_study(direction="minimize", sampler=sampler)
        self._open: dict[int, Trial] = {}
        for record in known.values():
            self._remember(record)

    def propose(self) -> Proposal | None:
        """Return the next trial; None when there are enough."""
        if not self._numbers or not (self._first or self._searched):
            return None
        number = self._numbers.popleft()
        first = self._first.popleft() if self._first else None
        if first is not None and first not in self._searched:
            return Proposal(number=number, model=first, params=dict(self._families[first].fixed), draw={})
        if first is not None:
            start = starting_draw(self._families[first].space, self._families[first].defaults)
            self._study.enqueue_trial(self._named(first, start))
        return self._ask(number)

    def tell(self, record: TrialRecord) -> None:
        """Learn from a trial that has ended."""
        from optuna.trial import TrialState

        trial = self._open.pop(record.number, None)
        if trial is None:
            return
        if record.score is not None:
            self._study.tell(trial, record.score)
        else:
            # A loss half-way says little beside other families' scores: stopped is just worse than all finished.
            stopped = record.status is TrialStatus.STOPPED
            self._study.tell(trial, state=TrialState.PRUNED if stopped else TrialState.FAIL)

    def _ask(self, number: int) -> Proposal:
        trial = self._study.ask()
        model = self._searched[trial.suggest_categorical(FAMILY, tuple(range(len(self._searched))))]
        family = self._families[model]
        draw = suggest(trial, family.space, f"{model}.")
        self._open[number] = trial
        params = {**family.fixed, **parameters(family.space, draw)}
        return Proposal(number=number, model=model, params=params, draw=draw)

    def _named(self, model: str, draw: Draw) -> dict[str, float | int]:
        names: dict[str, float | int] = {f"{model}.{name}": value for name, value in draw.items()}
        return {FAMILY: self._searched.index(model), **names}

    def _remember(self, record: TrialRecord) -> None:
        from optuna.trial import TrialState, create_trial

        if record.model not in self._searched or record.status is TrialStatus.FAILED:
            return
        space = self._families[record.model].space
        state = TrialState.COMPLETE if record.score is not None else TrialState.PRUNED
        distributions = {f"{record.model}.{name}": distribution(space[name]) for name in record.draw}
        distributions[FAMILY] = distribution(Choice(self._searched))
        named = self._named(record.model, record.draw)
        self._study.add_trial(
            create_trial(state=state, value=record.score, params=named, distributions=distributions)
        )
