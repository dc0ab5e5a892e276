"""How far from the best value is a search after 50 trials: ours, Optuna's Gaussian process and TPE, and random.

One trial at a time. Simple regret is the exact value, above the lowest, at the trial with the lowest value seen;
noise is the same for all. Optuna's samplers run in Optuna's own loop with their defaults. Each seed of a problem is
kept when it is done, and done again when the searcher's code has changed: an interrupted run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from benchmarks.measure import Benchmark, Pair
from benchmarks.partial import code_hash, kept
from benchmarks.search_problems import PROBLEMS, Problem

TRIALS = 50
OURS, OPTUNA_GP, OPTUNA_TPE, RANDOM = "gaussian_process", "optuna_gp", "optuna_tpe", "random"
FLOOR = 1e-7
"""Regret below this is none: the lowest values are known to eight digits."""
Course = Callable[[Problem, int], list[tuple[float, float]]]
"""(problem, seed) -> (seen, exact) of each trial."""


def _seen(problem: Problem, params: dict[str, Any], seed: int, rng: np.random.Generator) -> tuple[float, float]:
    exact = problem.value(params, seed)
    return exact + problem.noise * float(rng.standard_normal()), exact


def _ours(problem: Problem, seed: int) -> list[tuple[float, float]]:
    from training.core.space import parameters
    from tuning.search.members import open_search
    from tuning.search.outcome import Outcome

    policy, rng, course = open_search(OURS, problem.space, seed=seed), np.random.default_rng(seed), []
    for _ in range(TRIALS):
        draw = policy.ask()
        assert draw is not None
        course.append(_seen(problem, parameters(problem.space, draw), seed, rng))
        policy.tell(draw, Outcome(values=course[-1][:1]))
    return course


def _optuna(sampler: str, **options: Any) -> Course:
    def run(problem: Problem, seed: int) -> list[tuple[float, float]]:
        import optuna

        from training.core.space import parameters
        from tuning.spaces import suggest

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed, **options))
        rng, course = np.random.default_rng(seed), []
        for _ in range(TRIALS):
            trial = study.ask()
            params = parameters(problem.space, suggest(trial, problem.space))
            course.append(_seen(problem, params, seed, rng))
            study.tell(trial, course[-1][0])
        return course

    return run


SEARCHERS: dict[str, Course] = {
    OURS: _ours,
    OPTUNA_GP: _optuna("GPSampler"),
    OPTUNA_TPE: _optuna("TPESampler"),
    RANDOM: _optuna("RandomSampler"),
}


def regret(problem: str, searcher: str, seed: int) -> float:
    """Return the simple regret of one search, kept once it is known."""
    from importlib.metadata import version

    import torch

    torch.set_num_threads(1)
    code = code_hash(("benchmarks/search_problems.py",))
    ours = code_hash(("tuning/search/*.py", "training/core/cube.py")) if searcher == OURS else version("optuna")

    def compute() -> float:
        return max(min(SEARCHERS[searcher](PROBLEMS[problem], seed))[1], FLOOR)

    return float(kept("regret", f"{problem}/{searcher}/{seed}/{code}/{ours}", compute))


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - regret does not depend on the order
    """Compare all searchers on all problems; a figure is ours over theirs, and the baseline 1."""
    found = {problem: {name: regret(problem, name, seed) for name in SEARCHERS} for problem in PROBLEMS}
    ours: dict[str, float | None] = {
        f"all/{OPTUNA_GP}": geometric_mean(each[OURS] / each[OPTUNA_GP] for each in found.values())
    }
    for problem, each in found.items():
        for other in (OPTUNA_GP, OPTUNA_TPE, RANDOM):
            ours[f"{problem}/{other}"] = each[OURS] / each[other]
    return Pair(seed=seed, baseline=1.0, ours=ours, notes=found)


def summary(pairs: list[Pair]) -> dict[str, Any]:
    """Return each problem's median regrets, and on how many problems ours is the lower one."""
    medians: dict[str, dict[str, float]] = {
        problem: {
            name: median(each.notes[problem][name] for each in pairs)  # type: ignore[index]
            for name in SEARCHERS
        }
        for problem in PROBLEMS
    }
    below = {
        other: sum(each[OURS] <= each[other] for each in medians.values()) for other in SEARCHERS if other != OURS
    }
    return {
        "median_regret": {
            problem: {name: float(f"{value:.3g}") for name, value in each.items()}
            for problem, each in medians.items()
        },
        "not_worse_on": below,
        "of": len(PROBLEMS),
    }


BENCHMARK = Benchmark(
    name="regret",
    question="simple regret after 50 trials on five problems, ours over Optuna's",
    goal=1.0,
    pair=pair,
    summary=summary,
)
