"""What the Gaussian process makes of what it is told."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.errors import ConfigError
from training.core.cube import Cube, Floats, Mask
from training.core.space import Choice, Draw, Real, Space, When, Whole
from tuning.search import gaussian_process
from tuning.search.ascent import PENDING_REACH, SEEN_REACH, Taken
from tuning.search.encoding import ABSENT, Encoding
from tuning.search.gaussian_process import ACQUISITIONS, GaussianProcess, evened
from tuning.search.likelihood import NOISES, Fitted, fit
from tuning.search.outcome import Outcome

BOX: Space = {"x": Real(-1.0, 2.0), "y": Real(-1.0, 2.0)}
MIXED: Space = {
    "kind": Choice(("a", "b", "c")),
    "few": Whole(1, 4),
    "many": Whole(1, 400, log=True),
    "only": Choice((0, 1), when=When("kind", ("b",))),
}


def cost(draw: Draw) -> float:
    return float((draw["x"] - 0.7) ** 2 + (draw["y"] + 0.2) ** 2)


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_each_acquisition_finds_the_bottom_of_a_bowl(acquisition: str) -> None:
    policy = GaussianProcess(BOX, seed=0, acquisition=acquisition, confidence=1.0)
    for _ in range(20):
        draw = policy.ask()
        assert draw is not None
        policy.tell(draw, Outcome(values=(cost(draw),)))
    assert min(each.outcome.values[0] for each in policy.observations) < 0.01


def test_an_unknown_acquisition_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="parameter 'acquisition': got 'luck', expected one of expected_improvement"
    ):
        GaussianProcess(BOX, acquisition="luck")
    with pytest.raises(ConfigError, match="parameter 'confidence'"):
        GaussianProcess(BOX, confidence=-1.0)


def test_a_bound_with_more_confidence_explores_more() -> None:
    far = []
    for confidence in (0.0, 20.0):
        policy = GaussianProcess(BOX, seed=1, acquisition="upper_confidence_bound", confidence=confidence)
        for _ in range(12):
            draw = policy.cube.decode(np.random.default_rng(len(policy.observations)).random(2))
            policy.tell(draw, Outcome(values=(cost(draw),)))
        proposed = policy.ask()
        assert proposed is not None
        far.append(cost(proposed))
    assert far[0] < far[1]


def test_values_above_the_median_are_drawn_together_and_keep_their_order() -> None:
    values = np.array([0.0, 1.0, 2.0, 3.0, 1e6])
    found = evened(values)
    assert (np.diff(found) > 0).all()
    assert (found.mean(), found.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    assert found[4] - found[2] < 15 * (found[2] - found[0])
    assert evened(np.full(3, 7.0)).tolist() == [0.0, 0.0, 0.0]


def test_noise_is_told_from_a_smooth_function() -> None:
    rng = np.random.default_rng(0)
    points, unordered = rng.random((60, 2)), np.zeros(2, dtype=bool)
    smooth = evened(np.sin(4 * points[:, 0]) + points[:, 1])
    noisy = smooth + 0.5 * rng.standard_normal(60)
    assert fit(points, smooth, unordered).noise < 100 * NOISES[0]
    assert 0.1 < fit(points, noisy, unordered).noise < 0.6


def test_a_coordinate_that_does_not_matter_gets_a_long_length() -> None:
    points = np.random.default_rng(1).random((50, 3))
    lengths = fit(points, evened(np.sin(6 * points[:, 1])), np.zeros(3, dtype=bool)).lengths
    assert lengths[1] < 0.2 * min(lengths[0], lengths[2])


def test_what_it_looks_at_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(gaussian_process, "MOST_SEEN", 20)
    monkeypatch.setattr(gaussian_process, "MOST_FITTED", 12)

    def counted(points: Floats, targets: Floats, unordered: Mask) -> Fitted:
        sizes.append(len(targets))
        return fit(points, targets, unordered)

    monkeypatch.setattr(gaussian_process, "fit", counted)
    policy, rng = GaussianProcess(BOX, seed=0), np.random.default_rng(0)
    for _ in range(50):
        draw = policy.cube.decode(rng.random(2))
        policy.tell(draw, Outcome(values=(cost(draw),)))
    proposed = policy.ask()
    assert proposed is not None
    assert sizes == [12]
    kept = gaussian_process._kept(np.arange(50.0))
    assert kept.tolist() == [*range(10), *range(40, 50)]


def test_points_are_those_of_draws_and_absent_choices_are_a_value_of_their_own() -> None:
    encoding = Encoding(Cube(MIXED))
    points = encoding.snap(np.array([[0.5, 0.3, 0.123, 0.7], [0.1, 0.3, 0.123, 0.7]]))
    assert points[0, 0] == 0.5
    assert points[0, 1] == 0.375
    assert points[:, 3].tolist() == [0.75, ABSENT]
    np.testing.assert_array_equal(encoding.snap(points), points)


def test_only_what_is_nearly_real_is_moved_by_a_gradient() -> None:
    encoding = Encoding(Cube(MIXED | {"free": Real(0.0, 1.0, when=When("few", (1,)))}))
    points = encoding.points([{"kind": 0, "few": 1, "many": 9, "free": 0.3}, {"kind": 0, "few": 2, "many": 9}])
    assert encoding.held(points).tolist() == [[True, True, False, True, False], [True, True, False, True, True]]


def test_neighbours_change_one_stepped_parameter() -> None:
    encoding = Encoding(Cube(MIXED))
    draw: Draw = {"kind": 0, "few": 2, "many": 50}
    near = [encoding.draw(point) for point in encoding.neighbours(encoding.points([draw])[0])]
    changes = [{name for name in MIXED if each.get(name) != draw.get(name)} for each in near]
    assert {"kind"} in changes
    assert {"kind", "only"} in changes
    assert {"few"} in changes
    assert {each["few"] for each in near} == {1, 2, 3, 4}
    assert {each["many"] for each in near} - {50} != set()


def test_nothing_more_is_expected_close_to_what_is_taken() -> None:
    taken = Taken(np.array([[0.5, 0.5]]), np.array([[0.2, 0.2]]))
    points = np.array(
        [[0.5, 0.5 + SEEN_REACH / 2], [0.5, 0.5 + 2 * SEEN_REACH], [0.2, 0.2 + PENDING_REACH / 2], [0.9, 0.9]]
    )
    assert taken.covers(points).tolist() == [True, False, True, False]
