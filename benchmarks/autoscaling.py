"""Late requests at equal replica-seconds: our scaling policy with a forecast of the rate, and without.

The load has the shape of a business process (activities per 5 minutes, `workload/bizitobs_l2c.csv`), 150 times as
fast: 5 minutes become 2 s, a day 10 minutes. A replica's start-up of some seconds is then to the day what a
quarter of an hour is to a real one: that of a new machine with a large model. At the recorded speed nothing
changes within the seconds that our replicas take, and both policies are the same. Requests are a Poisson stream of
that rate, scaled to a mean of 40 a second, 0.1 s of a replica's work each. Start-up is measured here: a new
process imports the deployments, loads an ensemble of trees and a ridge, and warms it up. The one knob of both
policies, requests inside a replica, draws a curve of late requests over replica-seconds; the ratio is taken at the
replica-seconds of ours.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.autoscaling_simulation import Outcome, Policy, Site, simulate
from benchmarks.measure import Benchmark, Pair
from benchmarks.public_data import public_file
from serve_deployments.scaling.forecast import RateForecast, RateSpec
from serve_deployments.scaling.policy import Load, ScalingPolicy, ScalingSpec
from training.core.windows import Floats

STEP_S, MEAN_RATE, SERVICE_S = 2.0, 40.0, 0.1
DAY = 288
TEST_DAYS = range(104, 111)
"""The last week; the knobs were chosen on the week before it, and on nothing of this one."""
LEARNED_DAYS = 14
TARGETS = (0.65, 0.75, 0.85, 0.95)
"""Requests inside a replica, on average: the knob of both."""
OPERATED = 0.75
"""Where ours is compared."""
SETTINGS = {"look_back_s": 30.0, "upscale_delay_s": 10.0, "downscale_delay_s": 60.0}
"""Serve's look-back, and the deployments' delay; 300 s of theirs would be half a day of this load."""
START_UP = """
import sys
from pathlib import Path
import serve_deployments.deployments
from serve_deployments.handlers.kinds import load
from serve_deployments.node_cost import measure
measure(load(Path(sys.argv[1]), kind="forecast", name="m", version="1.0.0", metrics={}))
"""


def shape() -> Floats:
    """Return the recorded rates over their mean, one a row."""
    import pandas as pd

    table = pd.read_csv(public_file("workload/bizitobs_l2c.csv"))
    activities = [name for name in map(str, table.columns) if name.startswith("activity_")]
    rates: Floats = table[activities].sum(axis=1).to_numpy(dtype=np.float64)
    scaled: Floats = rates / rates.mean()
    return scaled


def arrivals(rates: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return times and work of a Poisson stream whose rate is that of each step."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rates * MEAN_RATE * STEP_S)
    times = np.sort(np.repeat(np.arange(len(rates)) * STEP_S, counts) + rng.uniform(0, STEP_S, counts.sum()))
    return times, rng.gamma(4, SERVICE_S / 4, len(times))


def policy(target: float, past: Floats | None, site: Site) -> Policy:
    """Return a policy; with a forecast that has seen past counts, one a step, where there are some."""
    forecast = None
    if past is not None:
        forecast = RateForecast(forecast_spec(site))
        counts = np.concatenate([[0.0], np.cumsum(past)])
        for step, arrived in enumerate(counts - counts[-1]):
            forecast.observe((step - len(past)) * STEP_S, float(arrived))
    made = ScalingPolicy(ScalingSpec(min_replicas=1, max_replicas=40, target_ongoing=target), forecast)
    return lambda load: made.decide(load).replicas


@cache
def start_up_s() -> float:
    """Return how long a new process takes to be a replica that answers: the median of three."""
    from training.core.artifact import save_artifact
    from training.core.splits import chronological_split
    from training.data.bundled import load_sample
    from training.models.ensemble import Ensemble

    panel = load_sample("gas_turbine").for_target("NOX")
    members = [{"name": "ridge", "params": {"window": 48}}, {"name": "xgboost", "params": {"rounds": 50}}]
    model = Ensemble(members=members).fit_panel(panel, horizon=24, split=chronological_split(panel))
    with tempfile.TemporaryDirectory() as folder:
        save_artifact(model, panel.schema, Path(folder) / "model")
        took = []
        for _ in range(3):
            begun_s = time.perf_counter()
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", START_UP, f"{folder}/model"], check=True, timeout=120
            )
            took.append(time.perf_counter() - begun_s)
    return float(np.median(took))


def curve(days: range, seed: int, *, foresees: bool, site: Site) -> dict[float, Outcome]:
    """Return the outcome at each value of the knob."""
    rates = shape()
    times, work = arrivals(rates[days.start * DAY : days.stop * DAY], seed)
    before = rates[(days.start - LEARNED_DAYS) * DAY : days.start * DAY]
    counts = np.random.default_rng(seed + 1000).poisson(before * MEAN_RATE * STEP_S).astype(np.float64)
    past = counts if foresees else None
    return {target: simulate(times, work, policy(target, past, site), site, replicas=8) for target in TARGETS}


def late_at(outcomes: dict[float, Outcome], replica_s: float) -> float:
    """Return the share of late requests that a curve has at some replica-seconds, straight between its points."""
    points = sorted((each.replica_s, math.log(max(each.late_ratio, 1e-9))) for each in outcomes.values())
    costs, lates = zip(*points, strict=True)
    return math.exp(float(np.interp(replica_s, costs, lates)))


def forecast_spec(site: Site) -> RateSpec:
    """Return a forecast that looks as far ahead as a replica takes to come."""
    return RateSpec(
        step_s=STEP_S,
        lead_s=site.upscale_delay_s + site.start_up_s + site.tick_s,
        model="ridge",
        params={"window": 300, "alpha": 0.1},
        refit_steps=DAY,
    )


def decision_ms() -> float:
    """Return the milliseconds that a decision takes at most in a thousand: it runs in Serve's controller."""
    counts = np.random.default_rng(0).poisson(80, LEARNED_DAYS * DAY).astype(np.float64)
    decide, took = policy(OPERATED, counts, Site(start_up_s=6.0, **SETTINGS)), []
    for second in range(1, 1001):
        load = Load(now_s=float(second), replicas=4, ongoing=4.0, arrived=40.0 * second, service_s=0.1)
        begun_s = time.perf_counter()
        decide(load)
        took.append(time.perf_counter() - begun_s)
    return float(np.quantile(took, 0.99) * 1e3)


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - a simulation's result does not depend on the order
    """Simulate both policies over the same requests."""
    site = Site(start_up_s=start_up_s(), **SETTINGS)
    reactive = curve(TEST_DAYS, seed, foresees=False, site=site)
    ours = curve(TEST_DAYS, seed, foresees=True, site=site)
    at = ours[OPERATED]
    return Pair(
        seed=seed,
        baseline=late_at(reactive, at.replica_s),
        ours={"with_forecast": at.late_ratio},
        notes={
            "start_up_s": round(site.start_up_s, 2),
            "requests": at.requests,
            "reactive": {target: _told(each) for target, each in reactive.items()},
            "with_forecast": {target: _told(each) for target, each in ours.items()},
            "decision_p99_ms": round(decision_ms(), 2),
        },
    )


def _told(outcome: Outcome) -> dict[str, float]:
    return {"late_ratio": round(outcome.late_ratio, 6), "replica_s": round(outcome.replica_s)}


BENCHMARK = Benchmark(
    name="autoscaling",
    question="late requests at equal replica-seconds, scaling with a forecast over scaling without",
    goal=1.0,
    pair=pair,
)
