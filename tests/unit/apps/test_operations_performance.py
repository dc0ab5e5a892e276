"""The queue against closed forms and a simulation, request by request."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from apps.operations.performance import Queue, QueuePlan
from cluster.errors import ConfigError, DataError
from training.core.windows import Floats
from training.data.operations import OPERATIONS, OperationsTruth, erlang_c, generate_operations
from training.inference.paths import Paths


def simulate(servers: int, service_s: Floats, gaps_s: Floats) -> tuple[float, float, float]:
    """Return utilisation, throughput and mean latency of requests, each served by the first free server."""
    free = [0.0] * servers
    arrival, total = 0.0, 0.0
    for gap, time in zip(gaps_s, service_s, strict=True):
        arrival += gap
        start = max(arrival, heapq.heappop(free))
        heapq.heappush(free, start + time)
        total += start + time - arrival
    end, count = max(arrival, *free), len(gaps_s)
    return float(service_s.sum()) / (servers * end), count / end, total / count


def runs(rng: np.random.Generator, servers: int, service_s: float, *, constant: bool) -> Floats:
    """Return utilisation, throughput and latency at several loads (N, 3)."""
    out = []
    for load in (0.3, 0.5, 0.7, 0.8):
        gaps = rng.exponential(service_s / servers / load, 40_000)
        times = np.full(len(gaps), service_s) if constant else rng.exponential(service_s, len(gaps))
        out.append(simulate(servers, times, gaps))
    return np.array(out)


@pytest.mark.parametrize("servers", [1, 4])
def test_a_fit_recovers_a_simulated_queue(servers: int) -> None:
    rows = runs(np.random.default_rng(0), servers, 0.05, constant=False)
    queue = Queue.fit(*rows.T, servers=servers)
    assert queue.service_time_s == pytest.approx(0.05, rel=0.02)
    assert queue.variability == pytest.approx(1.0, abs=0.15)
    np.testing.assert_allclose(queue.latency_s(rows[:, 0]), rows[:, 2], rtol=0.1)


def test_constant_service_waits_half_as_long() -> None:
    rows = runs(np.random.default_rng(1), 1, 0.05, constant=True)
    assert Queue.fit(*rows.T, servers=1).variability == pytest.approx(0.5, abs=0.08)


def test_closed_forms() -> None:
    one = Queue(servers=1, service_time_s=0.1)
    np.testing.assert_allclose(one.latency_s(np.array([0, 0.5, 0.9])), [0.1, 0.2, 1.0])  # S / (1 - rho)
    assert one.latency_s(np.array([1.0])).tolist() == [np.inf]
    two = Queue(servers=2, service_time_s=0.1)
    np.testing.assert_allclose(two.latency_s(np.array([0.6])), [0.1 / (1 - 0.36)])  # M/M/2: S / (1 - rho^2)
    np.testing.assert_allclose(two.throughput_per_s(np.array([0.6])), [12])
    assert erlang_c(np.array([0.0, 0.5]), 1).tolist() == [0, 0.5]


def test_paths_are_computed_one_by_one_and_saturation_is_infinite() -> None:
    times = np.datetime64("2024-01-01", "ns") + np.arange(2) * np.timedelta64(1, "h")
    values = np.array([[[50.0], [100]], [[0], [90]]])
    made = Paths(
        series="s",
        times=times,
        columns=("cpu",),
        point=values.mean(axis=0),
        values=values,
        recent=np.array([[50.0]]),
        independent=2,
    )
    more = Queue(servers=1, service_time_s=0.1).extend(made, "cpu")
    assert more.columns == ("cpu", "latency_s", "throughput_per_s")
    np.testing.assert_allclose(more.values[..., 1], [[0.2, np.inf], [0.1, 1.0]])
    np.testing.assert_allclose(more.values[..., 2], [[5, 10], [0, 9]])
    assert np.isinf(more.quantiles((0.9,))[1, 1, 0])


def test_faults() -> None:
    for wrong in ({"servers": 0}, {"service_time_s": 0.0}, {"variability": -1.0}, {"service_time_s": float("nan")}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Queue(**({"servers": 1, "service_time_s": 1.0} | wrong))
    with pytest.raises(DataError, match="a queue cannot be fitted"):
        Queue.fit(np.zeros(3), np.zeros(3), servers=1)
    with pytest.raises(ConfigError, match="got neither"):
        QueuePlan(servers=1)
    with pytest.raises(ConfigError, match="got both"):
        QueuePlan(servers=1, service_time_s=1.0, throughput="x")
    with pytest.raises(ConfigError, match="latency alone"):
        QueuePlan(servers=1, service_time_s=1.0, latency="x")


def test_the_generator_is_what_its_truth_says() -> None:
    panel, truth = generate_operations(days=20, seed=3)
    again, _ = generate_operations(days=20, seed=3)
    assert panel.schema == OPERATIONS
    assert panel.digest() == again.digest()
    frame = panel.frame
    queue = Queue.fit(
        frame["cpu_util_percent"].to_numpy() / 100,
        frame["throughput_per_s"].to_numpy(),
        frame["latency_s"].to_numpy(),
        servers=truth.servers,
    )
    assert queue.service_time_s == pytest.approx(truth.service_time_s, rel=1e-4)  # a busy step is capped
    assert queue.variability == pytest.approx(1, abs=0.1)
    share = frame["errors"].sum() / frame["requests"].sum()
    assert share == pytest.approx(truth.error_ratio, rel=0.4)  # its logit wanders
    quiet, _ = generate_operations(days=1, truth=OperationsTruth(service_time_s=5000.0))
    assert (quiet.frame["requests"] == 0).any()
