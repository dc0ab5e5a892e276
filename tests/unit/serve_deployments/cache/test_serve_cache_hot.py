"""Which inputs are hot: estimated from decayed counts, bounded in number and bytes."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.clock import ManualClock
from cluster.errors import ConfigError
from serve_deployments.cache.hot import HotKeys, HotSpec
from serve_deployments.cache.key import CacheKey


def key(name: str) -> CacheKey:
    return CacheKey("m@1", name.encode())


@given(rate=st.floats(0.02, 5.0))
def test_a_steady_stream_shows_its_rate(rate: float) -> None:
    clock = ManualClock()
    hot = HotKeys[bytes](HotSpec(half_life_s=100), clock, len)
    for _ in range(int(1000 * rate) + 1):
        hot.seen(key("a"), bytes)
        clock.advance(1 / rate)
    # Ten half-lives have passed, 1/1024 is still to come; just before an access, half a one is missing.
    assert rate * 0.998 - 0.0036 <= hot.rate(key("a")) <= rate


def test_what_is_asked_often_is_renewed_before_it_expires_the_hottest_first() -> None:
    clock = ManualClock()
    hot = HotKeys[bytes](HotSpec(half_life_s=60), clock, len)
    for second in range(300):
        clock.advance(1)
        for name, period in (("each second", 1), ("each ten", 10), ("each hundred", 100)):
            if second % period == 0:
                hot.seen(key(name), name.encode)
    left = {key("each second"): 3.0, key("each ten"): 0.0, key("each hundred"): 0.0}
    due = hot.due(left.__getitem__, ttl_s=60, lead_s=5, limit=10)
    assert [hot.request(each) for each in due] == [b"each second", b"each ten"]
    assert hot.due(left.__getitem__, ttl_s=60, lead_s=2, limit=10) == [key("each ten")]
    assert hot.due(left.__getitem__, ttl_s=60, lead_s=5, limit=1) == [key("each second")]
    clock.advance(3600)
    assert hot.due(lambda _: 0.0, ttl_s=60, lead_s=5, limit=10) == [], "nobody has asked for an hour"


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=300))
def test_the_past_is_bounded_in_number_and_bytes(accesses: list[tuple[int, int]]) -> None:
    clock, spec = ManualClock(), HotSpec(max_keys=20, max_bytes=400)
    hot, known = HotKeys[bytes](spec, clock, len), dict[int, int]()
    for number, length in accesses:
        clock.advance(1)
        known.setdefault(number, length)
        hot.seen(key(str(number)), partial(bytes, known[number]))
        assert len(hot) <= 20
        assert hot.total_bytes <= 400
    assert hot.total_bytes == sum(len(hot.request(each)) for each in hot.hottest(100))


def test_the_coldest_are_forgotten_first() -> None:
    clock = ManualClock()
    hot = HotKeys[bytes](HotSpec(max_keys=10), clock, len)
    for name in "abcdefghij":
        for _ in range(1 if name in "cg" else 5):
            hot.seen(key(name), lambda: b"r")
    hot.seen(key("new"), lambda: b"r")
    hot.seen(key("newer"), lambda: b"r")
    kept = {each.digest.decode() for each in hot.hottest(100)}
    assert {"new", "newer"} & kept
    assert set("abdefhij") <= kept


def test_a_request_larger_than_the_whole_room_is_not_remembered() -> None:
    hot = HotKeys[bytes](HotSpec(max_bytes=10), ManualClock(), len)
    hot.seen(key("large"), lambda: bytes(11))
    assert len(hot) == 0


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="hot keys"):
        HotSpec(half_life_s=0)
