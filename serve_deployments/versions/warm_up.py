"""The first calls of a version, made before traffic makes them, at every size that batches have."""

from __future__ import annotations

import time
from collections.abc import Callable

from serve_deployments.servable import Servable, compute

BUDGET_S = 2.0
"""Sizes beyond the powers of two are warmed while this lasts: a slow model's start must not take minutes."""


def sizes(most: int) -> list[int]:
    """Return every batch size from 1 to `most`, the powers of two and `most` itself first."""
    powers = [1 << n for n in range(most.bit_length()) if 1 << n <= most]
    first = list(dict.fromkeys([*powers, most]))
    return [*first, *(size for size in range(1, most + 1) if size not in first)]


def warm_up(servable: Servable, most: int, clock_s: Callable[[], float] = time.perf_counter) -> str:
    """Answer made-up questions in batches of each size; return what that showed.

    First calls compile, allocate and load, and some libraries do so again for each new shape.

    Parameters
    ----------
    servable
        The version.
    most
        Largest batch.
    clock_s
        Seconds from any origin.

    Raises
    ------
    Exception
        What the version raises where it cannot answer.
    """
    begun_s, took_s, done = clock_s(), [], 0
    wanted = sizes(most)
    for size in wanted:
        if size & (size - 1) and size != most and clock_s() - begun_s > BUDGET_S:
            break
        started_s = clock_s()
        for result in compute(servable, [servable.probe()] * size):
            if isinstance(result, Exception):
                raise result
        took_s.append(clock_s() - started_s)
        done += 1
    low, high = min(took_s), max(took_s)
    return f"warmed up at {done} of {len(wanted)} batch sizes up to {most}: {low * 1e3:.2g} .. {high * 1e3:.2g} ms"
