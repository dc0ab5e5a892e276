"""Recorded loads as streams of requests, and what each policy is allowed to learn of them before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.public_data import public_file
from serve_deployments.scaling.forecast import Outlook
from training.core.windows import Floats

STEP_S, DAY = 2.0, 288
"""Five recorded minutes pass in 2 s, a day in 9.6 minutes."""
MEAN_RATE, SERVICE_S = 50.0, 0.2
"""Requests a second, and seconds of a replica's work on one: ten replicas at work on average."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recorded load, and the part of it that is reported.

    Parameters
    ----------
    name
        In the results.
    rates
        Returns the rate of every step over the mean.
    periods
        Days (first, last + 1) that are reported, one after the other by the seed.
    learned_days
        Before each, that a forecast has seen.
    streams
        Drawn of each seed's days, whose late requests and costs are summed: a short recording needs several.
    """

    name: str
    rates: Callable[[], Floats]
    periods: tuple[tuple[float, float], ...]
    learned_days: int
    streams: int = 1

    def coming(self, seed: int) -> Floats:
        """Return the requests a second in each step of the seed's days."""
        first, stop = self.periods[seed % len(self.periods)]
        return self.rates()[int(first * DAY) : int(stop * DAY)] * MEAN_RATE

    def stream(self, seed: int, number: int) -> tuple[Floats, Floats]:
        """Return times and work of a Poisson stream with these rates; its number makes it another."""
        rng, rates = np.random.default_rng((seed, number)), self.coming(seed)
        counts = rng.poisson(rates * STEP_S)
        times = np.sort(np.repeat(np.arange(len(rates)) * STEP_S, counts) + rng.uniform(0, STEP_S, counts.sum()))
        return times, rng.gamma(4, SERVICE_S / 4, len(times))

    def past(self, seed: int) -> Floats:
        """Return the requests of each step of the days before."""
        first = int(self.periods[seed % len(self.periods)][0] * DAY)
        rates = self.rates()[first - self.learned_days * DAY : first]
        return np.random.default_rng(seed + 1000).poisson(rates * MEAN_RATE * STEP_S).astype(np.float64)


class KnownRate:
    """Who knows the rate that requests will be drawn from: no forecast knows more.

    Parameters
    ----------
    rates
        Requests a second in each step.
    lead_s
        How far ahead it looks.
    """

    def __init__(self, rates: Floats, lead_s: float) -> None:
        self._rates, self._lead_s, self._now_s = rates, lead_s, 0.0

    def observe(self, now_s: float, arrived: float) -> None:  # noqa: ARG002 - it knows
        """Take in the time."""
        self._now_s = now_s

    def outlook(self) -> Outlook:
        """Return the highest rate within the lead."""
        first, last = int(self._now_s / STEP_S), int((self._now_s + self._lead_s) / STEP_S)
        ahead = self._rates[first : last + 1]
        highest = float(ahead.max()) if len(ahead) else float(self._rates[-1])
        return Outlook(rate_per_s=highest, used=True, reason="used: it is known")


@cache
def taxi() -> Floats:
    """Return passengers of New York's taxis, counted by the half-hour, straight between two counts."""
    import pandas as pd

    counts = pd.read_csv(public_file("anomaly/nab/data/realKnownCause/nyc_taxi.csv"))["value"].to_numpy(np.float64)
    middles = np.arange(len(counts)) + 0.5
    rates: Floats = np.interp((np.arange(len(counts) * 6) + 0.5) / 6, middles, counts)
    over_mean: Floats = rates / rates.mean()
    return over_mean


@cache
def cluster() -> Floats:
    """Return the processors' use of a data centre: means over 5 minutes of what was recorded each 30 s."""
    import pandas as pd

    used = pd.read_csv(public_file("workload/alibaba2018_machine_usage_30s.csv"))["cpu_util_percent"]
    whole = len(used) // 10 * 10
    rates: Floats = used.to_numpy(np.float64)[:whole].reshape(-1, 10).mean(axis=1)
    over_mean: Floats = rates / rates.mean()
    return over_mean


TAXI = Recording(name="taxi", rates=taxi, periods=((194, 201), (201, 208), (208, 215)), learned_days=28)
"""Days 0 to 193 are July 2014 to January 2015; 28 days hold the week before last."""
CLUSTER = Recording(name="cluster", rates=cluster, periods=((6, 7.75),), learned_days=6, streams=3)
"""It was recorded for 7.8 days."""
