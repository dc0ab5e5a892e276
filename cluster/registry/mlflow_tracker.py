"""The tracker on MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cluster.errors import UnknownNameError
from cluster.registry.experiments import Experiment, Point, RunStatus, TrackedRun, Tracker, WholeRun
from cluster.registry.mlflow_database import artifact_root, connect, pages, translated
from cluster.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH, METRICS_BATCH = 100, 1000
"""MLflow takes as many parameters, and as many metrics, in one call."""
_NAME = "mlflow.runName"
_STATUS = {
    "RUNNING": RunStatus.RUNNING,
    "SCHEDULED": RunStatus.RUNNING,
    "FINISHED": RunStatus.FINISHED,
    "FAILED": RunStatus.FAILED,
    "KILLED": RunStatus.KILLED,
}


class MlflowTracker(Tracker):
    """Runs in MLflow's experiments.

    Parameters
    ----------
    client
        On the database.
    registry_url
        For messages.
    storage_url
        Where files go.
    """

    def __init__(self, client: MlflowClient, *, registry_url: str, storage_url: str) -> None:
        self._client = client
        self._url = registry_url
        self._storage_url = storage_url

    def start_run(
        self,
        experiment: str,
        name: str,
        parameters: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Start a run and return its id; the experiment is made where it is new."""
        from mlflow.entities import Param

        given = [Param(key, str(value)) for key, value in (parameters or {}).items()]
        with translated(self._url):
            group = self._experiment(experiment)
            run = self._client.create_run(group, run_name=name, tags=dict(tags or {}))
            for at in range(0, len(given), BATCH):
                self._client.log_batch(run.info.run_id, params=given[at : at + BATCH])
        return str(run.info.run_id)

    def record(self, run: WholeRun, files: Sequence[Path] = ()) -> str:
        """Keep a whole run that is over, and return its id."""
        from mlflow.entities import Param

        given = [Param(key, str(value)) for key, value in run.parameters.items()]
        points = _points(run.curves, int(run.ended_at_s * 1000))
        with translated(self._url):
            group = self._experiment(run.experiment)
            made = self._client.create_run(
                group, start_time=int(run.started_at_s * 1000), run_name=run.name, tags=dict(run.tags)
            )
            key: str = made.info.run_id
            for at in range(0, max(len(points), len(given), 1), BATCH):
                self._client.log_batch(key, metrics=points[at : at + BATCH], params=given[at : at + BATCH])
            if files:  # straight to where the run keeps them: the client would read the run again for each
                from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

                place = get_artifact_repository(made.info.artifact_uri)
                for file in files:
                    place.log_artifact(str(file))
            self._client.set_terminated(key, run.status.value.upper(), int(run.ended_at_s * 1000))
        return key

    def log(self, run: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Add one value to each metric's curve."""
        self.log_points(run, {name: [Point(step=step, value=value)] for name, value in metrics.items()})

    def log_points(self, run: str, curves: Mapping[str, Sequence[Point]]) -> None:
        """Add many values to each metric's curve at once."""
        values = _points(curves, int(time.time() * 1000))
        with translated(self._url):
            for at in range(0, len(values), METRICS_BATCH):
                self._client.log_batch(run, metrics=values[at : at + METRICS_BATCH])

    def log_file(self, run: str, path: Path) -> None:
        """Keep a copy of a file with the run."""
        with translated(self._url):
            self._client.log_artifact(run, str(path))

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        """Add tags to the run, or give them other values."""
        with translated(self._url):
            for key, value in tags.items():
                self._client.set_tag(run, key, value)

    def finish(self, run: str, status: RunStatus = RunStatus.FINISHED) -> None:
        """Close the run."""
        with translated(self._url):
            self._client.set_terminated(run, status.value.upper())

    def runs(self, experiment: str) -> tuple[TrackedRun, ...]:
        """Return the runs, oldest first."""
        with translated(self._url):
            group = self._client.get_experiment_by_name(experiment)
            found = [] if group is None else self._runs(group.experiment_id)
        if group is None:
            raise UnknownNameError.of("experiment", experiment, (each.name for each in self.experiments()))
        return tuple(_tracked(run, experiment) for run in found)

    def curve(self, run: str, metric: str) -> tuple[Point, ...]:
        """Return what was logged under a metric's name, by step."""
        with translated(self._url):
            history = self._client.get_metric_history(run, metric)
        return tuple(Point(step=each.step, value=each.value) for each in sorted(history, key=lambda m: m.step))

    def experiments(self) -> tuple[Experiment, ...]:
        """Return the experiments, sorted by name."""
        with translated(self._url):
            groups = [group for group in pages(self._client.search_experiments) if group.name != "Default"]
            found = [
                Experiment(
                    name=group.name,
                    runs=len(self._runs(group.experiment_id)),
                    created_at_s=group.creation_time / 1000,
                )
                for group in groups
            ]
        return tuple(sorted(found, key=lambda experiment: experiment.name))

    def _runs(self, group: str) -> list[Any]:
        order = ["attributes.start_time ASC"]
        return pages(self._client.search_runs, experiment_ids=[group], order_by=order)

    def _experiment(self, name: str) -> str:
        """Return the id; of two processes that make it at once, the second finds the first one's."""
        from mlflow.exceptions import MlflowException

        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        location = f"{artifact_root(self._storage_url)}/{quote(name, safe='')}"
        try:
            return str(self._client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            known = self._client.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or known is None:
                raise
            return str(known.experiment_id)


def open_tracker(settings: Settings) -> MlflowTracker:
    """Return the tracker that the settings name."""
    client = connect(settings.registry_url)
    return MlflowTracker(client, registry_url=settings.registry_url, storage_url=settings.storage_url)


def _points(curves: Mapping[str, Sequence[Point]], at_ms: int) -> list[Any]:
    """Return MLflow's entities of all curves."""
    from mlflow.entities import Metric

    return [
        Metric(name, float(point.value), at_ms, point.step) for name, curve in curves.items() for point in curve
    ]


def _tracked(run: Any, experiment: str) -> TrackedRun:
    ended = run.info.end_time
    return TrackedRun(
        id=run.info.run_id,
        experiment=experiment,
        name=run.data.tags.get(_NAME, ""),
        status=_STATUS[run.info.status],
        parameters=run.data.params,
        tags={key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")},
        metrics=run.data.metrics,
        started_at_s=run.info.start_time / 1000,
        ended_at_s=None if ended is None else ended / 1000,
    )
