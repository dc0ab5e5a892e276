"""What each node of a version costs, measured when it is warmed up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from serve_deployments.servable import Servable

T = TypeVar("T")
WARM_CALLS = 3
"""First calls compile, allocate and load: they are made, and not counted."""
CALLS = 10
INLINE_MOST_S = 0.020
"""A pass that takes longer leaves the event loop: health checks and new connections would feel it. A batch takes
some times the pass of one request, which is what is measured."""


@dataclass(frozen=True, kw_only=True)
class NodeCost:
    """Seconds that a made-up request of one series takes in each node.

    Each is the fastest of some calls: what else works on the machine only adds.

    Parameters
    ----------
    features_s, members_s, combine_s, describe_s
        Of the nodes; one a member.
    features_bytes
        What travels to members.
    """

    features_s: float
    members_s: tuple[float, ...]
    combine_s: float
    describe_s: float
    features_bytes: int

    @property
    def total_s(self) -> float:
        """All nodes after another."""
        return self.features_s + sum(self.members_s) + self.combine_s + self.describe_s


def measure(servable: Servable, clock_s: Callable[[], float] = time.perf_counter) -> NodeCost:
    """Warm a version up by its probe and time its nodes.

    Parameters
    ----------
    servable
        What is measured; the whole path of a request is run through.
    clock_s
        Seconds from any origin.
    """
    jobs = [servable.probe()]
    features, features_s = _timed(lambda: servable.prepare(jobs), clock_s)
    outputs, members_s = [], []
    for index in range(len(servable.members)):
        output, took_s = _timed(partial(servable.member, index, features), clock_s)
        outputs.append(output)
        members_s.append(took_s)
    combined, combine_s = _timed(lambda: servable.combine(outputs), clock_s)
    _, describe_s = _timed(lambda: servable.describe(jobs, combined), clock_s)
    return NodeCost(
        features_s=features_s,
        members_s=tuple(members_s),
        combine_s=combine_s,
        describe_s=describe_s,
        features_bytes=bytes_of(features),
    )


def bytes_of(features: Any) -> int:
    """Return the size of what travels to members: the arrays that a dataclass of features holds."""
    return sum(value.nbytes for value in vars(features).values() if isinstance(value, np.ndarray))


def measure_ends(servable: Servable, clock_s: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of a version's nodes before and after its members, which are asked just once."""
    jobs = [servable.probe()]
    features, features_s = _timed(lambda: servable.prepare(jobs), clock_s)
    outputs = [servable.member(index, features) for index in range(len(servable.members))]
    _, after_s = _timed(lambda: servable.describe(jobs, servable.combine(outputs)), clock_s)
    return features_s + after_s


def _timed(node: Callable[[], T], clock_s: Callable[[], float]) -> tuple[T, float]:
    """Return what a node makes, and the seconds of its fastest call."""
    took = []
    for _ in range(WARM_CALLS + CALLS):
        begun_s = clock_s()
        made = node()
        took.append(clock_s() - begun_s)
    return made, min(took[WARM_CALLS:])
