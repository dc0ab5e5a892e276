"""What the judgement of rollouts is worth: false rollbacks, delays, segments, on simulated streams of errors.

Evidence changes only when a request fails, so that looking after each failed request is looking after each request.
The rivals see the same streams: a threshold on the new version's error rate over a sliding window of five minutes,
looked at every minute (2 %, in the middle between the healthy 1 % and the bad 3 %: the best that hindsight could
choose), and Mann-Whitney's test at one look at the end of each stage (on outcomes of 0 and 1 it is, ties counted,
the two-sample z test). The bets (`HIGHER`) were chosen with other seeds.

From 5 % of the traffic alone nobody can do much better: with both rates known in advance and a single look at 60 s
the best test of level 5 % finds a share `ceiling_60s` of the bad versions; at 30 s `ceiling_30s`. The default
policy therefore copies a quarter of the requests to the new version as well, off the users' path. How many, and the
parts of alpha, were chosen with other seeds too.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from benchmarks.measure import Benchmark, Pair
from benchmarks.rollout_streams import BASE_RATE, STAGE_S, Floats, Streams, by_share, first, ladder, streams
from serve_deployments.experiments.event_share import log_evidence
from serve_deployments.rollout.canary import CanaryPolicy
from serve_deployments.rollout.judge import ALPHA_SHARES, Judge, JudgeSpec
from serve_deployments.rollout.tally import Tally

ALPHA = 0.05
REQUESTS_PER_S = 200.0
RUNS, JUDGED_RUNS, SEGMENT_RUNS = 2000, 100, 400
SEGMENTS = 10
WINDOW_S, LOOK_S, THRESHOLD = 300, 60, 0.02
MANN_WHITNEY_Z = 1.6449
SHADOW = CanaryPolicy().shadow


def _events_until(rng: np.random.Generator, *, ratio: float, share: float, seconds: float, limit: float) -> Floats:
    """Return when the evidence first reaches the limit, looked at after every event: (RUNS,)."""
    per_s = REQUESTS_PER_S * BASE_RATE * (share * ratio + 1.0 - share)
    events = int(per_s * seconds + 6.0 * np.sqrt(per_s * seconds) + 10)
    new = (rng.random((RUNS, events)) < share * ratio / (share * ratio + 1.0 - share)).cumsum(axis=1)
    when = rng.exponential(1.0 / per_s, (RUNS, events)).cumsum(axis=1)
    found = log_evidence(new[..., None], (np.arange(1, events + 1) - new)[..., None], [share]) >= limit
    at = np.where(found.any(axis=1), when[np.arange(RUNS), found.argmax(axis=1)], np.inf)
    return np.where(at <= seconds, at, np.inf)


def _false_rollbacks(rng: np.random.Generator, limit: float) -> float:
    """Return the share of rollouts of an equal version in which the evidence ever reaches the limit."""
    ever, before = np.zeros(RUNS, dtype=bool), np.zeros((RUNS, 0, 2))
    events = int(REQUESTS_PER_S * BASE_RATE * STAGE_S)
    shares: list[float] = []
    for share in np.unique(ladder()):
        new = (rng.random((RUNS, events)) < share).cumsum(axis=1)
        shares.append(float(share))
        counts = np.stack([new, np.arange(1, events + 1) - new], axis=-1)
        past = np.broadcast_to(before[:, None], (RUNS, events, *before.shape[1:]))
        both = np.concatenate([past, counts[:, :, None, :]], axis=2)
        ever |= (log_evidence(both[..., 0], both[..., 1], shares) >= limit).any(axis=1)
        before = both[:, -1]
    return float(ever.mean())


def _ours(seen: Streams, limit: float) -> Floats:
    new, kinds = by_share(seen.new_errors, seen.shares)
    old, _ = by_share(seen.old_errors, seen.shares)
    return first(log_evidence(new, old, kinds) >= limit)


def _threshold(seen: Streams) -> Floats:
    """Return when the sliding window's rate is first above the threshold."""
    errors, requests = (
        each.cumsum(axis=-1) - np.pad(each.cumsum(axis=-1), ((0, 0), (WINDOW_S, 0)))[:, : each.shape[-1]]
        for each in (seen.new_errors, seen.new_requests)
    )
    looked = np.arange(1, len(seen.shares) + 1) % LOOK_S == 0
    return first((errors > THRESHOLD * requests) & looked)


def _mann_whitney(seen: Streams) -> Floats:
    """Return the end of the first stage whose outcomes differ at the 5 % level."""
    alarms = []
    for share in np.unique(seen.shares):
        here = seen.shares == share
        n1, n0, e1, e0 = (
            each[:, here].sum(axis=1)
            for each in (seen.new_requests, seen.old_requests, seen.new_errors, seen.old_errors)
        )
        pooled = (e1 + e0) / (n1 + n0)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = (e1 / n1 - e0 / n0) / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
        alarms.append(z > MANN_WHITNEY_Z)
    at = first(np.stack(alarms, axis=-1))
    return at * int((seen.shares == seen.shares[0]).sum())


def _side_by_side(rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """Compare on the same streams: large traffic, small traffic, and an outage that hits both versions alike."""
    shares = ladder()
    outage = np.where((np.arange(len(shares)) >= 900) & (np.arange(len(shares)) < 1200), 0.05, BASE_RATE)
    scenes: dict[str, tuple[float, float | Floats, float | Floats]] = {
        "equal, 200/s": (200.0, BASE_RATE, BASE_RATE),
        "equal, 20/s": (20.0, BASE_RATE, BASE_RATE),
        "equal, 200/s, outage of both": (200.0, outage, outage),
        "3 x errors, 200/s": (200.0, 3 * BASE_RATE, BASE_RATE),
        "3 x errors, 20/s": (20.0, 3 * BASE_RATE, BASE_RATE),
        "2 x errors, 200/s": (200.0, 2 * BASE_RATE, BASE_RATE),
    }
    told: dict[str, dict[str, Any]] = {}
    for scene, (per_s, new_rate, old_rate) in scenes.items():
        seen = streams(rng, runs=500, shares=shares, requests_per_s=per_s, new_rate=new_rate, old_rate=old_rate)
        times = {
            "evidence": _ours(seen, log(1 / ALPHA)),
            "threshold": _threshold(seen),
            "mann_whitney": _mann_whitney(seen),
        }
        told[scene] = {
            name: {"rolled_back": float(np.isfinite(at).mean()), "median_s": _median(at)}
            for name, at in times.items()
        }
    return told


def _median(at: Floats) -> float | None:
    middle = float(np.median(at))
    return middle if np.isfinite(middle) else None


def _segments(rng: np.random.Generator, limit: float) -> dict[str, float | None]:
    """Double the errors of one segment of ten; tell how often it is named, and how often another is."""
    worse = rng.integers(SEGMENTS, size=SEGMENT_RUNS)
    rates = np.where(np.arange(SEGMENTS) == worse[:, None], 2 * BASE_RATE, BASE_RATE)[..., None]
    shares = np.repeat(np.unique(ladder()), STAGE_S // 10)
    seen = streams(
        rng, runs=SEGMENT_RUNS, shares=shares, requests_per_s=10 * REQUESTS_PER_S, new_rate=rates, segments=SEGMENTS
    )
    at = 10.0 * _ours(seen, limit)
    named, when = at.argmin(axis=1), at.min(axis=1)
    right = (named == worse) & np.isfinite(when)
    return {
        "named": float(right.mean()),
        "wrongly_named": float((np.isfinite(when) & (named != worse)).mean()),
        "median_s": _median(when),
    }


def _whole_judge(rng: np.random.Generator) -> float:
    """Return the share of equal rollouts that any of the default guardrails accuses, a look every ten seconds."""
    return sum(_accused(rng) for _ in range(JUDGED_RUNS)) / JUDGED_RUNS


def _accused(rng: np.random.Generator) -> bool:
    judge = Judge(JudgeSpec(error_ratio=0.0, p95_s=0.0, p99_s=0.0))
    for share in np.repeat(np.unique(ladder()), 30):
        judge.update(float(share), _window(rng, float(share), requests=400))
        if any(each.breached and each.consequence == "rollback" for each in judge.findings()):
            return True
    return False


def _window(rng: np.random.Generator, share: float, *, requests: int) -> dict[str, Any]:
    tally = Tally()
    new, failed = rng.random(requests) < share, rng.random(requests) < BASE_RATE
    durations, widths = rng.lognormal(-3.0, 0.5, requests), rng.lognormal(-1.0, 0.3, requests)
    segments = rng.integers(SEGMENTS, size=requests)
    for place in range(requests):
        tally.answered(
            "new" if new[place] else "old",
            duration_s=float(durations[place]),
            failed=bool(failed[place]),
            segments=(f"site-{segments[place]}",),
            width_ratio=float(widths[place]),
        )
    return tally.counts


def _ceiling(seconds: float) -> float:
    """Return how many of the bad versions the best test finds at one look, both rates known, at exactly 5 %."""
    from scipy.stats import poisson

    expected = REQUESTS_PER_S * 0.05 * seconds * BASE_RATE
    critical = int(poisson.isf(ALPHA, expected)) + 1
    spare = (ALPHA - poisson.sf(critical - 1, expected)) / poisson.pmf(critical - 1, expected)
    return float(poisson.sf(critical - 1, 3 * expected) + spare * poisson.pmf(critical - 1, 3 * expected))


def _three_times(rng: np.random.Generator) -> dict[str, dict[str, float | None]]:
    """Tell when a canary of 5 % with three times the errors is rolled back."""
    told = {}
    for name, alpha in (("error guardrail alone", ALPHA), ("all guardrails", ALPHA * ALPHA_SHARES["error_rate"])):
        limit = log(1 / alpha)
        told[name] = _within(_events_until(rng, ratio=3.0, share=0.05, seconds=300.0, limit=limit))
        told[f"{name}, shadow of {SHADOW:.0%}"] = _within(_with_shadow(rng, limit))
    return told


def _with_shadow(rng: np.random.Generator, limit: float) -> Floats:
    """Return the same where some requests are copied to the new version: pairs, judged in the same evidence."""
    seconds, share = 300, 0.05
    alone = share / (share + (1 - share) * (1 - SHADOW))
    new = rng.binomial(rng.poisson(REQUESTS_PER_S * share, (RUNS, seconds)), 3 * BASE_RATE)
    old = rng.binomial(rng.poisson(REQUESTS_PER_S * (1 - share) * (1 - SHADOW), (RUNS, seconds)), BASE_RATE)
    pairs = rng.poisson(REQUESTS_PER_S * (1 - share) * SHADOW, (RUNS, seconds))
    only_new = rng.binomial(pairs, 3 * BASE_RATE * (1 - BASE_RATE))
    only_old = rng.binomial(pairs, BASE_RATE * (1 - 3 * BASE_RATE))
    of_new, of_old = (np.stack(both, axis=-1).cumsum(axis=1) for both in ((new, only_new), (old, only_old)))
    return first(log_evidence(of_new, of_old, [alone, 0.5]) >= limit)


def _within(at: Floats) -> dict[str, float | None]:
    return {
        "within_30s": float((at <= 30).mean()),
        "within_60s": float((at <= 60).mean()),
        "within_90s": float((at <= 90).mean()),
        "median_s": _median(at),
        "p95_s": float(np.quantile(at, 0.95)),
    }


def _pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - both are read from the same streams
    rng = np.random.default_rng(900 + seed)
    scenes = _side_by_side(rng)
    equal = [scene for scene in scenes if scene.startswith("equal")]

    def falsely(method: str) -> float:
        return float(np.mean([scenes[scene][method]["rolled_back"] for scene in equal]))

    return Pair(
        seed=seed,
        baseline=falsely("threshold"),
        ours={"evidence": falsely("evidence"), "mann_whitney": falsely("mann_whitney")},
        notes={
            "false rollbacks, looked at after every request": _false_rollbacks(rng, log(1 / ALPHA)),
            f"false rollbacks of {JUDGED_RUNS}, all guardrails": _whole_judge(rng),
            "3 x errors at 5 % of 200/s": _three_times(rng),
            "ceiling_60s": _ceiling(60.0),
            "ceiling_30s": _ceiling(30.0),
            "2 x errors in one of ten segments, alone": _segments(rng, log(SEGMENTS / ALPHA)),
            "2 x errors in one of ten segments, among all": _segments(
                rng, log(32 / (ALPHA * ALPHA_SHARES["segment_error_rate"]))
            ),
            "side by side": scenes,
        },
    )


BENCHMARK = Benchmark(
    name="rollouts",
    question="false rollbacks of equal versions, against a fixed threshold on five minutes (same streams)",
    goal=1.0,
    pair=_pair,
)
