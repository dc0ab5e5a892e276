"""A small study over a recipe's members, and what it found."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from apps.pipelines.progress import Progress
from apps.pipelines.recipe import Part, Recipe
from cluster.registry.experiments import Tracker
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.models import MODELS
from tuning.records import StudyResult
from tuning.study import Study, StudySpec

SEARCH_EPOCHS = 6
"""Epochs of a network in a trial: enough to tell good parameters from bad ones, a third of a whole training."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a study found.

    Parameters
    ----------
    result
        Best trial and all trials.
    """

    result: StudyResult

    @property
    def name(self) -> str:
        """The study's name."""
        return self.result.name

    @property
    def best(self) -> Part:
        """The best trial's model and parameters."""
        return self.result.best.part

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

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a trial, for a table."""
        frame = self.result.to_frame()[["number", "model", "status", "score", "steps", "duration_s", "params"]]
        return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def search(
    panel: Panel, recipe: Recipe, *, trials: int, storage_url: str, tracker: Tracker, progress: Progress
) -> Search:
    """Search the recipe's members that have a search space and are trained step by step.

    Parameters
    ----------
    panel, recipe
        Data and what is made of it.
    trials
        In all; a study of the same data and recipe goes on with what is there.
    storage_url
        Where the study is kept.
    tracker, progress
        Show the trials.
    """
    data = recipe.view(panel)
    models = tuple(_shortened(member) for member in recipe.members if MODELS.load(member["name"]).tags.backend)
    spec = StudySpec(
        name=f"{recipe.name}-{_digest(recipe, data)}",
        models=models,
        horizon=recipe.horizon,
        features=recipe.features,
        trials=max(trials, len(models)),
    )

    def tell(done: int, total: int, best: Any) -> None:
        note = f"best {best.model}: WAPE {best.score:.4f}" if best else "first trials are running"
        progress.update("search on Ray Tune", done, total, note)

    study = Study(spec, storage_url=storage_url, tracker=tracker, on_trial=tell)
    return Search(result=study.run(data, chronological_split(data)))


def _shortened(member: Part) -> Part:
    if member["name"] != "lstm":
        return member
    epochs = min(member["params"].get("max_epochs", SEARCH_EPOCHS), SEARCH_EPOCHS)
    return {"name": "lstm", "params": member["params"] | {"max_epochs": epochs}}


def _digest(recipe: Recipe, data: Panel) -> str:
    """Return a short name for this recipe on this data."""
    facts = json.dumps(asdict(recipe), sort_keys=True, default=str) + data.digest()
    return hashlib.sha256(facts.encode()).hexdigest()[:8]
