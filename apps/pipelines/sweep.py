"""A search as a job of the cluster: it goes on when the one who asked has gone."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

from cluster.jobs import Jobs
from cluster.settings import PREFIX, Settings, variable_of

SWEEP = "sweep"


def sweep_command(settings: Settings, arguments: Sequence[str]) -> list[str]:
    """Return the command line of `heliotrope tune`, run by this Python on this home: a job has its own folder."""
    home = f"{variable_of('home')}={settings.home}"
    return ["env", home, sys.executable, "-m", "apps.cli.main", "tune", *arguments]


def sweep_environment() -> dict[str, str]:
    """Return the variables that let a job see what this process sees; they are on no command line."""
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}


def submit_sweep(
    jobs: Jobs, settings: Settings, arguments: Sequence[str], *, submission_id: str | None = None
) -> str:
    """Submit `heliotrope tune` with these arguments and return the job's id.

    Parameters
    ----------
    jobs
        Of the cluster.
    settings
        The job keeps its study and its runs where these say.
    arguments
        As on the command line: `["gas_turbine", "--budget", "balanced"]`.
    submission_id
        Makes a retry safe; a study that was cut off goes on in any case.
    """
    entrypoint = shlex.join(sweep_command(settings, arguments))
    return jobs.submit(entrypoint, env=sweep_environment(), submission_id=submission_id)
