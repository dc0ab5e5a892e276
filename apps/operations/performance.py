"""Latency and throughput that follow from how busy the servers are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from cluster.errors import ConfigError, DataError
from training.core.parameters import real, whole
from training.core.schema import Column
from training.core.windows import Floats
from training.data.operations import erlang_c
from training.inference.paths import Paths

LATENCY = Column(name="latency_s", unit="s", low=0)
THROUGHPUT = Column(name="throughput_per_s", unit="1/s", low=0)
MOST_SERVERS = 10_000
"""Erlang's recursion takes a pass over all paths for each: some seconds for as many."""
SATURATED = 1 - 1e-9
"""Utilisation from which on the queue grows without end."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue before equal servers: what utilisation means for those who wait.

    Throughput is `utilisation x servers / service time` (utilisation law). Mean latency is the service time plus
    the mean wait of an M/M/c queue (Erlang C) times `variability` (Allen-Cunneen). It assumes a steady state within
    each step, first come first served, and that requests alone keep the servers busy. Servers that are busy all the
    time let the queue grow without end: their latency is infinite.

    Parameters
    ----------
    servers
        Equal servers (cores, workers) behind one queue, 1 or more.
    service_time_s
        Mean time that one request keeps one server busy, above 0.
    variability
        Half the sum of the squared coefficients of variation of the times between arrivals and of service; 1 for
        Poisson arrivals and exponential service (M/M/c), 0.5 for constant service (M/D/c). With one server and
        Poisson arrivals the wait is Pollaczek and Khinchine's, exactly.

    References
    ----------
    Kleinrock (1975), Queueing Systems, volume 1; Allen (1990), Probability, Statistics and Queueing Theory, for the
    approximation of G/G/c.
    """

    servers: int
    service_time_s: float
    variability: float = 1.0

    def __post_init__(self) -> None:
        whole("servers", self.servers, low=1, high=MOST_SERVERS)
        real("service_time_s", self.service_time_s, low=0, above=True)
        real("variability", self.variability, low=0)

    @classmethod
    def fit(
        cls, utilisation: Floats, throughput_per_s: Floats, latency_s: Floats | None = None, *, servers: int
    ) -> Self:
        """Learn service time and, where latency was measured, variability; both by least squares.

        Parameters
        ----------
        utilisation
            (N,) 0 .. 1.
        throughput_per_s, latency_s
            (N,) measured together with it.
        servers
            Known.

        Raises
        ------
        DataError
            Nothing was busy, or nothing went through.
        """
        squares = float(np.square(throughput_per_s).sum())
        time = servers * float((utilisation * throughput_per_s).sum()) / squares if squares else 0.0
        if time <= 0:
            raise DataError.at(
                "a queue cannot be fitted",
                got="no row in which servers were busy and requests went through",
                expected="utilisation and throughput above 0 in some rows",
            )
        plain = cls(servers=servers, service_time_s=time)
        if latency_s is None:
            return plain
        fine = utilisation < SATURATED
        waits = plain.latency_s(utilisation[fine]) - time
        weight = float(np.square(waits).sum())
        found = float(((latency_s[fine] - time) * waits).sum()) / weight if weight else 1.0
        return cls(servers=servers, service_time_s=time, variability=max(found, 0.0))

    def throughput_per_s(self, utilisation: Floats) -> Floats:
        """Return requests served a second at utilisations 0 .. 1."""
        return utilisation * (self.servers / self.service_time_s)

    def latency_s(self, utilisation: Floats) -> Floats:
        """Return mean seconds from arrival to answer at utilisations 0 .. 1; infinite at 1."""
        busy = np.minimum(utilisation, SATURATED)
        waits = erlang_c(busy, self.servers) / (self.servers * (1 - busy))
        latency: Floats = self.service_time_s * (1 + self.variability * waits)
        return np.where(utilisation < SATURATED, latency, np.inf)

    def extend(self, paths: Paths, column: str, *, full: float = 100.0) -> Paths:
        """Return the paths with `latency_s` and `throughput_per_s`, computed path by path.

        Parameters
        ----------
        paths
            With a column of utilisation.
        column
            Its name.
        full
            Its value where all servers are busy: 100 of a percentage, 1 of a ratio.
        """
        at = paths.at(column)
        for name, relation in ((LATENCY.name, self.latency_s), (THROUGHPUT.name, self.throughput_per_s)):
            point, values, recent = (
                relation(np.clip(part[..., at] / full, 0, 1)) for part in (paths.point, paths.values, paths.recent)
            )
            paths = paths.with_column(name, point=point, values=values, recent=recent)
        return paths


@dataclass(frozen=True, kw_only=True)
class QueuePlan:
    """What is declared of a queue, and which measured columns say the rest.

    Parameters
    ----------
    servers
        See `Queue`.
    service_time_s
        Declared; None where it is fitted.
    variability
        Declared; fitted where latency was measured.
    throughput, latency
        Columns of requests a second and of mean seconds to an answer, where they were measured.
    """

    servers: int
    service_time_s: float | None = None
    variability: float = 1.0
    throughput: str | None = None
    latency: str | None = None

    def __post_init__(self) -> None:
        if (self.service_time_s is None) == (self.throughput is None):
            got = "neither" if self.throughput is None else "both"
            raise ConfigError(
                f"a queue needs its service time: got {got}, expected either service_time_s or the column of "
                "throughput that it is fitted on"
            )
        if self.latency is not None and self.throughput is None:
            raise ConfigError(
                "latency alone does not say the service time: got no throughput, expected its column too"
            )

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns that the queue is fitted on."""
        return tuple(column for column in (self.throughput, self.latency) if column is not None)

    def queue(self, rows: Floats, columns: tuple[str, ...], full: float) -> Queue:
        """Return the queue of one series.

        Parameters
        ----------
        rows
            (N, C) utilisation first.
        columns
            (C,) names.
        full
            Utilisation where all servers are busy.
        """
        if self.throughput is None or self.service_time_s is not None:
            time = self.service_time_s or 0.0  # refused by Queue
            return Queue(servers=self.servers, service_time_s=time, variability=self.variability)
        latency = None if self.latency is None else rows[:, columns.index(self.latency)]
        found = Queue.fit(rows[:, 0] / full, rows[:, columns.index(self.throughput)], latency, servers=self.servers)
        return found if latency is not None else replace(found, variability=self.variability)
