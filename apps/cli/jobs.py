"""`heliotrope jobs`: commands that run on the cluster."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import typer

from apps.cli.output import JsonOption, console, print_json, print_rows
from apps.pipelines.sweep import SWEEP, sweep_command, sweep_environment
from apps.running import require_running
from cluster.errors import ConfigError
from cluster.jobs import Jobs
from cluster.settings import Settings
from cluster.state.runs import CreateRun
from cluster.state.schedules import Plan

app = typer.Typer(help="Commands that run on the cluster as Ray jobs.", no_args_is_help=True)
JobArgument = typer.Argument(help="A job's id from `heliotrope jobs list`.")


@app.command(context_settings={"ignore_unknown_options": True})
def submit(
    command: list[str] = typer.Argument(
        help="What to run, after `--`: `-- python job.py`; or a search: `sweep` and what follows `heliotrope tune`."
    ),
    working_dir: Path | None = typer.Option(None, help="Folder that travels with the job and is its current one."),
    env: list[str] = typer.Option([], help="NAME=VALUE for the job's environment; repeat for more."),
    wait: bool = typer.Option(False, help="Follow its output and end with its exit code."),
    every_s: float | None = typer.Option(None, help="Submit it again and again, this many seconds apart."),
    attempts: int = typer.Option(
        1, min=1, help="Try it so often until it ends well, across restarts of the platform."
    ),
    name: str | None = typer.Option(None, help="Of the schedule or the tried run; made up by default."),
    as_json: bool = JsonOption,
) -> None:
    """Submit a command and print the job's id."""
    name = name or f"run-{uuid4().hex[:8]}"
    variables = _pairs(env)
    if command[0] == SWEEP:
        command = sweep_command(Settings.from_environment(), command[1:])
        variables = sweep_environment() | variables
    if every_s is not None:
        _keep("schedules", Plan(name=name, every_s=every_s, payload={"entrypoint": shlex.join(command)}))
        console.print(f"'{name}' is submitted every {every_s:g} s while the platform is up")
        return
    if attempts > 1:
        _keep("ledger", CreateRun(run=name, payload={"entrypoint": shlex.join(command)}, max_attempts=attempts))
        console.print(f"'{name}' is tried up to {attempts} times while the platform is up")
        return
    jobs = _jobs()
    job = jobs.submit(shlex.join(command), working_dir=working_dir, env=variables)
    if not wait:
        print_json({"job": job}) if as_json else console.print(job)
        return
    _follow(jobs, job)


@app.command("list")
def list_jobs(as_json: bool = JsonOption) -> None:
    """List the jobs of the running cluster."""
    rows: list[dict[str, Any]] = [
        {"job": info.job_id, "status": info.status, "exit_code": info.exit_code, "entrypoint": info.entrypoint}
        for info in _jobs().list()
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, title="Jobs", empty="No jobs yet: `heliotrope jobs submit -- COMMAND`.")


@app.command()
def logs(job: str = JobArgument, follow: bool = typer.Option(False, help="Until it ends.")) -> None:
    """Print what a job printed."""
    jobs = _jobs()
    if follow:
        _follow(jobs, job)
    sys.stdout.write(jobs.logs(job))


@app.command()
def stop(job: str = JobArgument) -> None:
    """End a job."""
    _jobs().stop(job)
    console.print(f"{job} is stopped")


def _keep(state: str, command: Any) -> None:
    """Hand a command to one of the running platform's durable states."""
    from apps.platform import Platform

    with Platform.attach(Settings.from_environment()) as platform:
        getattr(platform, state).do(command)


def _jobs() -> Jobs:
    return Jobs(require_running(Settings.from_environment()).dashboard_url)


def _follow(jobs: Jobs, job: str) -> None:
    for text in jobs.follow(job):
        sys.stdout.write(text)
        sys.stdout.flush()
    raise typer.Exit(jobs.wait(job, timeout_s=60))


def _pairs(items: list[str]) -> dict[str, str]:
    split = [item.partition("=") for item in items]
    for name, sign, _ in split:
        if not name or not sign:
            raise ConfigError(f"--env: got '{name}', expected NAME=VALUE", field="env", got=name)
    return {name: value for name, _, value in split}
