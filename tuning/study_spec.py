"""What a study searches, and how it may run."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any

from cluster.errors import ConfigError, UnknownNameError
from training.core.parameters import one_of, whole
from training.models import MODELS
from tuning.budget import Budget
from tuning.conductor import TrialLimits
from tuning.folds import FoldsSpec
from tuning.goal import Goal
from tuning.population import Population
from tuning.proposer import Family
from tuning.ray_crew import WorkerSpec
from tuning.records import Part
from tuning.search.members import SEARCHES
from tuning.stopping import STOPPING, NeverStop, StopPolicy, stop_policy

DEFAULT_SEARCH = "gaussian_process"
"""The best of ours on the benchmark of regret."""
POPULATION = "population"


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """What to search.

    Parameters
    ----------
    name
        The same name, data and specification go on with what is there.
    models
        Catalog members with the arguments that stay fixed.
    horizon
        Steps ahead.
    features
        Transforms, in order.
    goal
        Objectives and bounds.
    folds
        Cross-validation in time.
    budget
        When it ends. A study may go on with more.
    search
        Name of the searcher.
    stopping
        `halving`, `median` or `none`: which trials are stopped early; or `population`: nobody is, but who falls
        behind goes on from a better one's state with parameters near its own. The population is what runs at a
        time: give it shares of processors.
    changing
        Parameters that population-based training may change.
    grace_reports
        Reports (epochs, tens of boosting rounds, or folds where there are several) that every trial may make
        before it may be stopped early.
    max_concurrent
        Trials at a time.
    worker
        Processors, GPUs and memory of each.
    train_workers
        Ray Train workers of each trial, one processor each beside the trial's own; 0 trains in its own process.
    limits
        Time-out and attempts of a trial.
    seed
        Of the searcher, and of models that draw random numbers.
    """

    name: str
    models: tuple[Part, ...]
    horizon: int
    features: tuple[Part, ...] = ()
    goal: Goal = field(default_factory=Goal)
    folds: FoldsSpec = field(default_factory=FoldsSpec)
    budget: Budget = field(default_factory=lambda: Budget(trials=20))
    search: str = DEFAULT_SEARCH
    stopping: str = "halving"
    changing: tuple[str, ...] = ("learning_rate", "dropout")
    grace_reports: int = 5
    max_concurrent: int = 2
    worker: WorkerSpec = field(default_factory=WorkerSpec)
    train_workers: int = 0
    limits: TrialLimits = field(default_factory=TrialLimits)
    seed: int = 0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ConfigError(f"study name: got '{self.name}', expected letters, digits, '.', '_' and '-'")
        if self.search not in SEARCHES:
            raise UnknownNameError.of("search", self.search, SEARCHES)
        names = [part["name"] for part in self.models]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"models of a study: got {names or 'none'}, expected one or more, each once")
        one_of("stopping", self.stopping, (*STOPPING, POPULATION))
        if self.stopping == POPULATION and self.folds.count > 1:
            raise ConfigError(f"population-based training: got {self.folds.count} folds, expected 1")
        for name, low in (
            ("horizon", 1),
            ("max_concurrent", 1),
            ("grace_reports", 1),
            ("seed", 0),
            ("train_workers", 0),
        ):
            whole(name, getattr(self, name), low=low)

    def population(self) -> Population | None:
        """Return who moves trials in training; None where nobody does."""
        if self.stopping != POPULATION:
            return None
        spaces = {name: dict(family.space) for name, family in self.families().items()}
        return Population(spaces, self.changing, seed=self.seed)

    def families(self) -> dict[str, Family]:
        """Return what is searched for each model; a fixed argument is not searched."""
        return {part["name"]: self._family(part) for part in self.models}

    def _family(self, part: Part) -> Family:
        kind = MODELS.load(part["name"])
        known = inspect.signature(kind).parameters
        fixed = dict(part.get("params", {}))
        for name in fixed:
            if name not in known:
                raise ConfigError(f"model '{part['name']}' has no parameter '{name}'. It has: {', '.join(known)}")
        if kind.tags.seeded and "seed" in known:
            fixed.setdefault("seed", self.seed)
        return Family(
            space={name: dimension for name, dimension in kind.search_space().items() if name not in fixed},
            fixed=fixed,
            defaults={name: parameter.default for name, parameter in known.items()},
        )

    def policy(self) -> StopPolicy:
        """Return who stops trials early."""
        return NeverStop() if self.stopping == POPULATION else stop_policy(self.stopping, self.grace_reports)

    def facts(self) -> dict[str, Any]:
        """Return what must be the same for a study to go on."""
        fixed = ("models", "features", "horizon", "search", "stopping", "changing", "seed", "grace_reports")
        facts = {name: getattr(self, name) for name in fixed}
        return facts | {"goal": self.goal.facts(), "folds": self.folds.facts()}
