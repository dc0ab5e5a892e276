"""The main line: recipe, search, fit, judge, register, each step tracked and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from apps.pipelines.choose import Asked, choose, fit_and_judge_choice, recipe_of
from apps.pipelines.progress import Progress
from apps.pipelines.recipe import Recipe, default_recipe
from apps.pipelines.runners import ShownRunner, Workers
from apps.pipelines.search import Asked as SearchAsked
from apps.pipelines.search import Search, energy_model, search
from apps.pipelines.train import Judged, fit_and_judge, register
from apps.reports.place import report_path
from apps.running import find_running
from cluster.errors import ConfigError, GateRefused
from cluster.lifecycle import Cluster
from cluster.registry.experiments import RunStatus, Tracker
from cluster.registry.registry import Registry
from cluster.registry.version import ModelVersion
from cluster.settings import Settings
from training.core.panel import Panel
from training.core.runner import Runner
from training.evaluation.selection import Selection
from tuning.ledger import OnChange


class Line:
    """What trains models; it needs a connected Ray where it has workers.

    Parameters
    ----------
    settings
        Say where registry, experiments and checkpoints are.
    workers
        Ray Train workers a model; 0 trains in this process.
    progress
        Is told where the line is.
    """

    def __init__(self, settings: Settings, *, workers: int, progress: Progress) -> None:
        self.settings = settings
        self.workers = workers
        self.progress = progress

    @classmethod
    @contextmanager
    def open(cls, settings: Settings, *, workers: int, progress: Progress) -> Iterator[Line]:
        """Yield a line on the platform that runs here, or on a Ray of its own; without workers on no Ray."""
        line = cls(settings, workers=workers, progress=progress)
        if not workers:
            yield line
            return
        running = find_running(settings)
        target = replace(settings, ray_address=running.ray_address) if running else settings
        progress.update("connect to Ray" if running else "start Ray", 0, 1)
        with Cluster.open(target) as cluster:
            progress.update("connect to Ray" if running else "start Ray", 1, 1, cluster.address)
            yield line

    @cached_property
    def registry(self) -> Registry:
        """Models and versions."""
        from cluster.registry.mlflow_registry import open_registry

        return open_registry(self.settings)

    @cached_property
    def tracker(self) -> Tracker:
        """Experiments and runs."""
        from cluster.registry.mlflow_tracker import open_tracker

        return open_tracker(self.settings)

    def recipe(self, panel: Panel, target: str, *, horizon: int | None = None, epochs: int) -> Recipe:
        """Return the default recipe with at most `epochs` epochs for the LSTM."""
        recipe = default_recipe(panel.schema, target, horizon)
        return recipe.with_members(tuple(_limited(member, epochs) for member in recipe.members))

    def search(self, panel: Panel, recipe: Recipe, asked: SearchAsked, on_change: OnChange | None = None) -> Search:
        """Search the parameters of the recipe's LSTM and XGBoost.

        Raises
        ------
        ConfigError
            The line has no workers, and so no Ray.
        """
        if not self.workers:
            raise ConfigError("a search runs on Ray: got 0 workers, expected 1 or more")
        return search(
            panel,
            recipe,
            asked,
            storage_url=self.settings.storage_url,
            tracker=self.tracker,
            progress=self.progress,
            energy=energy_model(self.settings),
            on_change=on_change,
        )

    def judge(self, panel: Panel, recipe: Recipe) -> Judged:
        """Fit the recipe and judge it on the held-out end; the run is in the experiment UI."""
        return self._tracked(recipe, lambda runner: fit_and_judge(panel, recipe, runner=runner))

    def choose(self, panel: Panel, asked: Asked) -> Selection:
        """Choose families for each group of series on backtests before the test part; see `asked`."""
        return choose(panel, asked, folder=self._folder("backtests"), workers=self.workers, progress=self.progress)

    def judge_choice(self, panel: Panel, selection: Selection, group: str) -> Judged:
        """Fit a group's choice and judge it on the held-out end; the run is in the experiment UI."""
        recipe = recipe_of(panel, selection, group)
        return self._tracked(recipe, lambda runner: fit_and_judge_choice(panel, selection, group, runner))

    def _tracked(self, recipe: Recipe, fit: Callable[[Runner], Judged]) -> Judged:
        run = self.tracker.start_run(recipe.name, "train", _flat(recipe), {"target": recipe.target})
        status = RunStatus.FAILED
        try:
            workers = Workers(count=self.workers, storage=self._folder("runs"), run=recipe.name)
            judged = fit(ShownRunner(workers, self.progress, recipe.steps()))
            self.tracker.log(run, judged.card.metrics())
            self.tracker.log(run, {f"baseline_{name}": value for name, value in judged.baseline.metrics().items()})
            judged = self._reported(judged, run)
            status = RunStatus.FINISHED
        except KeyboardInterrupt:
            status = RunStatus.KILLED
            raise
        finally:
            self.tracker.finish(run, status)
        return judged

    def _reported(self, judged: Judged, run: str) -> Judged:
        """Write the report, keep a copy with the run, and say in the run's tags where."""
        from apps.pipelines.reporting import report_of

        self.progress.update("report", 0, 1)
        path = report_path(self.settings.home, run)
        report_of(judged, made_at=datetime.now(UTC)).write(path)
        self.tracker.log_file(run, path)
        self.tracker.tag(run, {"report": path.name})
        self.progress.update("report", 1, 1, str(path))
        return replace(judged, run=run, report=path)

    def register(self, judged: Judged, *, owner: str) -> ModelVersion:
        """Register the model as the production version, or raise GateRefused."""
        self.progress.update("judge and register", 0, 1)
        try:
            version = register(judged, self.registry, owner=owner)
        except GateRefused:
            self.progress.update("judge and register", 1, 1, "refused")
            raise
        self.progress.update("judge and register", 1, 1, f"{version.name} {version.version}")
        return version

    def _folder(self, name: str) -> Path:
        return self.settings.home / name


def _limited(member: dict[str, Any], epochs: int) -> dict[str, Any]:
    if member["name"] != "lstm":
        return member
    return {"name": "lstm", "params": member["params"] | {"max_epochs": epochs}}


def _flat(recipe: Recipe) -> Mapping[str, Any]:
    """Return the recipe's facts for the tracker: one entry a parameter."""
    flat: dict[str, Any] = {
        "horizon": recipe.horizon,
        "features": ", ".join(each["name"] for each in recipe.features),
    }
    for member in recipe.members:
        flat |= {f"{member['name']}.{key}": value for key, value in member["params"].items()}
    return flat | {"members": ", ".join(each["name"] for each in recipe.members)}
