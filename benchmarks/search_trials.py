"""How many trials our search needs to find what random search finds in 100: XGBoost and an LSTM on the gas turbine.

NOX a day ahead, WAPE on the first hours of the validation part after a short training part, so that a trial costs
tenths of a second; the test part is not looked at. Both search the model's own space; the LSTM's networks are an
eighth as wide. Each model has a fixed seed, so that a trial is a function of its parameters, and each search starts
from points of its own seed, without the model's defaults. A search that has not got there after 100 trials counts
as 100. Each search is kept when it is done: an interrupted run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from statistics import geometric_mean, median
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import Benchmark, Pair
from benchmarks.partial import code_hash, kept
from training.core.cube import Cube
from training.core.metrics import wape
from training.core.panel import Panel
from training.core.space import Choice, Space, Whole, parameters
from training.core.splits import Split
from training.models import MODELS

TRIALS, HORIZON = 100, 24
BAR, AIM = 1 / 3, 1 / 5


@dataclass(frozen=True, kw_only=True)
class Task:
    """A model to tune.

    Parameters
    ----------
    space
        What is searched.
    fixed
        Arguments that stay.
    train_hours, judged_hours
        Sizes of the training part and of what is forecast.
    """

    space: Space
    fixed: Mapping[str, Any]
    train_hours: int
    judged_hours: int


@cache
def tasks() -> dict[str, Task]:
    """Return the tasks by the models' names."""
    narrow: Space = {"hidden": Choice(((16, 8), (32, 16))), "dense": Whole(4, 16, log=True)}
    return {
        "xgboost": Task(
            space=MODELS.load("xgboost").search_space(),
            fixed={"strategy": "recursive", "rounds": 60, "patience": 10, "seed": 0},
            train_hours=2000,
            judged_hours=700,
        ),
        "lstm": Task(
            space=MODELS.load("lstm").search_space() | narrow,
            fixed={"max_epochs": 3, "batch_size": 64, "stride": 8, "seed": 0},
            train_hours=800,
            judged_hours=200,
        ),
    }


@cache
def _data() -> tuple[Panel, Split]:
    from training.core.splits import chronological_split
    from training.data.bundled import load_sample

    panel = load_sample("gas_turbine").for_target("NOX")
    return panel, chronological_split(panel)


def error(name: str, params: Mapping[str, Any]) -> float:
    """Return the WAPE of one trial."""
    from training.core.component import build
    from training.distributed.local import LocalRunner

    task, (panel, split) = tasks()[name], _data()
    start = split.validation_start
    model = build(MODELS, name, {**task.fixed, **params})
    windows = panel.windows(model.context + HORIZON)
    train = windows.ahead_within(HORIZON, since=start - pd.Timedelta(hours=task.train_hours), until=start)
    judged = windows.ahead_within(HORIZON, since=start, until=start + pd.Timedelta(hours=task.judged_hours))
    model.fit(
        train,
        horizon=HORIZON,
        targets=panel.schema.target_names,
        known=(),
        validation=judged,
        runner=LocalRunner(lambda _step, _metrics: None),
    )
    context, actual = model.split(judged)
    return float(wape(actual, model.predict(context)))


def random_best(name: str, seed: int) -> tuple[float, int]:
    """Return the lowest error of 100 random points, and which trial found it."""
    task = tasks()[name]
    cube, rng = Cube(task.space), np.random.default_rng([11, seed])
    found = [error(name, parameters(task.space, cube.decode(rng.random(cube.width)))) for _ in range(TRIALS)]
    return min(found), int(np.argmin(found)) + 1


def needed(name: str, seed: int, goal: float) -> tuple[int, bool]:
    """Return how many trials our search needs to reach `goal`, and whether it does within 100."""
    from tuning.search.members import open_search
    from tuning.search.outcome import Outcome

    task = tasks()[name]
    policy = open_search("gaussian_process", task.space, seed=seed)
    for trial in range(1, TRIALS + 1):
        draw = policy.ask()
        assert draw is not None
        found = error(name, parameters(task.space, draw))
        if found <= goal:
            return trial, True
        policy.tell(draw, Outcome(values=(found,)))
    return TRIALS, False


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - trials do not depend on the order
    """Count the trials for both models; the baseline is random search's 100."""
    import torch

    torch.set_num_threads(1)
    task_code = code_hash(("benchmarks/search_trials.py", "training/models/lstm*.py", "training/models/*boost*.py"))
    search_code = code_hash(("tuning/search/*.py", "training/core/cube.py"))
    counts: dict[str, float] = {}
    notes: dict[str, object] = {}
    for name in tasks():
        key = f"{name}/{seed}/{task_code}"
        goal, at = kept("search_trials", f"random/{key}", partial(random_best, name, seed))
        count, reached = kept(
            "search_trials",
            f"ours/{key}/{search_code}",
            partial(needed, name, seed, goal),
        )
        counts[name] = count
        notes[name] = {"goal_wape": round(goal, 5), "random_found_it_at": at, "reached": reached}
    return Pair(
        seed=seed, baseline=float(TRIALS), ours={"both": geometric_mean(counts.values()), **counts}, notes=notes
    )


def summary(pairs: list[Pair]) -> dict[str, object]:
    """Return the median trials of each model, and whether the bar and the aim are met."""
    trials = {name: median(each.ours[name] or TRIALS for each in pairs) for name in tasks()}
    worst = max(trials.values()) / TRIALS
    return {
        "median_trials": trials,
        "reached_in": {name: sum(each.notes[name]["reached"] for each in pairs) for name in tasks()},  # type: ignore[index]
        "bar_a_third": "reached" if worst <= BAR else "MISSED",
        "aim_a_fifth": "reached" if worst <= AIM else "MISSED",
    }


BENCHMARK = Benchmark(
    name="search_trials",
    question="trials our search needs for random search's best of 100, over 100",
    goal=BAR,
    pair=pair,
    summary=summary,
)
