"""Jobs on a real cluster: submitted, followed, stopped, their exit codes, environments and folders."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from cluster.errors import ConfigError, TransientError, UnknownNameError
from cluster.jobs import EXIT_STOPPED, Jobs
from cluster.lifecycle import Cluster
from cluster.ports import free_port

pytestmark = pytest.mark.ray
PYTHON = f"{sys.executable} -u"


@pytest.fixture(scope="module")
def jobs(ray_cluster: Cluster) -> Jobs:
    assert ray_cluster.dashboard_url is not None
    return Jobs(ray_cluster.dashboard_url)


def test_a_job_has_its_folder_its_environment_its_log_and_its_exit_code(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        "import os, sys\nprint(os.environ['GREETING'], open('data.txt').read())\nsys.exit(3)\n"
    )
    (tmp_path / "data.txt").write_text("from the folder")
    job = jobs.submit(
        f"{PYTHON} task.py", working_dir=tmp_path, env={"GREETING": "hello"}, metadata={"owner": "me"}
    )
    assert jobs.wait(job, timeout_s=60) == 3
    assert "hello from the folder" in jobs.logs(job)
    info = jobs.status(job)
    assert (info.status, info.exit_code, info.metadata["owner"], info.finished) == ("FAILED", 3, "me", True)
    assert info.started_s is not None
    assert info.ended_s is not None
    assert info.ended_s >= info.started_s
    assert job in [each.job_id for each in jobs.list()]


def test_a_retry_with_the_same_id_starts_no_second_job(jobs: Jobs) -> None:
    first = jobs.submit("echo once", submission_id="once")
    second = jobs.submit("echo once", submission_id="once")
    assert first == second == "once"
    assert [each.job_id for each in jobs.list()].count("once") == 1
    assert jobs.wait("once", timeout_s=60) == 0
    with pytest.raises(ConfigError, match=r"'once'.*got the command 'echo twice', expected 'echo once'"):
        jobs.submit("echo twice", submission_id="once")


def test_a_log_is_followed_live_and_a_job_stopped(jobs: Jobs) -> None:
    job = jobs.submit(f"{PYTHON} -c \"import time; print('first'); time.sleep(600); print('ne' + 'ver')\"")
    followed = jobs.follow(job)
    text = ""
    while "first" not in text:
        text += next(followed)
    assert jobs.status(job).status == "RUNNING"
    with pytest.raises(TransientError, match="is RUNNING after 0 s"):
        jobs.wait(job, timeout_s=0)
    assert jobs.stop(job)
    text += "".join(followed)
    assert "never" not in text
    assert jobs.wait(job, timeout_s=30) == EXIT_STOPPED
    assert jobs.status(job).status == "STOPPED"


def test_unknown_ids_are_refused_with_the_known_ones(jobs: Jobs) -> None:
    jobs.submit("true", submission_id="known-job")
    for question in (jobs.status, jobs.logs, jobs.stop, lambda job: list(jobs.follow(job))):
        with pytest.raises(UnknownNameError, match=r"unknown job 'known-jab'\. Did you mean 'known-job'"):
            question("known-jab")


def test_the_address_given_beats_the_environment(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"http://127.0.0.1:{free_port()}")
    assert Jobs(jobs._url).list() is not None


def test_a_dashboard_that_does_not_answer_is_transient() -> None:
    started = time.monotonic()
    with pytest.raises(TransientError, match="does not answer"):
        Jobs(f"http://127.0.0.1:{free_port()}").list()
    assert time.monotonic() - started < 30
