"""What holds of crossings, whatever the paths and the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from apps.operations.crossings import Crossings
from apps.operations.limits import Limit
from training.core.windows import Floats
from training.inference.paths import Paths

NAMES = ("a", "b", "c")
VALUES = st.integers(0, 20).map(float)


def paths_of(values: Floats, recent: Floats) -> Paths:
    times = np.datetime64("2024-01-01", "ns") + np.arange(values.shape[1]) * np.timedelta64(1, "h")
    return Paths(
        series="s",
        times=times,
        columns=NAMES,
        point=values.mean(axis=0),
        values=values,
        recent=recent,
        independent=float(len(values)),
    )


@st.composite
def questions(draw: st.DrawFn) -> tuple[Paths, list[Limit], int]:
    count, steps = draw(st.integers(1, 12)), draw(st.integers(1, 8))
    values = draw(arrays(np.float64, (count, steps, 3), elements=VALUES))
    recent = draw(arrays(np.float64, (draw(st.integers(1, 5)), 3), elements=VALUES))
    limits = [
        Limit(column=name, value=draw(VALUES) + 0.5, keep=draw(st.sampled_from(("below", "above"))))
        for name in NAMES
    ]
    return paths_of(values, recent), limits, draw(st.integers(1, steps))


@settings(deadline=None, max_examples=150)
@given(questions())
def test_probabilities_rise_and_shares_add_up(asked: tuple[Paths, list[Limit], int]) -> None:
    paths, limits, consecutive = asked
    found = Crossings.of(paths, limits, consecutive=consecutive)
    assert (np.diff(found.by_step, axis=0) >= 0).all()
    assert ((found.by_step >= 0) & (found.by_step <= 1)).all()
    np.testing.assert_allclose(found.by_step[-1], found.probability)
    np.testing.assert_allclose(found.shares.sum(), found.any_probability)
    assert (found.shares <= found.probability + 1e-12).all()
    np.testing.assert_allclose(found.health_parts()["points_lost"].sum(), 100 - found.health, atol=1e-9)
    for row in found.steps((0.1, 0.5, 0.9)):
        within = [step for step in row if step is not None]
        assert within == sorted(within)
        assert row == within + [None] * (3 - len(within))


@settings(deadline=None, max_examples=100)
@given(questions(), st.permutations(range(3)))
def test_the_order_of_columns_and_limits_does_not_matter(
    asked: tuple[Paths, list[Limit], int], order: list[int]
) -> None:
    paths, limits, consecutive = asked
    found = Crossings.of(paths, limits, consecutive=consecutive)
    turned = replace(
        paths,
        columns=tuple(NAMES[n] for n in order),
        point=paths.point[:, order],
        values=paths.values[..., order],
        recent=paths.recent[:, order],
    )
    again = Crossings.of(turned, [limits[n] for n in order], consecutive=consecutive)
    np.testing.assert_allclose(again.shares, found.shares[order])
    assert np.array_equal(again.first, found.first[:, order])
    assert again.health == found.health


@settings(deadline=None, max_examples=100)
@given(questions())
def test_first_crossings_are_those_of_a_plain_loop(asked: tuple[Paths, list[Limit], int]) -> None:
    paths, limits, run = asked
    found = Crossings.of(paths, limits, consecutive=run)
    for path in range(len(paths.values)):
        for n, limit in enumerate(limits):
            whole = [*paths.recent[:, n], *paths.values[path, :, n]]
            beyond = [bool(limit.crossed(np.array([value]))[0]) for value in whole]
            now = len(paths.recent)
            ends = [e for e in range(now - 1, len(whole)) if e + 1 >= run and all(beyond[e + 1 - run : e + 1])]
            plain = min((max(end - now + 1, 1) for end in ends), default=len(paths.times) + 1)
            assert found.first[path, n] == plain


@settings(deadline=None, max_examples=60)
@given(questions(), st.floats(0.5, 5))
def test_a_looser_limit_and_a_longer_run_are_crossed_less(
    asked: tuple[Paths, list[Limit], int], more: float
) -> None:
    paths, limits, consecutive = asked
    found = Crossings.of(paths, limits, consecutive=consecutive)
    looser = [replace(each, value=each.value + (more if each.keep == "below" else -more)) for each in limits]
    assert (Crossings.of(paths, looser, consecutive=consecutive).by_step <= found.by_step).all()
    assert (found.by_step <= Crossings.of(paths, limits).by_step).all()
