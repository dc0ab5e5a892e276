"""Load, latency and errors of a service with a known truth: for tests, and for those who have no data yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.core.panel import Panel
from training.core.parameters import whole
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.core.windows import Floats

STEP_S = 300
STEPS_A_DAY = 86_400 // STEP_S

OPERATIONS = Schema(
    name="operations",
    frequency="5min",
    season_length=STEPS_A_DAY,
    targets=(
        Column(name="requests", unit="requests", low=0),
        Column(name="errors", unit="requests", low=0),
        Column(name="cpu_util_percent", unit="%", low=0, high=100),
        Column(name="mem_util_percent", unit="%", low=0, high=100),
        Column(name="throughput_per_s", unit="1/s", low=0),
        Column(name="latency_s", unit="s", low=0),
    ),
)
"""A service of equal servers by 5 minutes."""


@dataclass(frozen=True, kw_only=True)
class OperationsTruth:
    """How the service behaves.

    Parameters
    ----------
    servers
        Equal servers behind one queue.
    service_time_s
        Mean time of a request on a server; exponential, and arrivals are Poisson, so that latency is that of M/M/c.
    busy_mean, busy_amplitude
        Utilisation over the day: mean and half the range of a sine, highest at 18:00.
    load_holds, load_noise
        Log-load wanders as an AR(1) of this coefficient and stationary standard deviation.
    memory_idle_percent, memory_busy_percent
        Memory used at rest, and added at full load.
    error_ratio
        Mean share of requests that fail.
    error_holds, error_noise
        Its logit wanders as an AR(1) of this coefficient and stationary standard deviation.
    latency_noise_ratio
        Of a measured mean latency.
    """

    servers: int = 8
    service_time_s: float = 0.2
    busy_mean: float = 0.5
    busy_amplitude: float = 0.25
    load_holds: float = 0.95
    load_noise: float = 0.1
    memory_idle_percent: float = 30.0
    memory_busy_percent: float = 40.0
    error_ratio: float = 0.01
    error_holds: float = 0.98
    error_noise: float = 0.4
    latency_noise_ratio: float = 0.02


def generate_operations(
    *, days: int, seed: int = 0, truth: OperationsTruth | None = None
) -> tuple[Panel, OperationsTruth]:
    """Return a validated panel of one service by 5 minutes, and the truth behind it.

    Parameters
    ----------
    days
        1 or more.
    seed
        Of everything random.
    truth
        Other effects than the usual ones.
    """
    whole("days", days, low=1, high=3650)
    truth, rng = truth or OperationsTruth(), np.random.default_rng(seed)
    count = days * STEPS_A_DAY
    day = 2 * np.pi * np.arange(count) / STEPS_A_DAY
    wave = truth.busy_mean - truth.busy_amplitude * np.sin(day)
    load = wave * np.exp(_wander(rng, count, truth.load_holds, truth.load_noise))
    wanted = np.clip(load, 0, 0.98) * truth.servers / truth.service_time_s
    requests = rng.poisson(wanted * STEP_S).astype(np.float64)
    throughput = requests / STEP_S
    busy = np.clip(throughput * truth.service_time_s / truth.servers, 0, 0.99)
    waits = erlang_c(busy, truth.servers) / (truth.servers * (1 - busy))
    noise = np.exp(rng.normal(0, truth.latency_noise_ratio, count))
    odds = (
        truth.error_ratio
        / (1 - truth.error_ratio)
        * np.exp(_wander(rng, count, truth.error_holds, truth.error_noise))
    )
    memory = truth.memory_idle_percent + truth.memory_busy_percent * busy + rng.normal(0, 0.5, count)
    frame = pd.DataFrame(
        {
            ID: "service",
            TIME: pd.date_range("2024-01-01", periods=count, freq=OPERATIONS.frequency),
            "requests": requests,
            "errors": rng.binomial(requests.astype(np.int64), odds / (1 + odds)).astype(np.float64),
            "cpu_util_percent": 100 * busy,
            "mem_util_percent": np.clip(memory, 0, 100),
            "throughput_per_s": throughput,
            "latency_s": truth.service_time_s * (1 + waits) * noise,
        }
    )
    return Panel(frame, OPERATIONS).validate(), truth


def erlang_c(utilisation: Floats, servers: int) -> Floats:
    """Return the probability that a request waits in an M/M/c queue, at utilisations below 1.

    References
    ----------
    Kleinrock (1975), Queueing Systems, volume 1. By the recursion of Erlang B, which does not overflow.
    """
    load = utilisation * servers
    blocked = np.ones_like(load)
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    waits: Floats = blocked / (1 - utilisation * (1 - blocked))
    return waits


def _wander(rng: np.random.Generator, count: int, holds: float, noise: float) -> Floats:
    """Return (count,) of a stationary AR(1)."""
    shocks = rng.normal(0, noise * np.sqrt(1 - holds**2), count)
    state, out = float(rng.normal(0, noise)), np.empty(count)
    for n, shock in enumerate(shocks):
        state = holds * state + shock
        out[n] = state
    return out
