"""What sequential analysis is worth: false winners among equal arms when one looks every day, and days saved.

A/A experiments of 28 days, 500 units an arm and day, looked at every evening: a proportion (10 %), a long-tailed
mean with a covariate that explains half of it (CUPED), and a ratio of clicks to views by user. The rival is the
usual test at 5 % for a fixed horizon, looked at as often. Then the same with an effect of the size that was planned
for: how many winners, and after how many days. Last a Thompson bandit of three arms: outcomes gained over an even
split, how often its intervals miss at any look (from 200 units an arm on, as experiments look), and how far a
losing arm's plain mean is off.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks.measure import Benchmark, Pair
from serve_deployments.experiments.bandit import WeightedArms, thompson_shares
from serve_deployments.experiments.design import LEAST, fixed_size, sequential_size
from serve_deployments.experiments.estimates import Estimate, adjusted, mean, ratio
from serve_deployments.experiments.moments import Floats, Moments
from serve_deployments.experiments.normal_mixture import interval, log_evidence

RUNS, DAYS, UNITS = 2000, 28, 500
ALPHA = 0.05
BANDIT_RUNS, BANDIT_BATCHES, BANDIT_BATCH = 200, 60, 50
BANDIT_RATES = (0.10, 0.10, 0.15)
Draw = Callable[[np.random.Generator, float], Floats]


def _proportion(rng: np.random.Generator, effect: float) -> Floats:
    """Return (RUNS, UNITS, 1): whether each unit of a day had the outcome."""
    return (rng.random((RUNS, UNITS, 1)) < 0.10 + effect).astype(np.float64)


def _mean(rng: np.random.Generator, effect: float) -> Floats:
    """Return (RUNS, UNITS, 2): what units spent, and what they spent before."""
    usual = rng.gamma(2.0, 1.0, (RUNS, UNITS))
    spent = usual * rng.lognormal(-0.125, 0.5, (RUNS, UNITS)) + effect
    return np.stack([spent, usual], axis=-1)


def _ratio(rng: np.random.Generator, effect: float) -> Floats:
    """Return (RUNS, UNITS, 2): clicks and views of users who differ in both."""
    views = rng.poisson(rng.gamma(2.0, 2.5, (RUNS, UNITS))) + 1
    clicks = rng.binomial(views, np.clip(rng.beta(2.0, 18.0, (RUNS, UNITS)) + effect, 0.0, 1.0))
    return np.stack([clicks, views], axis=-1).astype(np.float64)


METRICS: dict[str, tuple[Draw, float, int]] = {
    "proportion": (_proportion, 0.012, 1),
    "mean": (_mean, 0.08, 2),
    "mean, CUPED": (_mean, 0.08, 2),
    "ratio": (_ratio, 0.006, 2),
}
"""Metric -> how it is drawn, the effect planned for, and how many numbers a unit brings."""


def _experiments(rng: np.random.Generator, name: str, effect: float) -> dict[str, Floats]:
    """Return, by method, the day (from 1) on which each run has a winner; infinite where it has none."""
    draw, scale, width = METRICS[name]
    arms = [Moments(width, (RUNS,)) for _ in range(2)]
    days = {
        "sequential": np.full(RUNS, np.inf),
        "fixed, peeked": np.full(RUNS, np.inf),
        "fixed": np.full(RUNS, np.inf),
    }
    z = NormalDist().inv_cdf(1 - ALPHA / 2)
    for day in range(1, DAYS + 1):
        for arm, more in zip(arms, (0.0, effect), strict=True):
            arm.update(draw(rng, more))
        gap = _gap(name, arms)
        told = {
            "sequential": log_evidence(gap, scale=scale) >= log(1 / ALPHA),
            "fixed, peeked": np.abs(gap.value) > z * np.sqrt(gap.variance),
            "fixed": (np.abs(gap.value) > z * np.sqrt(gap.variance)) & (day == DAYS),
        }
        for method, wins in told.items():
            days[method] = np.where(wins & np.isinf(days[method]), day, days[method])
    return days


def _gap(name: str, arms: list[Moments]) -> Estimate:
    if name == "ratio":
        return ratio(arms[1]) - ratio(arms[0])
    if name != "mean, CUPED":
        return mean(arms[1]) - mean(arms[0])
    pooled = Moments(2, (RUNS,))
    for arm in arms:
        pooled.merge(arm)
    return adjusted(arms[1], pooled) - adjusted(arms[0], pooled)


def _told(days: dict[str, Floats]) -> dict[str, dict[str, float]]:
    return {
        method: {
            "winners": float(np.isfinite(each).mean()),
            "mean_days": float(np.minimum(each, DAYS).mean()),
        }
        for method, each in days.items()
    }


def _bandit(rng: np.random.Generator) -> dict[str, float]:
    """Return what a bandit gained over an even split, and how honest its means are."""
    gained, missed, plain, scored = [], 0, [], []
    for run in range(BANDIT_RUNS):
        arms, shares, total, ever = WeightedArms(("a", "b", "c")), dict.fromkeys("abc", 1 / 3), 0.0, False
        counts = np.zeros((3, 2))
        for batch in range(BANDIT_BATCHES):
            given = rng.choice(3, BANDIT_BATCH, p=list(shares.values()))
            outcomes = (rng.random(BANDIT_BATCH) < np.array(BANDIT_RATES)[given]).astype(np.float64)
            total += outcomes.sum()
            arms.update(given, outcomes, shares)
            for place in range(3):
                counts[place] += (given == place).sum(), outcomes[given == place].sum()
            found = {arm: arms.estimate(arm) for arm in arms.arms}
            low, high = interval(found["a"], alpha=ALPHA, scale=0.05)
            ever |= counts[:, 0].min() >= LEAST and not float(low) <= BANDIT_RATES[0] <= float(high)
            shares = thompson_shares(found, seed=1000 * run + batch)
        units = BANDIT_BATCHES * BANDIT_BATCH
        gained.append(total / (units * float(np.mean(BANDIT_RATES))) - 1)
        missed += ever
        plain.append(counts[0, 1] / counts[0, 0] - BANDIT_RATES[0])
        scored.append(float(found["a"].value) - BANDIT_RATES[0])
    return {
        "gain_over_even_split": float(np.mean(gained)),
        "intervals_missed_at_any_look": missed / BANDIT_RUNS,
        "bias_of_plain_mean": float(np.mean(plain)),
        "bias_of_weighted_mean": float(np.mean(scored)),
    }


def _pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - both are read from the same experiments
    rng = np.random.default_rng(700 + seed)
    equal = {name: _told(_experiments(rng, name, 0.0)) for name in METRICS}
    better = {name: _told(_experiments(rng, name, effect)) for name, (_, effect, _) in METRICS.items()}
    worst: dict[str, Any] = max(equal.values(), key=lambda each: each["sequential"]["winners"])
    return Pair(
        seed=seed,
        baseline=float(np.mean([each["fixed, peeked"]["winners"] for each in equal.values()])),
        ours={"sequential": float(np.mean([each["sequential"]["winners"] for each in equal.values()]))},
        notes={
            "most false winners of a metric, sequential": worst["sequential"]["winners"],
            "equal arms": equal,
            "better arm": better,
            "units an arm for the proportion": {
                "one look": fixed_size(variance=0.09, effect=0.012),
                "all the time, at most": sequential_size(variance=0.09, effect=0.012),
            },
            "bandit": _bandit(rng),
        },
    )


BENCHMARK = Benchmark(
    name="experiments",
    question="false winners of A/A experiments looked at daily, against a fixed-horizon test looked at as often",
    goal=0.25,
    pair=_pair,
)
