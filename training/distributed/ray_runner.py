"""The runner of a cluster: the same loop on Ray Train workers, one rank each."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

from cluster.errors import ConfigError, HeliotropeError, PermanentError, TransientError, UserError
from training.core.artifact import from_bytes, to_bytes
from training.core.component import State
from training.core.runner import Backend, Loop, Run, Runner
from training.distributed.checkpoints import CheckpointFolder
from training.distributed.journal import Journal
from training.distributed.local import OnReport

TRAIN_SETTINGS = {
    # Ray Train's defaults: never, and 2 s. A rank that waits for a dead one must end; a finished run be noticed.
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "600",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
}
COLLECTIVE_TIMEOUT_S = 600
POLL_S = 0.2
ABANDON_S = 60.0
"""How long a driver that was interrupted waits for its workers to finish the step they are at."""


class RayRunner(Runner):
    """Runs a loop on the workers of the Ray cluster that this process is connected to.

    The job's arrays lie once in the object store and are read by every worker of a machine without a copy. The
    newest checkpoint in the run's folder is the source of truth: after the death of a worker or of a machine the
    group starts again from it, and a run of the same name, loop and job started by another driver does so too.
    Ray Train's own checkpoints are not used: they are registered seconds after they were reported.

    Parameters
    ----------
    num_workers
        How many, or the fewest and the most: an elastic group goes on with the machines that are left.
    storage
        Folder on storage that the driver and all workers see. The run's files are under `storage/name`.
    name
        The run's name.
    use_gpu
        One GPU a worker, with NCCL; without, gloo. None takes GPUs where the cluster has one for each worker.
    cpus_per_worker
        Also the number of torch's or xgboost's threads in each worker.
    max_failures
        Deaths of workers or machines that are made good before the run is given up; -1 for no limit.
    on_report
        Hears of each finished step, in the thread that called `run`, a step that was repeated after a death
        again. What it raises ends the training after the step the workers are at.
    """

    def __init__(
        self,
        *,
        num_workers: int | tuple[int, int],
        storage: Path | str,
        name: str,
        use_gpu: bool | None = None,
        cpus_per_worker: float = 1,
        max_failures: int = 3,
        on_report: OnReport | None = None,
    ) -> None:
        fewest = num_workers if isinstance(num_workers, int) else num_workers[0]
        most = num_workers if isinstance(num_workers, int) else num_workers[1]
        if not 1 <= fewest <= most:
            raise ConfigError(
                f"num_workers: got {num_workers}, expected 1 or more, or (fewest, most)", field="num_workers"
            )
        self.num_workers = num_workers
        self.storage = Path(storage).absolute()
        self.name = name
        self.use_gpu = use_gpu
        self.cpus_per_worker = cpus_per_worker
        self.max_failures = max_failures
        self.on_report = on_report

    def run(self, loop: Loop, job: dict[str, Any], *, backend: Backend) -> State:
        """Return what `loop` returned on rank 0.

        An error of ours that `loop` raises on every rank ends the run and is raised here; any other error of a
        worker counts as a death.

        Raises
        ------
        ConfigError
            This process is not connected to a cluster.
        TrainingDiverged
            The loss became NaN or infinite.
        TransientError
            Workers died more often than `max_failures`, or the cluster could not start them.
        """
        import ray

        if not ray.is_initialized():
            raise ConfigError("no Ray cluster: start or attach one before training, or use LocalRunner")
        folder = CheckpointFolder(self.storage / self.name).of_job(loop, job)
        journal = Journal(folder.path)
        journal.open()
        work = {"loop": loop, "job": ray.put(job), "folder": str(folder.path), "keep": folder.keep}
        own = folder.path / f"ray-{uuid.uuid4().hex}"  # never Ray's own resume: ours decides
        try:
            outcome = self._follow(_start(self._trainer(work, backend, own)), journal)
        finally:
            shutil.rmtree(own, ignore_errors=True)  # a marker file of Ray Train's, nothing of ours
        if isinstance(outcome, HeliotropeError):
            raise outcome
        return from_bytes(outcome)

    def _trainer(self, work: dict[str, Any], backend: Backend, own: Path) -> Any:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig

        for name, value in TRAIN_SETTINGS.items():
            os.environ.setdefault(name, value)
        most = self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]
        use_gpu = self.use_gpu
        if use_gpu is None:
            use_gpu = ray.cluster_resources().get("GPU", 0) >= most
        common = {
            "train_loop_config": work,
            "scaling_config": ScalingConfig(
                num_workers=self.num_workers,
                use_gpu=use_gpu,
                resources_per_worker={"CPU": self.cpus_per_worker} | ({"GPU": 1} if use_gpu else {}),
            ),
            "run_config": RunConfig(
                name=own.name,
                storage_path=str(own.parent),
                failure_config=FailureConfig(max_failures=self.max_failures),
            ),
        }
        if backend == "xgboost":
            from ray.train.xgboost import XGBoostTrainer

            return XGBoostTrainer(work_as_rank, **common)
        from ray.train.torch import TorchConfig, TorchTrainer

        return TorchTrainer(work_as_rank, torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_S), **common)

    def _follow(self, fit: Future[Any], journal: Journal) -> Any:
        """Tell the reports until the workers are done; return what rank 0 returned."""
        try:
            while not wait([fit], timeout=POLL_S).done:
                self._tell(journal)
            self._tell(journal)
        except BaseException:
            journal.ask_to_stop()
            wait([fit], timeout=ABANDON_S)
            raise
        try:
            return fit.result()
        except Exception as error:
            raise translated(error, self.name) from error

    def _tell(self, journal: Journal) -> None:
        for step, metrics in journal.unread():
            if self.on_report:
                self.on_report(step, metrics)


class RayRun(Run):
    """What a worker's loop sees. Ranks move together: each call is a barrier.

    Parameters
    ----------
    folder, journal
        On shared storage; rank 0 writes, all read.
    """

    def __init__(self, folder: CheckpointFolder, journal: Journal) -> None:
        from ray.train import get_context

        self.rank = get_context().get_world_rank()
        self.world_size = get_context().get_world_size()
        self._folder = folder
        self._journal = journal

    def resumed(self) -> State | None:
        """Return the checkpoint that rank 0 finds newest, on all ranks the same."""
        from ray.train.collective import broadcast_from_rank_zero

        found = self._folder.newest() if self.rank == 0 else None
        step = broadcast_from_rank_zero(found.step if found else None)
        if step is None or found:
            return found.state if found else None
        return self._folder.load(step).state

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: State | None = None) -> None:
        """Save on rank 0, then let all ranks go on together, or stop together where the driver asked for it."""
        from ray.train.collective import broadcast_from_rank_zero

        stop = False
        if self.rank == 0:
            if checkpoint is not None:
                self._folder.save(step, checkpoint)
            self._journal.write(step, metrics)
            stop = self._journal.stop_asked()
        if broadcast_from_rank_zero(stop):
            raise _Stopped


class _Stopped(Exception):  # noqa: N818 - not an error: the driver asked for it
    """Ends a worker whose driver has gone on."""


def work_as_rank(work: dict[str, Any]) -> bytes | HeliotropeError | None:
    """Run the loop as one worker; return the packed state, or the error of ours that no new try would mend."""
    import ray

    folder = CheckpointFolder(work["folder"], keep=work["keep"])
    try:
        state = work["loop"](RayRun(folder, Journal(folder.path)), ray.get(work["job"]))
    except (UserError, PermanentError) as error:
        return error
    except _Stopped:
        return None
    return to_bytes(state)


def _start(trainer: Any) -> Future[Any]:
    """Run `trainer.fit` in a thread of its own.

    In the main thread Ray Train would take over Ctrl-C for the rest of the process's life, and the reports would
    have nobody to tell them.
    """
    future: Future[Any] = Future()

    def fit() -> None:
        try:
            future.set_result(trainer.fit().return_value)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            future.set_exception(error)

    threading.Thread(target=fit, name="ray-train-fit", daemon=True).start()
    return future


def translated(error: Exception, name: str) -> HeliotropeError:
    """Return the error of ours for what Ray Train raised."""
    from ray.train import TrainingFailedError

    failures = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause = getattr(failure, "cause", None) or failure
        if isinstance(cause, HeliotropeError):
            return cause
    if not isinstance(error, TrainingFailedError):
        return PermanentError(f"training '{name}' failed: {type(error).__name__}: {error}", run=name)
    told = "; ".join(f"rank {rank}: {failure!r}" for rank, failure in failures.items()) or str(error)
    return TransientError(
        f"training '{name}' was given up after its workers failed too often: {told}. "
        "Run it again to go on from its last checkpoint, or raise max_failures",
        run=name,
    )
