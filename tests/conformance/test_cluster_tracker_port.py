"""What every tracker does, and how a registry's database that is not usable is named."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from cluster.errors import ConfigError, TransientError, UnknownNameError
from cluster.registry.experiments import Point, RunStatus, Tracker, WholeRun
from cluster.registry.mlflow_database import connect
from cluster.registry.mlflow_tracker import MlflowTracker, open_tracker
from cluster.settings import Settings


@pytest.fixture(scope="session")
def tracker(registry_url: str, tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    home = tmp_path_factory.mktemp("tracker home")
    return open_tracker(Settings.from_environment({"ML_HOME": str(home), "ML_REGISTRY_URL": registry_url}))


@pytest.fixture
def experiment() -> str:
    return f"a study/{uuid4().hex[:8]}"


def test_a_run_says_everything_back(tracker: Tracker, experiment: str, tmp_path: Path) -> None:
    run = tracker.start_run(experiment, "trial 1", {"model": "ridge", "alpha": 0.1}, {"phase": "search"})
    for step, value in enumerate((0.5, 0.25, 0.125), start=1):
        tracker.log(run, {"wape": value}, step)
    (tmp_path / "note.txt").write_text("seen")
    tracker.log_file(run, tmp_path / "note.txt")
    tracker.tag(run, {"report": "note.txt"})
    tracker.tag(run, {"phase": "trial"})
    (running,) = tracker.runs(experiment)
    assert (running.status, running.duration_s) == (RunStatus.RUNNING, None)
    tracker.finish(run)
    (found,) = tracker.runs(experiment)
    assert (found.id, found.name, found.experiment) == (run, "trial 1", experiment)
    assert found.parameters == {"model": "ridge", "alpha": "0.1"}
    assert found.tags == {"phase": "trial", "report": "note.txt"}
    assert found.metrics == {"wape": 0.125}
    assert found.status is RunStatus.FINISHED
    assert found.duration_s is not None
    assert [(point.step, point.value) for point in tracker.curve(run, "wape")] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert tracker.curve(run, "mae") == ()


def files_of(tracker: Tracker, run: str) -> list[str]:
    assert isinstance(tracker, MlflowTracker)
    return [each.path for each in tracker._client.list_artifacts(run)]


def test_a_whole_run_is_recorded_as_its_parts_would_be(tracker: Tracker, experiment: str, tmp_path: Path) -> None:
    curve = [Point(step=step, value=1.0 / step) for step in range(1, 251)]
    whole = WholeRun(
        experiment=experiment,
        name="trial 1",
        parameters={f"p{at}": at for at in range(120)},
        tags={"phase": "search"},
        curves={"loss": curve, "wape": [Point(step=250, value=0.5)]},
        status=RunStatus.KILLED,
        started_at_s=1_700_000_000.0,
        ended_at_s=1_700_000_060.0,
    )
    (tmp_path / "trial.json").write_text("{}")
    run = tracker.record(whole, [tmp_path / "trial.json"])
    assert files_of(tracker, run) == ["trial.json"]
    (found,) = tracker.runs(experiment)
    assert (found.id, found.name, found.status) == (run, "trial 1", RunStatus.KILLED)
    assert (found.started_at_s, found.duration_s) == (1_700_000_000.0, 60.0)
    assert found.parameters == {f"p{at}": str(at) for at in range(120)}
    assert found.tags == {"phase": "search"}
    assert found.metrics == {"loss": 1.0 / 250, "wape": 0.5}
    assert tracker.curve(run, "loss") == tuple(curve)


def test_many_points_are_added_at_once(tracker: Tracker, experiment: str) -> None:
    run = tracker.start_run(experiment, "r")
    curve = [Point(step=step, value=float(step)) for step in range(1200)]
    tracker.log_points(run, {"loss": curve, "other": curve[:2]})
    assert tracker.curve(run, "loss") == tuple(curve)
    assert tracker.curve(run, "other") == tuple(curve[:2])


@pytest.mark.parametrize("status", [RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED])
def test_a_run_ends_as_told(tracker: Tracker, experiment: str, status: RunStatus) -> None:
    tracker.finish(tracker.start_run(experiment, "r"), status)
    assert tracker.runs(experiment)[0].status is status


def test_runs_come_oldest_first_and_experiments_by_name(tracker: Tracker, experiment: str) -> None:
    for name in ("one", "two", "three"):
        tracker.finish(tracker.start_run(experiment, name))
    assert [run.name for run in tracker.runs(experiment)] == ["one", "two", "three"]
    listed = tracker.experiments()
    assert [each.name for each in listed] == sorted(each.name for each in listed)
    assert next(each.runs for each in listed if each.name == experiment) == 3


def test_more_parameters_than_one_call_takes(tracker: Tracker, experiment: str) -> None:
    given = {f"p{i}": i for i in range(250)}
    tracker.start_run(experiment, "many", given)
    assert tracker.runs(experiment)[0].parameters == {key: str(value) for key, value in given.items()}


def test_an_unknown_experiment_lists_the_known(tracker: Tracker, experiment: str) -> None:
    tracker.start_run(experiment, "r")
    with pytest.raises(UnknownNameError, match=experiment):
        tracker.runs(f"{experiment}x")


def test_runs_started_at_once_share_one_new_experiment(tracker: Tracker, experiment: str) -> None:
    with ThreadPoolExecutor(5) as pool:
        runs = list(pool.map(lambda i: tracker.start_run(experiment, str(i)), range(5)))
    assert {run.id for run in tracker.runs(experiment)} == set(runs)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_text("not a database, but long enough to have a header" * 20)
    with pytest.raises(ConfigError, match=r"registry\.db.*ML_REGISTRY_URL"):
        connect(f"sqlite:///{tmp_path}/registry.db")


def test_a_database_of_another_mlflow_is_named(tmp_path: Path) -> None:
    connect(f"sqlite:///{tmp_path}/registry.db")
    # A copy: MLflow looks at a URL's schema once a process.
    copy = shutil.copy(tmp_path / "registry.db", tmp_path / "other.db")
    database = sqlite3.connect(copy)
    database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    database.commit()
    database.close()
    with pytest.raises(ConfigError, match="another MLflow"):
        connect(f"sqlite:///{copy}")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="ML_REGISTRY_URL"):
        connect(f"sqlite:///{tmp_path}/file/registry.db")


def test_a_server_that_does_not_answer_is_transient_and_its_password_stays_secret() -> None:
    with pytest.raises(TransientError, match="does not answer") as caught:
        connect("postgresql+psycopg://user:hush@127.0.0.1:1/database")
    assert "hush" not in str(caught.value)
    assert "ML_REGISTRY_URL" in str(caught.value)


def test_a_missing_driver_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="driver is missing"):
        connect("postgresql+nosuchdriver://user@127.0.0.1/database")
