"""Requests, a queue and replicas that come and go, event by event: what a policy does to latency and cost."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from serve_deployments.scaling.policy import Load
from training.core.windows import Floats

Policy = Callable[[Load], float]
"""Load -> replicas wanted."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where the policy acts.

    Parameters
    ----------
    start_up_s
        From the decision for a replica to its first answer.
    tick_s
        Between two decisions.
    look_back_s
        Over which the requests inside are averaged, as Serve does.
    upscale_delay_s, downscale_delay_s
        How long a wish must last before it is followed, as in Serve.
    late_s
        Latency from which a request is late.
    """

    start_up_s: float
    tick_s: float = 1.0
    look_back_s: float = 10.0
    upscale_delay_s: float = 0.0
    downscale_delay_s: float = 60.0
    late_s: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a policy did.

    Parameters
    ----------
    requests, late
        Counts.
    replica_s
        Paid for: from the decision for each replica to its end.
    waited_s
        (requests,) latencies.
    """

    requests: int
    late: int
    replica_s: float
    waited_s: Floats

    @property
    def late_ratio(self) -> float:
        """Share of late requests."""
        return self.late / self.requests


class Delays:
    """Follows a wish once it has lasted: the rule of Serve's `_apply_delay_logic`, without its scale to zero.

    Parameters
    ----------
    up_s, down_s
        How long a wish for more, or for fewer, must last.
    """

    def __init__(self, up_s: float, down_s: float) -> None:
        self._delay_s = {1: up_s, -1: down_s}
        self._direction, self._since_s = 0, 0.0

    def follow(self, wanted: int, current: int, now_s: float) -> int:
        """Return the replicas to have now."""
        direction = (wanted > current) - (wanted < current)
        if direction != self._direction:
            self._direction, self._since_s = direction, now_s
        if direction and now_s - self._since_s + 1e-6 >= self._delay_s[direction]:
            self._direction = 0
            return wanted
        return current


@dataclass
class _Fleet:
    """Replicas of a FIFO queue, each one request at a time."""

    starting: list[float] = field(default_factory=list)
    idle: int = 0
    busy: int = 0
    leaving: int = 0

    @property
    def target(self) -> int:
        """Replicas that stay, ready or not."""
        return len(self.starting) + self.idle + self.busy - self.leaving

    def shrink(self, count: int) -> None:
        """Let go of some: first those that have not started, then idle ones, then busy ones when they are done."""
        for _ in range(count):
            if self.starting:
                self.starting.pop()
            elif self.idle:
                self.idle -= 1
            else:
                self.leaving += 1


def simulate(arrivals: Floats, service_s: Floats, policy: Policy, site: Site, replicas: int) -> Outcome:
    """Replay arrivals against a policy.

    Parameters
    ----------
    arrivals
        (R,) increasing times, seconds from the start.
    service_s
        (R,) a replica's work on each.
    policy
        Asked every tick.
    site
        Delays, start-up and what is late.
    replicas
        At the start, ready.
    """
    return _Simulation(arrivals, service_s, site, replicas).run(policy)


class _Simulation:
    def __init__(self, arrivals: Floats, service_s: Floats, site: Site, replicas: int) -> None:
        self._arrivals, self._service_s, self._site = arrivals.tolist(), service_s.tolist(), site
        self._fleet = _Fleet(idle=replicas)
        self._delays = Delays(site.upscale_delay_s, site.downscale_delay_s)
        self._queue: deque[int] = deque()
        self._ends: list[tuple[float, int]] = []
        self._waited = np.zeros(len(arrivals))
        self._now_s = self._inside_s = self._replica_s = self._work_s = 0.0
        self._inside = self._done = 0
        # As long as the look-back: the number inside, integrated over time, at each tick.
        self._seen: deque[tuple[float, float]] = deque(maxlen=max(1, round(site.look_back_s / site.tick_s)))
        self._seen.append((0.0, 0.0))

    def run(self, policy: Policy) -> Outcome:
        tick_s, came, count = self._site.tick_s, 0, len(self._arrivals)
        while came < count or self._ends or self._queue:
            arrival_s = self._arrivals[came] if came < count else math.inf
            end_s = self._ends[0][0] if self._ends else math.inf
            start_s = self._fleet.starting[0] if self._fleet.starting else math.inf
            next_s = min(arrival_s, end_s, start_s, tick_s)
            self._pass(next_s)
            if next_s == tick_s:
                self._decide(policy, came)
                tick_s += self._site.tick_s
            elif next_s == start_s:
                heapq.heappop(self._fleet.starting)
                self._fleet.idle += 1
            elif next_s == end_s:
                self._end()
            else:
                self._queue.append(came)
                self._inside += 1
                came += 1
            self._serve()
        late = int((self._waited > self._site.late_s).sum())
        return Outcome(requests=count, late=late, replica_s=self._replica_s, waited_s=self._waited)

    def _pass(self, until_s: float) -> None:
        step_s = until_s - self._now_s
        fleet = self._fleet
        self._inside_s += self._inside * step_s
        self._replica_s += (len(fleet.starting) + fleet.idle + fleet.busy) * step_s
        self._now_s = until_s

    def _serve(self) -> None:
        while self._queue and self._fleet.idle:
            request = self._queue.popleft()
            self._fleet.idle -= 1
            self._fleet.busy += 1
            heapq.heappush(self._ends, (self._now_s + self._service_s[request], request))

    def _end(self) -> None:
        _, request = heapq.heappop(self._ends)
        self._waited[request] = self._now_s - self._arrivals[request]
        self._work_s += self._service_s[request]
        self._inside, self._done, self._fleet.busy = self._inside - 1, self._done + 1, self._fleet.busy - 1
        if self._fleet.leaving:
            self._fleet.leaving -= 1
        else:
            self._fleet.idle += 1

    def _decide(self, policy: Policy, came: int) -> None:
        before_s, inside_s = self._seen[0]
        self._seen.append((self._now_s, self._inside_s))
        fleet, elapsed_s = self._fleet, self._now_s - before_s
        load = Load(
            now_s=self._now_s,
            replicas=fleet.idle + fleet.busy - fleet.leaving,
            ongoing=(self._inside_s - inside_s) / elapsed_s,
            arrived=float(came),
            service_s=self._work_s / self._done if self._done else math.nan,
        )
        wanted = self._delays.follow(math.ceil(policy(load) - 1e-9), fleet.target, self._now_s)
        for _ in range(wanted - fleet.target):
            if fleet.leaving:
                fleet.leaving -= 1
            else:
                heapq.heappush(fleet.starting, self._now_s + self._site.start_up_s)
        fleet.shrink(max(0, fleet.target - wanted))
