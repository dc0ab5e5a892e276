"""Jobs: a command line run on the cluster, its log followed, its end awaited."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cluster.errors import ConfigError, TransientError, UnknownNameError

REQUEST_TIMEOUT_S = 30.0
POLL_S = 0.2
# What the exit code is where the driver left none: as a shell reports a SIGTERM, and any other failure.
EXIT_STOPPED, EXIT_FAILED = 143, 1
# `test` is a package nobody's interpreter imports on its own, and a folder many projects have.
HARMLESS = {"test"}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class JobInfo:
    """What is known of a job.

    Parameters
    ----------
    job_id
        Its submission id.
    status
        PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
    entrypoint
        The command line.
    message
        Ray's words on the status.
    exit_code
        Of the command; None while it runs. 143 where it was stopped.
    started_s, ended_s
        Seconds since the epoch, or None.
    metadata
        The submitter's own labels.
    """

    job_id: str
    status: str
    entrypoint: str
    message: str
    exit_code: int | None
    started_s: float | None
    ended_s: float | None
    metadata: Mapping[str, str]

    @property
    def finished(self) -> bool:
        """Say whether it has ended, well or not."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")


class Jobs:
    """The jobs of one cluster.

    Every method raises TransientError where the dashboard does not answer, and UnknownNameError (with the known
    ids) for an id it does not know.

    Parameters
    ----------
    dashboard_url
        `http://host:port` of the Ray dashboard, as `Cluster.dashboard_url` has it.
    """

    def __init__(self, dashboard_url: str) -> None:
        self._url = dashboard_url.rstrip("/")
        self._connection: Any = None

    def submit(
        self,
        entrypoint: str,
        *,
        working_dir: Path | None = None,
        env: Mapping[str, str] | None = None,
        submission_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Start a command and return its id; with the id of an equal job already there, return that one.

        Parameters
        ----------
        entrypoint
            Command line, run by a shell on the head node.
        working_dir
            Folder that is copied to the cluster and run in.
        env
            Environment variables of the job and its workers.
        submission_id
            The id to give it, which makes a retry safe; made up where None.
        metadata
            Labels kept with the job.

        Raises
        ------
        ConfigError
            The folder is not there, or has a module named as one of Python's own at its top (the job would hang);
            or the id belongs to another command.
        """
        environment: dict[str, Any] = {"env_vars": dict(env or {})}
        if working_dir is not None:
            check_working_dir(working_dir)
            environment["working_dir"] = str(working_dir)
        if submission_id is not None and (known := self._equal(submission_id, entrypoint)):
            return known
        try:
            submitted: str = self._ask(
                lambda client: client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=submission_id,
                    runtime_env=environment,
                    metadata=dict(metadata or {}),
                )
            )
        except RuntimeError as error:
            # Somebody with the same id may have come between the look and the submission.
            if submission_id is not None and (known := self._equal(submission_id, entrypoint)):
                return known
            raise _unexpected(error) from error
        except ValueError as error:
            raise ConfigError(f"job '{entrypoint}' cannot be submitted: {error}", entrypoint=entrypoint) from error
        return submitted

    def list(self) -> list[JobInfo]:
        """Return all submitted jobs, the newest first."""
        try:
            found = self._ask(lambda client: client.list_jobs())
        except RuntimeError as error:
            raise _unexpected(error) from error
        infos = [_info(details) for details in found if details.submission_id]
        return sorted(infos, key=lambda info: info.started_s or 0.0, reverse=True)

    def status(self, job_id: str) -> JobInfo:
        """Return what is known of a job."""
        return _info(self._of(job_id, lambda client: client.get_job_info(job_id)))

    def logs(self, job_id: str) -> str:
        """Return what the job has printed so far."""
        text: str = self._of(job_id, lambda client: client.get_job_logs(job_id))
        return text

    def follow(self, job_id: str) -> Iterator[str]:
        """Yield what the job prints, as it prints it, until it ends."""
        from aiohttp import ClientError

        self.status(job_id)
        chunks = self._ask(lambda client: client.tail_job_logs(job_id))
        loop = asyncio.new_event_loop()
        try:
            while True:
                try:
                    yield loop.run_until_complete(anext(chunks))
                except StopAsyncIteration:
                    return
                except (RuntimeError, OSError, ClientError) as error:
                    raise self._silent(error) from error
        finally:
            loop.run_until_complete(chunks.aclose())
            loop.close()

    def stop(self, job_id: str) -> bool:
        """Ask a job to end (SIGTERM, then SIGKILL); return False where it had ended before."""
        stopped: bool = self._of(job_id, lambda client: client.stop_job(job_id))
        return stopped

    def wait(self, job_id: str, timeout_s: float) -> int:
        """Return the exit code once the job has ended; raise TransientError where that takes longer."""
        deadline = time.monotonic() + timeout_s
        while (code := (info := self.status(job_id)).exit_code) is None:
            if time.monotonic() >= deadline:
                raise TransientError(
                    f"job '{job_id}' is {info.status} after {timeout_s:g} s; wait longer or stop it",
                    job_id=job_id,
                    status=info.status,
                )
            time.sleep(POLL_S)
        return code

    def _equal(self, submission_id: str, entrypoint: str) -> str | None:
        """Return the id where that job is there already."""
        try:
            info = self.status(submission_id)
        except UnknownNameError:
            return None
        if info.entrypoint != entrypoint:
            raise ConfigError(
                f"submission id '{submission_id}': got the command '{entrypoint}', expected '{info.entrypoint}', "
                "which has that id already; choose another id",
                submission_id=submission_id,
            )
        return submission_id

    def _of(self, job_id: str, question: Callable[[Any], T]) -> T:
        try:
            return self._ask(question)
        except RuntimeError as error:
            known = [info.job_id for info in self.list()]
            if job_id not in known:
                raise UnknownNameError.of("job", job_id, known) from error
            raise _unexpected(error) from error

    def _ask(self, question: Callable[[Any], T]) -> T:
        # The client's HTTP errors are OSErrors, its time-outs too.
        try:
            if self._connection is None:
                self._connection = _connect(self._url)
            return question(self._connection)
        except OSError as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> TransientError:
        return TransientError(f"the dashboard at {self._url} does not answer: {error}", url=self._url)


def _connect(url: str) -> Any:
    import ray
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):  # type: ignore[misc]  # ray has no types
        """Ray's client, bound to one address and to a time-out."""

        def __init__(self) -> None:
            # Not the parent's own constructor: there RAY_ADDRESS beats the address that is asked for.
            self._client_ray_version = ray.__version__
            super(JobSubmissionClient, self).__init__(address=url)
            self._ssl_context = True  # the parent's None is what aiohttp warns of
            self._check_connection_and_version()

        def _do_request(self, *args: Any, **options: Any) -> Any:
            return super()._do_request(*args, **{"timeout": REQUEST_TIMEOUT_S} | options)

    return Client()


def _info(details: Any) -> JobInfo:
    status = str(getattr(details.status, "value", details.status))
    code = details.driver_exit_code
    if code is None:
        code = {"SUCCEEDED": 0, "STOPPED": EXIT_STOPPED, "FAILED": EXIT_FAILED}.get(status)
    return JobInfo(
        job_id=details.submission_id,
        status=status,
        entrypoint=details.entrypoint,
        message=details.message or "",
        exit_code=code,
        started_s=details.start_time / 1000 if details.start_time else None,
        ended_s=details.end_time / 1000 if details.end_time else None,
        metadata=dict(details.metadata or {}),
    )


def check_working_dir(folder: Path) -> None:
    """Raise ConfigError for a folder that is not there or that a job would hang in."""
    if not folder.is_dir():
        raise ConfigError(f"working_dir: got '{folder}', expected a folder", working_dir=str(folder))
    for entry in sorted(folder.iterdir()):
        module = entry.stem if entry.suffix == ".py" else entry.name if (entry / "__init__.py").is_file() else ""
        if module in sys.stdlib_module_names and module not in HARMLESS:
            raise ConfigError(
                f"working_dir: got '{entry.name}' at the top of '{folder}', expected no module named as Python's "
                f"own '{module}': the job would import it in place of that one, and hang; rename it",
                working_dir=str(folder),
                module=module,
            )


def _unexpected(error: RuntimeError) -> TransientError:
    return TransientError(f"the dashboard could not do that: {error}")
