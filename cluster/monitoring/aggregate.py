"""Many processes' cumulative snapshots as one truth."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

from cluster.clock import Clock
from cluster.monitoring.metrics import SERIES_DROPPED, Family, Labels, Snapshot

logger = logging.getLogger(__name__)
Key = tuple[str, Labels]


class Aggregate:
    """Adds the snapshots of replicas that come and go; counters never fall, memory is bounded.

    Each source's last snapshot is kept, and only what it grew by is added to the totals. A source that is gone
    costs nothing but its last snapshot, until `max_sources` newer ones have pushed that out. Samples that arrive
    late or twice add nothing.

    Parameters
    ----------
    clock
        Tells how old a gauge is.
    max_sources
        Sources remembered. One that was forgotten and comes back would count twice: keep it well above the number
        of replicas that live at once.
    max_series
        Samples kept; further ones are dropped and counted in `ml_metric_series_dropped_total`.
    stale_s
        Seconds after which a gauge that nobody renews disappears.
    """

    def __init__(
        self, clock: Clock, *, max_sources: int = 256, max_series: int = 20_000, stale_s: float = 60.0
    ) -> None:
        self._clock = clock
        self._max_sources, self._max_series, self._stale_s = max_sources, max_series, stale_s
        self._last: OrderedDict[str, dict[Key, float]] = OrderedDict()
        self._kinds: dict[str, tuple[str, str]] = {}
        self._totals: dict[str, dict[Key, float]] = {}
        self._gauges: dict[str, dict[Key, tuple[float, float]]] = {}
        self._series = 0
        self._dropped = 0

    def update(self, source: str, snapshot: Snapshot) -> None:
        """Take in what `source` has counted since it started."""
        last = self._last.setdefault(source, {})
        self._last.move_to_end(source)
        while len(self._last) > self._max_sources:
            self._last.popitem(last=False)
        for family in snapshot:
            self._kinds[family.name] = (family.kind, family.help)
            if family.kind == "gauge":
                self._renew(family)
            else:
                self._add(family, last)

    def _renew(self, family: Family) -> None:
        now_s = self._clock.now_s()
        gauges = self._gauges.setdefault(family.name, {})
        for key, value in family.samples.items():
            if key in gauges or self._admit():
                gauges[key] = (value, now_s)

    def _add(self, family: Family, last: dict[Key, float]) -> None:
        totals = self._totals.setdefault(family.name, {})
        for key, value in family.samples.items():
            if key not in totals:
                if not self._admit():
                    continue
                totals[key] = 0.0
            grown = value - last.get(key, 0.0)
            if key not in last or grown > 0:
                totals[key] += grown
                last[key] = value

    def _admit(self) -> bool:
        if self._series < self._max_series:
            self._series += 1
            return True
        self._dropped += 1
        if self._dropped == 1:
            logger.warning("more than %d metric series: further ones are dropped", self._max_series)
        return False

    def snapshot(self) -> Snapshot:
        """Return the sums, and the gauges that are fresh."""
        self._forget_stale()
        return tuple(
            Family(name=name, kind=kind, help=text, samples=self._samples(name))
            for name, (kind, text) in self._kinds.items()
        )

    def _samples(self, name: str) -> dict[Key, float]:
        gauges = {key: value for key, (value, _) in self._gauges.get(name, {}).items()}
        return dict(self._totals.get(name, {})) | gauges

    def _forget_stale(self) -> None:
        oldest_s = self._clock.now_s() - self._stale_s
        for gauges in self._gauges.values():
            for key in [key for key, (_, seen_s) in gauges.items() if seen_s < oldest_s]:
                del gauges[key]
                self._series -= 1

    def text(self) -> str:
        """Return the Prometheus text exposition."""
        dropped: Key = (SERIES_DROPPED, ())
        own = Family(
            name=SERIES_DROPPED.removesuffix("_total"),
            kind="counter",
            help="Metric series refused because there were too many",
            samples={dropped: float(self._dropped)},
        )
        return render((*self.snapshot(), own))


def render(snapshot: Snapshot) -> str:
    """Return a snapshot in the Prometheus text format."""
    return generate_latest(_Fixed(snapshot)).decode()


class _Fixed(CollectorRegistry):
    """A registry that holds samples instead of counters."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        for family in self._snapshot:
            metric = Metric(family.name, family.help, family.kind)
            for (name, labels), value in family.samples.items():
                metric.add_sample(name, dict(labels), value)
            yield metric
