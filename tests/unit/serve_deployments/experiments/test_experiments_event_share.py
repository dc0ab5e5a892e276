"""Evidence from the labels of bad events: fair under the hypothesis, quick against it."""

from __future__ import annotations

import json
from math import log

import numpy as np
import pytest

from cluster.errors import ConfigError
from serve_deployments.experiments.event_share import (
    HIGHER,
    LOWER,
    MAX_SHARES,
    Alternatives,
    EventShare,
    log_evidence,
)

ALPHA = 0.05
LIMIT = log(1 / ALPHA)


def ever_refuted(ratio: float, share: float, events: int, runs: int = 2000, tolerated: float = 1.0) -> float:
    """Look after every single bad event; return the share of runs in which the evidence ever got there."""
    rng = np.random.default_rng(5)
    new = (rng.random((runs, events)) < share * ratio / (share * ratio + 1 - share)).cumsum(axis=1)
    old = np.arange(1, events + 1) - new
    found = log_evidence(new[..., None], old[..., None], [share], tolerated=tolerated)
    return float((found.max(axis=1) >= LIMIT).mean())


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_equal_versions_are_rarely_refuted_at_any_look(share: float) -> None:
    assert ever_refuted(1.0, share, events=2000) <= ALPHA


def test_a_better_version_is_refuted_even_less() -> None:
    assert ever_refuted(0.5, 0.25, events=1000) < 0.02


def test_a_worse_version_within_tolerance_is_let_through() -> None:
    assert ever_refuted(1.5, 0.25, events=1000, tolerated=1.5) <= ALPHA
    assert ever_refuted(1.5, 0.25, events=1000, tolerated=1.0) > 0.9


def test_three_times_the_errors_are_found_within_some_hundred_events() -> None:
    assert ever_refuted(3.0, 0.05, events=264) > 0.99


def test_shares_may_change_on_the_way() -> None:
    rng = np.random.default_rng(6)
    process, ever = EventShare(2000), np.zeros(2000, dtype=bool)
    for share in (0.05, 0.1, 0.25, 0.5):
        for _ in range(50):
            new = rng.random(2000) < share
            process.update(new, ~new, share=share)
            ever |= process.log_evidence() >= LIMIT
    assert ever.mean() <= ALPHA


def test_it_is_the_wealth_of_betting_on_the_weighted_difference_of_rates() -> None:
    share, ratio = 0.2, 2.5
    theta = share * ratio / (share * ratio + 1 - share)
    stake = (theta / share - 1) * share
    wealth = 1.0
    for is_new in (True, False, False, True, True, False):
        wealth *= 1 + stake * (1 / share if is_new else -1 / (1 - share))
    one = Alternatives(ratios=(ratio,), weights=(1.0,))
    assert float(log_evidence([3], [3], [share], alternatives=one)) == pytest.approx(log(wealth))


def test_many_events_a_time_are_as_good_as_one_by_one() -> None:
    single, batch = EventShare(), EventShare()
    for new in (1, 0, 1, 1, 0):
        single.update(new, 1 - new, share=0.3)
    batch.update(3, 2, share=0.3)
    assert single.log_evidence() == pytest.approx(batch.log_evidence())
    assert [float(each[0]) for each in batch.events] == [3, 2]


def test_a_loss_is_gathered_by_the_other_direction() -> None:
    found = log_evidence([300], [1000], [0.5], tolerated=0.9, alternatives=LOWER)
    assert float(found) > LIMIT
    assert float(log_evidence([900], [1000], [0.5], tolerated=0.9, alternatives=LOWER)) < 0


def test_the_interval_holds_the_true_ratio_at_all_looks() -> None:
    rng = np.random.default_rng(7)
    share, ratio, missed = 0.25, 2.0, 0
    for _ in range(40):
        process = EventShare()
        for _ in range(8):
            new = rng.binomial(40, share * ratio / (share * ratio + 1 - share))
            process.update(new, 40 - new, share=share)
            low, high = process.interval(0.2)
            if not low <= ratio <= high:
                missed += 1
                break
    assert missed <= 40 * 0.2
    assert 1.0 < low < ratio < high < 4.0


def test_without_events_nothing_is_known() -> None:
    assert EventShare().log_evidence() == pytest.approx([0.0])
    assert EventShare().interval(0.05) == (0.0, np.inf)


def test_the_state_survives_json() -> None:
    process = EventShare(3)
    process.update([1, 2, 3], [5, 5, 5], share=0.1)
    process.update([0, 1, 0], [5, 4, 5], share=0.5)
    again = EventShare(3).restore(json.loads(json.dumps(process.to_json())))
    assert again.log_evidence().tolist() == process.log_evidence().tolist()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="share"):
        EventShare().update(1, 0, share=share)


def test_memory_is_bounded() -> None:
    process = EventShare()
    for place in range(MAX_SHARES):
        process.update(1, 1, share=(place + 1) / (MAX_SHARES + 2))
    with pytest.raises(ConfigError, match=str(MAX_SHARES)):
        process.update(1, 1, share=0.999)


@pytest.mark.parametrize(
    ("ratios", "weights"), [((2.0,), (0.5,)), ((2.0, 0.5), (0.5, 0.5)), ((2.0,), (0.5, 0.5)), ((0.0,), (1.0,))]
)
def test_alternatives_on_both_sides_or_without_sum_one_are_refused(
    ratios: tuple[float, ...], weights: tuple[float, ...]
) -> None:
    with pytest.raises(ConfigError, match="alternatives"):
        Alternatives(ratios=ratios, weights=weights)


def test_a_tolerated_ratio_is_positive() -> None:
    with pytest.raises(ConfigError, match="tolerated"):
        EventShare(tolerated=0.0)
    assert sum(HIGHER.weights) == pytest.approx(1.0)
