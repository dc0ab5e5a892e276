"""Seconds an epoch with two Ray Train workers, over those with one: one torch thread each, on two cores.

All train the default network on the same windows through `RayRunner` on a local Ray of two CPUs. Two workers share
batches of 512; one worker takes the same, and half, which its cache likes better: the quicker of these two is the
baseline. An epoch is all that one costs: learning, the validation loss, the checkpoint on storage, the report. The
first epoch is left out, and so is the start of workers and process groups, which is told apart: from asking until
the first epoch begins.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Benchmark, Pair
from cluster.lifecycle import Cluster
from cluster.settings import Settings
from training.core.component import State
from training.core.runner import Backend, Loop, Run, Runner
from training.core.splits import chronological_split
from training.data.bundled import load_sample
from training.distributed.ray_runner import RayRunner
from training.models.lstm import LSTM

TARGET, HORIZON, EPOCHS = "NOX", 24, 8
MODEL: dict[str, Any] = {"max_epochs": EPOCHS, "patience": EPOCHS, "stride": 2}
SETTINGS = {"one": (1, 512), "one_half_batch": (1, 256), "two_workers": (2, 512)}
"""Workers, and windows in a batch of all together."""
REACH, AIM = 1.6, 1.8


class TimedRunner(Runner):
    """Runs a loop elsewhere and keeps when it began and ended its epochs, by the clock of rank 0's machine."""

    def __init__(self, inner: Runner) -> None:
        self.inner = inner
        self.marks_s: list[float] = []

    def run(self, loop: Loop, job: dict[str, Any], *, backend: Backend) -> State:
        """Return what the loop returned."""

        def timed(run: Run, job: dict[str, Any]) -> State:  # in here, so that Ray sends its code
            import time

            tell, marks_s = run.report, [time.time()]

            def report(step: int, metrics: Mapping[str, float], checkpoint: State | None = None) -> None:
                tell(step, metrics, checkpoint)
                marks_s.append(time.time())

            run.report = report  # type: ignore[method-assign]  # the clock's hand on the worker's own object
            return {"learned": loop(run, job), "marks_s": marks_s}

        timed.__qualname__ = f"timed-{loop.__qualname__}"
        state = self.inner.run(timed, job, backend=backend)
        self.marks_s = list(state["marks_s"])
        learned: State = state["learned"]
        return learned


def epochs_s(workers: int, batch_size: int, seed: int) -> tuple[list[float], float]:
    """Return the seconds of each epoch but the first, and those until the first began."""
    panel = load_sample("gas_turbine").for_target(TARGET)
    split = chronological_split(panel)
    model = LSTM(seed=seed, batch_size=batch_size, **MODEL)
    windows = panel.windows(model.context + HORIZON)
    train = windows.ahead_within(HORIZON, until=split.validation_start)
    late = windows.ahead_within(HORIZON, since=split.validation_start, until=split.calibration_start)
    with tempfile.TemporaryDirectory() as folder:
        runner = TimedRunner(RayRunner(num_workers=workers, storage=folder, name=f"workers-{workers}"))
        asked_s = time.time()
        model.fit(train, horizon=HORIZON, targets=(TARGET,), validation=late, runner=runner)
    return np.diff(runner.marks_s)[1:].tolist(), runner.marks_s[0] - asked_s


def pair(seed: int, baseline_first: bool) -> Pair:
    """Train with one and with two workers, in this order or the other."""
    found = {}
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.from_environment({"ML_HOME": str(Path(home)), "ML_DASHBOARD_PORT": "0"})
        with Cluster.open(settings, num_cpus=2, dashboard=False):
            for name in SETTINGS if baseline_first else reversed(SETTINGS):
                found[name] = epochs_s(*SETTINGS[name], seed)
    middle = {name: float(np.median(each)) for name, (each, _) in found.items()}
    baseline = min(middle["one"], middle["one_half_batch"])
    return Pair(
        seed=seed,
        baseline=baseline,
        ours={"two_workers": middle["two_workers"]},
        notes={
            "speed_up": round(baseline / middle["two_workers"], 3),
            "speed_up_same_batch": round(middle["one"] / middle["two_workers"], 3),
            "epoch_s": {name: [round(seconds, 3) for seconds in each] for name, (each, _) in found.items()},
            "start_s": {name: round(start_s, 1) for name, (_, start_s) in found.items()},
            "load_1min": os.getloadavg()[0],
        },
    )


BENCHMARK = Benchmark(
    name="two_workers",
    question=f"seconds an epoch with two Ray workers over those with one; speed-up {REACH} to reach, {AIM} the aim",
    goal=1 / REACH,
    pair=pair,
)
