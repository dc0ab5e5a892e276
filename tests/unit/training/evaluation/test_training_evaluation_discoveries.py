"""False discoveries: known answers, plain sums beside the running ones, and the share of false ones."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.errors import ConfigError, DataError
from training.evaluation.false_discovery import (
    Lord,
    OnlineDiscoveries,
    Saffron,
    benjamini_hochberg,
    e_benjamini_hochberg,
    e_values,
    gamma,
    joint_alarms,
)

PAPER = np.array(
    [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1,
    ]
)
"""The example of Benjamini and Hochberg (1995), section 3.2."""


def test_the_example_of_the_paper() -> None:
    assert benjamini_hochberg(PAPER, 0.05).tolist() == [True] * 4 + [False] * 11
    assert benjamini_hochberg(PAPER[::-1], 0.05)[-4:].all()
    assert not benjamini_hochberg(np.ones(5), 0.05).any()
    assert len(benjamini_hochberg(np.empty(0), 0.05)) == 0


def test_e_values_are_harder_to_please() -> None:
    found = e_benjamini_hochberg(e_values(PAPER), 0.05)
    assert not (found & ~benjamini_hochberg(PAPER, 0.05)).any()
    assert e_benjamini_hochberg(np.array([100.0, 1.0, 50.0]), 0.05).tolist() == [True, False, True]
    assert e_benjamini_hochberg(np.array([50.0, 1.0, 1.0]), 0.05).tolist() == [False, False, False]


def test_joint_alarms_equal_single_ones_while_all_is_calm_and_believe_more_when_many_are_strange() -> None:
    allowed = np.array([0.001, 0.002, 0.001, 0.001])
    alone = np.array([[0.0009], [0.5], [0.5], [0.5]])
    assert joint_alarms(alone, allowed)[:, 0].tolist() == [True, False, False, False]
    many = np.array([[0.0009], [0.0039], [0.0029], [0.0039]])
    assert joint_alarms(many, allowed)[:, 0].tolist() == [True, True, True, True]
    assert not joint_alarms(np.full((4, 3), 0.5), allowed).any()


def test_joint_alarms_cost_what_single_ones_do() -> None:
    p = np.random.default_rng(0).random((50, 20_000))
    rate = joint_alarms(p, np.array([0.001])).mean()
    assert rate == pytest.approx(0.001, rel=0.15)


@pytest.mark.parametrize(("p_values", "got"), [([0.5, 1.2], "1.2"), ([0.5, np.nan], "nan"), ([0.1, -0.1], "-0.1")])
def test_what_is_no_p_value(p_values: list[float], got: str) -> None:
    with pytest.raises(DataError, match=rf"a p-value is none: row \(1,\): got {got}, expected 0 .. 1"):
        benjamini_hochberg(np.array(p_values), 0.05)


@pytest.mark.parametrize("kind", [Lord, Saffron])
class TestOnline:
    def test_a_bad_one_changes_nothing(self, kind: type[OnlineDiscoveries]) -> None:
        online = kind()
        before = online.level
        with pytest.raises(DataError, match=r"a p-value is none: row 0: got 7, expected 0 .. 1"):
            online.update(7)
        assert online.level == before

    def test_q_is_a_share(self, kind: type[OnlineDiscoveries]) -> None:
        with pytest.raises(ConfigError, match="parameter 'q': got 0, expected a finite number, above 0, at most 1"):
            kind(q=0)

    def test_false_discoveries_stay_in_their_share_and_true_ones_are_found(
        self, kind: type[OnlineDiscoveries]
    ) -> None:
        shares, power = [], []
        for seed in range(30):
            rng = np.random.default_rng(seed)
            true = rng.random(600) < 0.2
            p = np.where(true, rng.beta(0.05, 5, 600), rng.random(600))
            online = kind(q=0.1)
            found = np.array([online.update(each) for each in p])
            shares.append((found & ~true).sum() / max(found.sum(), 1))
            power.append((found & true).sum() / true.sum())
        assert np.mean(shares) < 0.1
        assert np.mean(power) > 0.5


def test_lord_is_the_sum_of_the_paper() -> None:
    q = 0.1
    online = Lord(q=q)
    found: list[int] = []
    for step, p in enumerate(np.random.default_rng(5).random(400) ** 3, start=1):
        terms = [gamma(step - each) for each in found]
        assert online.level == pytest.approx(q / 2 * gamma(step) + q / 2 * sum(terms[:1]) + q * sum(terms[1:]))
        if online.update(p):
            found.append(step)
    assert len(found) > 5


def test_saffron_is_the_sum_of_the_paper() -> None:
    """Each term's clock stands still while a p-value is a candidate, counted from its own discovery on."""
    q = 0.1
    online = Saffron(q=q)
    history: list[float] = []
    found: list[int] = []
    for step, p in enumerate(np.random.default_rng(6).random(400) ** 3, start=1):
        terms = [gamma(step - since - sum(1 for each in history[since:] if each <= 0.5)) for since in [0, *found]]
        plain = q / 2 * sum(terms[:2]) + q * sum(terms[2:])
        assert online.level == pytest.approx(min(0.5, 0.5 * plain))
        history.append(p)
        if online.update(p):
            found.append(step)
    assert len(found) > 5
