"""The memory of answers keeps its bounds, whatever is put in."""

from __future__ import annotations

import os
import tracemalloc
from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cluster.clock import ManualClock
from serve_deployments.cache.key import CacheKey
from serve_deployments.cache.memory import ENTRY_BYTES, ExpiringLRU

KEYS = st.builds(CacheKey, st.sampled_from(["m@1", "m@2"]), st.sampled_from([b"a", b"b", b"c", b"d"]))


class LRUMachine(RuleBasedStateMachine):
    """Held to a plain twin: an ordered dict, scanned as a whole each time."""

    @initialize(entries=st.integers(0, 4))
    def start(self, entries: int) -> None:
        self.clock = ManualClock()
        self.lru = ExpiringLRU[bytes](len, self.clock, max_bytes=entries * (ENTRY_BYTES + 10), ttl_s=10)
        self.twin: OrderedDict[CacheKey, tuple[bytes, float]] = OrderedDict()

    def size(self) -> int:
        return sum(len(value) + ENTRY_BYTES for value, _ in self.twin.values())

    @rule(key=KEYS, length=st.integers(0, 40))
    def put(self, key: CacheKey, length: int) -> None:
        value = bytes(length)
        self.lru.put(key, value)
        self.twin.pop(key, None)
        if length + ENTRY_BYTES <= self.lru.max_bytes:
            self.twin[key] = value, self.clock.now_s() + 10
            while self.size() > self.lru.max_bytes:
                self.twin.popitem(last=False)

    @rule(key=KEYS)
    def get(self, key: CacheKey) -> None:
        value, expires_s = self.twin.get(key, (None, 0.0))
        if value is not None and expires_s <= self.clock.now_s():
            del self.twin[key]
            value = None
        elif value is not None:
            self.twin.move_to_end(key)
        assert self.lru.get(key) == value

    @rule(seconds=st.sampled_from([1.0, 5.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(model=st.sampled_from([None, "m@1", "m@2"]))
    def forget(self, model: str | None) -> None:
        gone = [key for key in self.twin if model in (None, key.model)]
        for key in gone:
            del self.twin[key]
        assert self.lru.forget(model) == len(gone)

    @invariant()
    def keeps_its_bounds(self) -> None:
        if hasattr(self, "lru"):
            assert self.lru.total_bytes == self.size() <= self.lru.max_bytes
            assert len(self.lru) == len(self.twin)


TestLRUMachine = LRUMachine.TestCase


@given(st.floats(0.1, 9.9))
def test_what_is_left_of_an_entrys_life(waited_s: float) -> None:
    clock, key = ManualClock(), CacheKey("m", b"k")
    lru = ExpiringLRU[bytes](len, clock, max_bytes=10_000, ttl_s=10)
    assert key not in lru
    lru.put(key, b"v")
    clock.advance(waited_s)
    assert lru.left_s(key) == 10 - waited_s
    assert key in lru
    clock.advance(10)
    assert key not in lru


def test_entries_take_what_is_counted_for_them() -> None:
    count, length = 2000, 1000
    lru = ExpiringLRU[bytes](len, ManualClock(), max_bytes=10**9, ttl_s=10)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(count):
            lru.put(CacheKey("model@1.0.0", os.urandom(32)), bytes(length))
        took = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.75 * lru.total_bytes < took <= lru.total_bytes
