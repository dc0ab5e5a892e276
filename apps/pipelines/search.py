"""A small study over a recipe's members, and what it found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from apps.pipelines.progress import Progress
from apps.pipelines.recipe import Part, Recipe
from cluster.registry.experiments import Tracker
from cluster.settings import Settings
from cluster.storage.files import Storage
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.models import MODELS
from tuning.budget import Budget
from tuning.conductor import TrialLimits
from tuning.energy import EnergyModel
from tuning.fingerprint import Fingerprint
from tuning.folds import FoldsSpec
from tuning.goal import Goal
from tuning.history import History
from tuning.ledger import OnChange, Standing
from tuning.meter import meter_named
from tuning.proposer import Start
from tuning.ray_crew import WorkerSpec
from tuning.records import StudyResult
from tuning.study import Study
from tuning.study_spec import DEFAULT_SEARCH, StudySpec
from tuning.warm_start import earlier_studies, warm_starts

SEARCH_EPOCHS = 6
"""Epochs of a network in a trial: enough to tell good parameters from bad ones, a third of a whole training."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a study found.

    Parameters
    ----------
    result
        Best trial and all trials.
    meter
        What measured their energy.
    """

    result: StudyResult
    meter: str = "estimate"

    @property
    def name(self) -> str:
        """The study's name."""
        return self.result.name

    @property
    def best(self) -> Part:
        """The best trial's model and parameters."""
        return self.result.best.part

    def whole(self) -> Search:
        """Return it; raise KeyboardInterrupt where somebody ended it, who wants nothing after it either."""
        if self.result.interrupted:
            raise KeyboardInterrupt
        return self

    def improved(self, recipe: Recipe) -> Recipe:
        """Return the recipe with each searched member's best parameters; what limits its training stays."""
        return recipe.with_members(tuple(self._improved(member) for member in recipe.members))

    def _improved(self, member: Part) -> Part:
        scored = [
            (trial.score, trial.number, trial.params)
            for trial in self.result.trials
            if trial.model == member["name"] and trial.score is not None
        ]
        if not scored:
            return member
        return {"name": member["name"], "params": min(scored)[2] | member["params"]}

    def history(self, settings: Settings) -> History:
        """Return the study as it lies on storage."""
        return History.read(Storage(settings.storage_url), self.name)

    def facts(self, settings: Settings) -> dict[str, Any]:
        """Return what a script wants to know."""
        result = self.result
        return {
            "study": self.name,
            "best": self.best,
            "score": result.best.score,
            "trials": self.rows(),
            "spent": {name: round(value, 6) for name, value in asdict(result.spent).items()},
            "energy": energy_model(settings).told(self.meter),
            "ended_by": result.ended_by,
        }

    def front_rows(self) -> list[dict[str, Any]]:
        """Return a row a trial of the Pareto front, with its objectives."""
        names = self.result.objectives
        return [
            {"number": each.number, "model": each.model, **{name: each.metrics[name] for name in names}}
            for each in self.result.front()
        ]

    def short_rows(self) -> list[dict[str, Any]]:
        """Return the rows with what was searched alone, in three digits: for a table that people read."""
        drawn = {each.number: each.draw for each in self.result.trials}
        return [row | {"params": _short(json.loads(row["params"]), drawn[row["number"]])} for row in self.rows()]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a trial, for a table."""
        frame = self.result.to_frame()[["number", "model", "status", "score", "steps", "duration_s", "params"]]
        return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How to search.

    Parameters
    ----------
    budget
        When the search ends.
    name
        Of the study; made from recipe, data and goal where None.
    warm_start
        Whether it begins from what worked in earlier studies of similar data.
    goal, folds, search, stopping, max_concurrent, worker, train_workers, limits
        As in `StudySpec`.
    """

    budget: Budget
    name: str | None = None
    warm_start: bool = False
    goal: Goal = field(default_factory=Goal)
    folds: FoldsSpec = field(default_factory=FoldsSpec)
    search: str = DEFAULT_SEARCH
    stopping: str = "halving"
    max_concurrent: int = 2
    worker: WorkerSpec = field(default_factory=WorkerSpec)
    train_workers: int = 0
    limits: TrialLimits = field(default_factory=TrialLimits)

    def spec(self, recipe: Recipe, data: Panel) -> StudySpec:
        """Return the study of the recipe's members that are trained step by step."""
        same = (
            "goal",
            "folds",
            "search",
            "stopping",
            "max_concurrent",
            "worker",
            "train_workers",
            "limits",
            "budget",
        )
        kept = {"goal": self.goal.facts(), "folds": self.folds.facts(), "search": self.search}
        return StudySpec(
            name=self.name or f"{recipe.name}-{_digest(recipe, data, kept | {'stopping': self.stopping})}",
            models=tuple(_shortened(each) for each in recipe.members if MODELS.load(each["name"]).tags.backend),
            horizon=recipe.horizon,
            features=recipe.features,
            **{name: getattr(self, name) for name in same},
        )


def search(
    panel: Panel,
    recipe: Recipe,
    asked: Asked,
    *,
    storage_url: str,
    tracker: Tracker,
    progress: Progress,
    energy: EnergyModel | None = None,
    on_change: OnChange | None = None,
) -> Search:
    """Search the recipe's members that have a search space and are trained step by step.

    Parameters
    ----------
    panel, recipe
        Data and what is made of it.
    asked
        How to search; a study of the same data, recipe and goal goes on with what is there.
    storage_url
        Where the study is kept.
    tracker, progress
        Show the trials.
    energy
        Turns what trials took into energy and carbon.
    on_change
        Hears of every start, report and end too.
    """
    data = recipe.view(panel)
    spec = asked.spec(recipe, data)

    def tell(standing: Standing) -> None:
        best = standing.best
        note = f"best {best.model}: {spec.goal.objectives[0]} {best.score:.4g}" if best else "no trial finished yet"
        done = 1.0 if not standing.running and standing.ended else spec.budget.share(standing.spent)
        progress.update("search on Ray", done, 1.0, f"{len(standing.ended)} trials, {note}")
        if on_change is not None:
            on_change(standing)

    study = Study(spec, storage_url=storage_url, tracker=tracker, energy=energy, on_change=tell)
    split = chronological_split(data)
    starts = _warm_starts(spec, data.before(split.validation_start), storage_url) if asked.warm_start else ()
    found = study.run(data, split, starts=starts)
    progress.update("search on Ray", 1.0, 1.0, f"{len(found.trials)} trials, ended by: {found.ended_by}")
    return Search(result=found, meter=meter_named(asked.worker.meter))


def _warm_starts(spec: StudySpec, known: Panel, storage_url: str) -> Sequence[Start]:
    earlier = earlier_studies(Storage(storage_url))
    return warm_starts(earlier, Fingerprint.of(known, spec.horizon), spec.families(), name=spec.name)


def energy_model(settings: Settings) -> EnergyModel:
    """Return what the settings say of power and carbon."""
    return EnergyModel(
        cpu_power_w=settings.cpu_power_w,
        gpu_power_w=settings.gpu_power_w,
        carbon_intensity_g_per_kwh=settings.carbon_intensity_g_per_kwh,
    )


def _short(params: Mapping[str, Any], searched: Collection[str]) -> str:
    shown = ((name, value) for name, value in params.items() if name in searched)
    return ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in shown
    )


def _shortened(member: Part) -> Part:
    if member["name"] != "lstm":
        return member
    epochs = min(member["params"].get("max_epochs", SEARCH_EPOCHS), SEARCH_EPOCHS)
    return {"name": "lstm", "params": member["params"] | {"max_epochs": epochs}}


def _digest(recipe: Recipe, data: Panel, goal: dict[str, Any]) -> str:
    """Return a short name for this recipe and goal on this data."""
    facts = json.dumps([asdict(recipe), goal], sort_keys=True, default=str) + data.digest()
    return hashlib.sha256(facts.encode()).hexdigest()[:8]
