"""How long one proposal takes at 200 observations of 8 parameters on one core, against Optuna's Gaussian process.

Medians of five proposals, each answered before the next; the observations are the same for both. Both are kept to
one thread, and processor seconds are counted: what a clock shows on a core of one's own, whatever runs beside.
Install greenlet to be fair: without it Optuna's sampler takes more than twice as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measure import Benchmark, Pair
from training.core.cube import Cube
from training.core.space import Draw, Real, Space

OBSERVATIONS, PARAMETERS, PROPOSALS = 200, 8, 5
BAR_S, AIM_S = 0.5, 0.2
SPACE: Space = {f"x{at}": Real(0.0, 1.0) for at in range(PARAMETERS)}


def _value(draw: Draw) -> float:
    point = np.array(list(draw.values()))
    return float(np.square(point - 0.3).sum() + 0.3 * np.sin(9 * point).sum())


def _history(seed: int) -> list[Draw]:
    cube, rng = Cube(SPACE), np.random.default_rng(seed)
    return [cube.decode(rng.random(PARAMETERS)) for _ in range(OBSERVATIONS)]


def _seconds(ask: Callable[[], Draw], tell: Callable[[Draw], None]) -> float:
    tell(ask())  # the first one imports and warms
    found = []
    for _ in range(PROPOSALS):
        started = time.process_time()
        draw = ask()
        found.append(time.process_time() - started)
        tell(draw)
    return median(found)


def _ours_s(seed: int, *, pending: int = 0, **options: Any) -> float:
    from tuning.search.members import open_search
    from tuning.search.outcome import Outcome

    policy = open_search("gaussian_process", SPACE, seed=seed, **options)
    for draw in _history(seed):
        policy.tell(draw, Outcome(values=(_value(draw),)))
    waiting = _history(seed + 1000)[:pending]

    def ask() -> Draw:
        draw = policy.ask(waiting)
        assert draw is not None
        return draw

    return _seconds(ask, lambda draw: policy.tell(draw, Outcome(values=(_value(draw),))))


def _optuna_s(seed: int) -> float:
    import optuna

    from tuning.spaces import distribution, suggest

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.GPSampler(seed=seed))
    known = {name: distribution(dimension) for name, dimension in SPACE.items()}
    for draw in _history(seed):
        study.add_trial(optuna.trial.create_trial(params=draw, distributions=known, value=_value(draw)))
    trials: list[Any] = []

    def ask() -> Draw:
        trials.append(study.ask())
        return suggest(trials[-1], SPACE)

    def tell(draw: Draw) -> None:
        study.tell(trials[-1], _value(draw))

    return _seconds(ask, tell)


def pair(seed: int, baseline_first: bool) -> Pair:
    """Time both, in turn first."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        return _timed(seed, baseline_first)


def _timed(seed: int, baseline_first: bool) -> Pair:
    theirs = _optuna_s(seed) if baseline_first else None
    ours: dict[str, float | None] = {
        "expected_improvement": _ours_s(seed),
        "eight_pending": _ours_s(seed, pending=8),
        "upper_confidence_bound": _ours_s(seed, acquisition="upper_confidence_bound"),
        "probability_of_improvement": _ours_s(seed, acquisition="probability_of_improvement"),
    }
    baseline = _optuna_s(seed) if theirs is None else theirs
    return Pair(seed=seed, baseline=baseline, ours=ours)


def summary(pairs: list[Pair]) -> dict[str, object]:
    """Return the median seconds of each, and whether the bar and the aim are met."""
    seconds = {name: round(median(each.ours[name] or 0.0 for each in pairs), 4) for name in pairs[0].ours}
    slowest = max(seconds.values())
    return {
        "median_s": seconds | {"optuna_gp": round(median(each.baseline for each in pairs), 4)},
        "bar_s": f"{BAR_S}: {'reached' if slowest <= BAR_S else 'MISSED'}",
        "aim_s": f"{AIM_S}: {'reached' if slowest <= AIM_S else 'MISSED'}",
    }


BENCHMARK = Benchmark(
    name="proposals",
    question="seconds a proposal at 200 observations of 8 parameters, ours over Optuna's Gaussian process",
    goal=1.0,
    pair=pair,
    summary=summary,
)
