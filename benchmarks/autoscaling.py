"""Late requests at equal replica-seconds: our scaling policy over Serve's own rule.

Two recorded loads, 150 times as fast as recorded: passengers of New York's taxis, and the processors of a data
centre. A replica's start-up of some seconds is then to the day what ten minutes are to a real one: those of a new
machine with a large model. At the recorded speed nothing changes within the seconds that our replicas take, and all
policies are the same. Requests are a Poisson stream of the recorded rate, 50 a second on average with 0.2 s of a
replica's work each; later than 1 s is late. Start-up is measured here: a new process imports the deployments,
loads an ensemble of trees and a ridge, and warms it up.

Each policy has one knob, which draws a curve of late requests over replica-seconds: of Serve's rule the requests a
replica should have inside, of ours the headroom at one request a replica. Curves are compared at every cost that
both reach, and where at least `COUNTED` requests of either are late: ratio and `worst` are median and maximum over
costs. `cost` is what at most one late request in ten thousand costs, over what that costs with Serve's rule. Beside
the policy with its forecast stand the same policy without, which tells what the forecast itself gives, and one that
knows the coming rate, which no forecast can beat. Serve's rule has at each cost the best of several settings of its
delays and its look-back, after the fact; ours has one. All numbers were chosen on days 56 to 59 of the taxis and
days 4 and 5 of the data centre; what is reported are the last three weeks of the taxis, a blizzard in the third of
them, and what follows day 5 of the data centre. That part was run twice: in the first run all policies began a
Saturday night with 12 replicas where 16 were needed, and those seconds outweighed everything that any policy did;
the start, the number of streams and the knobs' values were mended, and one of four settings of Serve's rule was
left out for its time; the policies stayed as they were.

An earlier version took its load from `workload/bizitobs_l2c.csv`. Each jump of that series comes back with the
other sign 144 steps later: it counts the events of the last twelve hours, and is no rate.
"""

from __future__ import annotations

import copy
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks.autoscaling_loads import CLUSTER, DAY, SERVICE_S, STEP_S, TAXI, KnownRate, Recording
from benchmarks.autoscaling_simulation import Policy, Site, simulate
from benchmarks.measure import Benchmark, Pair
from serve_deployments.scaling.forecast import RateForecast, RateSpec
from serve_deployments.scaling.policy import Foresight, Load, ScalingPolicy, ScalingSpec
from training.core.windows import Floats

LATE_S, COUNTED = 1.0, 5
TARGETS = (0.55, 0.65, 0.73, 0.8, 0.86, 0.9, 0.94, 1.0)
HEADROOMS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.4, 2.0)
SETTINGS = ((10.0, 5.0), (15.0, 10.0), (15.0, 20.0))
"""Look-back and delay before replicas go, in seconds. A delay before they come only did harm, to all policies."""
OURS = SETTINGS[0]
START_BUSY = 0.7
"""How busy the replicas are that all policies find at the start."""
MARGIN_S = 1.0
"""Looked ahead beyond the start-up and a tick."""
FEW = 1e-4
"""Late requests over all, for the comparison of costs."""
Curve = list[tuple[float, float]]
"""Replica-seconds, and the share of late requests, at each value of a knob."""
START_UP = """
import sys
from pathlib import Path
import serve_deployments.deployments
from serve_deployments.handlers.kinds import load
from serve_deployments.node_cost import measure
measure(load(Path(sys.argv[1]), kind="forecast", name="m", version="1.0.0", metrics={}))
"""


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


def site(look_back_s: float, downscale_delay_s: float) -> Site:
    """Return where policies act, at Serve's settings."""
    return Site(
        start_up_s=start_up_s(), look_back_s=look_back_s, downscale_delay_s=downscale_delay_s, late_s=LATE_S
    )


def policy(at: Site, target: float, headroom: float, foresight: Foresight | None = None) -> Policy:
    """Return a policy; Serve's own rule where there is no headroom and no foresight."""
    spec = ScalingSpec(
        min_replicas=1, max_replicas=60, target_ongoing=target, headroom=headroom, look_back_s=at.look_back_s
    )
    made = ScalingPolicy(spec, foresight)
    return lambda load: made.decide(load).replicas


def learned(recording: Recording, seed: int, at: Site) -> RateForecast:
    """Return a forecast that has seen the days before."""
    spec = RateSpec(
        step_s=STEP_S,
        lead_s=at.start_up_s + at.tick_s + MARGIN_S,
        seasons_s=(DAY * STEP_S, 7 * DAY * STEP_S),
        kept_steps=29 * DAY,
        learned_steps=14 * DAY,
        refit_steps=DAY,
        judged_steps=DAY // 2,
    )
    forecast, past = RateForecast(spec), recording.past(seed)
    counts = np.concatenate([[0.0], np.cumsum(past)])
    for step, arrived in enumerate(counts - counts[-1]):
        forecast.observe((step - len(past)) * STEP_S, float(arrived))
    return forecast


def point(recording: Recording, seed: int, at: Site, made: Callable[[], Policy]) -> tuple[float, float]:
    """Return what a policy costs and leaves late over all streams."""
    enough = math.ceil(recording.coming(seed)[0] * SERVICE_S / START_BUSY)
    outcomes = [
        simulate(*recording.stream(seed, number), made(), at, replicas=enough)
        for number in range(recording.streams)
    ]
    requests, late = sum(each.requests for each in outcomes), sum(each.late for each in outcomes)
    return sum(each.replica_s for each in outcomes), late / requests


def frontier(points: Curve, least: float) -> tuple[Floats, Floats]:
    """Return costs, and the log of the fewest late requests that any point has at up to that cost."""
    costs, lates = np.array(sorted(points)).T
    return costs, np.log(np.maximum(np.minimum.accumulate(lates), least))


def ratios(baseline: Curve, ours: Curve, least: float) -> Floats:
    """Return late requests of ours over the baseline's at costs that both reach, where either has more than least.

    Where nothing can be told apart the ratio is 1.
    """
    (a_costs, a_lates), (b_costs, b_lates) = frontier(baseline, least), frontier(ours, least)
    costs = np.linspace(max(a_costs[0], b_costs[0]), min(a_costs[-1], b_costs[-1]), 200)
    theirs, mine = np.interp(costs, a_costs, a_lates), np.interp(costs, b_costs, b_lates)
    told = np.maximum(theirs, mine) > math.log(least) + 1e-9
    out: Floats = np.exp(mine - theirs)[told] if told.any() else np.ones(1)
    return out


def cost(points: Curve, late_ratio: float) -> float:
    """Return the fewest replica-seconds that leave so few late; infinite where none do."""
    return min((replica_s for replica_s, late in points if late <= late_ratio), default=math.inf)


def curves(recording: Recording, seed: int) -> dict[str, Curve]:
    """Return the curve of each policy over the same requests."""
    at, rates = site(*OURS), recording.coming(seed)
    forecast, lead_s = learned(recording, seed, at), at.start_up_s + at.tick_s + MARGIN_S

    def with_headroom(foresight: Callable[[], Foresight | None], headroom: float) -> Policy:
        return policy(at, 1.0, headroom, foresight())

    def over_headroom(foresight: Callable[[], Foresight | None]) -> Curve:
        return [point(recording, seed, at, partial(with_headroom, foresight, headroom)) for headroom in HEADROOMS]

    return {
        "reactive": serves_rule(recording, seed),
        "with_forecast": over_headroom(lambda: copy.deepcopy(forecast)),
        "without_forecast": over_headroom(lambda: None),
        "oracle": over_headroom(lambda: KnownRate(rates, lead_s)),
    }


def serves_rule(recording: Recording, seed: int) -> Curve:
    """Return the points of Serve's own rule at all settings."""
    return [
        point(recording, seed, there, partial(policy, there, target, 0.0))
        for there in (site(*settings) for settings in SETTINGS)
        for target in TARGETS
    ]


def decision_ms() -> dict[str, float]:
    """Return the milliseconds of production's decisions, one a second: they are made in Serve's controller."""
    spec = RateSpec()
    forecast, took = RateForecast(spec), []
    forecast.observe(0.0, 0.0)
    days_s = spec.kept_steps * spec.step_s  # one late look fills the memory
    forecast.observe(days_s, 40.0 * days_s)
    decide = policy(Site(start_up_s=10.0), 1.0, 1.0, forecast)
    for second in range(1, 10_001):
        now_s = days_s + second
        load = Load(now_s=now_s, replicas=4, ongoing=4.0, arrived=40.0 * now_s, service_s=0.1)
        begun_s = time.perf_counter()
        decide(load)
        took.append((time.perf_counter() - begun_s) * 1e3)
    return {"p99_ms": round(float(np.quantile(took, 0.99)), 2), "slowest_ms": round(max(took), 1)}


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - a simulation's result does not depend on the order
    """Simulate all policies over the same requests, for each load; the baseline counts as 1."""
    ours: dict[str, float | None] = {}
    notes: dict[str, object] = {"start_up_s": round(start_up_s(), 2)}
    for recording in (TAXI, CLUSTER):
        drawn, name = curves(recording, seed), recording.name
        requests = sum(len(recording.stream(seed, number)[0]) for number in range(recording.streams))
        over = {who: ratios(drawn["reactive"], points, COUNTED / requests) for who, points in drawn.items()}
        ours[name] = float(np.median(over["with_forecast"]))
        ours[f"{name}_worst"] = float(over["with_forecast"].max())
        ours[f"{name}_without_forecast"] = float(np.median(over["without_forecast"]))
        ours[f"{name}_without_forecast_worst"] = float(over["without_forecast"].max())
        ours[f"{name}_oracle"] = float(np.median(over["oracle"]))
        least = cost(drawn["reactive"], FEW)
        for who in ("with_forecast", "without_forecast", "oracle"):
            ratio = cost(drawn[who], FEW) / least if math.isfinite(least) else math.inf
            ours[f"{name}_{who}_cost"] = ratio if math.isfinite(ratio) else None
        notes[name] = {"requests": requests} | {who: _told(points) for who, points in drawn.items()}
    return Pair(seed=seed, baseline=1.0, ours=ours, notes=notes | {"decision": decision_ms()})


def _told(points: Curve) -> list[tuple[int, float]]:
    return [(round(cost), round(late, 6)) for cost, late in sorted(points)]


BENCHMARK = Benchmark(
    name="autoscaling",
    question="late requests at equal replica-seconds, scaling with headroom and a forecast over Serve's rule",
    goal=0.5,
    pair=pair,
)
