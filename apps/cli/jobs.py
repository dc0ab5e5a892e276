"""`heliotrope jobs`: commands that run on the cluster."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_rows
from apps.running import require_running
from cluster.errors import ConfigError
from cluster.jobs import Jobs
from cluster.settings import Settings

app = typer.Typer(help="Commands that run on the cluster as Ray jobs.", no_args_is_help=True)
JobArgument = typer.Argument(help="A job's id from `heliotrope jobs list`.")


@app.command(context_settings={"ignore_unknown_options": True})
def submit(
    command: list[str] = typer.Argument(help="What to run, after `--`: heliotrope jobs submit -- python sweep.py"),
    working_dir: Path | None = typer.Option(None, help="Folder that travels with the job and is its current one."),
    env: list[str] = typer.Option([], help="NAME=VALUE for the job's environment; repeat for more."),
    wait: bool = typer.Option(False, help="Follow its output and end with its exit code."),
    every_s: float | None = typer.Option(None, help="Submit it again and again, this many seconds apart."),
    name: str = typer.Option("scheduled", help="Of the schedule; the same name replaces it."),
    as_json: bool = JsonOption,
) -> None:
    """Submit a command and print the job's id."""
    if every_s is not None:
        _schedule(name, every_s, shlex.join(command))
        return
    jobs = _jobs()
    job = jobs.submit(shlex.join(command), working_dir=working_dir, env=_pairs(env))
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


def _schedule(name: str, every_s: float, entrypoint: str) -> None:
    from apps.platform import Platform
    from cluster.state.schedules import Plan

    with Platform.attach(Settings.from_environment()) as platform:
        platform.schedules.do(Plan(name=name, every_s=every_s, payload={"entrypoint": entrypoint}))
    console.print(f"'{name}' is submitted every {every_s:g} s while the platform is up")


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
