"""Detectors that go fast are held to plain loops, and to the library that the idea is known by."""

from __future__ import annotations

import numpy as np
import pytest

from training.core.period import autocorrelation
from training.core.windows import Floats
from training.detectors.ensemble import surprise
from training.detectors.isolation_forest import IsolationForest
from training.detectors.local_outlier_factor import LocalOutlierFactor
from training.detectors.poly import Poly
from training.detectors.series2graph import RAYS, cross
from training.detectors.sub_pca import SubPCA
from training.detectors.subsequences import cut_pieces, spread
from training.detectors.weighing import agreements, average_precision


@pytest.fixture
def pieces() -> Floats:
    rng = np.random.default_rng(3)
    return rng.normal(size=(300, 6)) + np.where(np.arange(300) % 50 == 0, 4.0, 0.0)[:, None]


def test_pieces_are_the_rows_column_by_column() -> None:
    rows = np.arange(24.0).reshape(12, 2)
    got = cut_pieces(rows, 5)
    for start in range(8):
        assert np.array_equal(got[start], rows[start : start + 5].T.ravel())


@pytest.mark.parametrize("width", [1, 2, 5, 6])
def test_scores_go_to_the_rows_that_align_says(width: int) -> None:
    scores = np.random.default_rng(0).normal(size=20)
    rows = len(scores) + width - 1
    covering = [scores[max(row - width + 1, 0) : min(row + 1, len(scores))] for row in range(rows)]
    assert spread(scores, width, "cover") == pytest.approx([each.mean() for each in covering])
    middle = [scores[min(max(row - width // 2, 0), len(scores) - 1)] for row in range(rows)]
    assert np.array_equal(spread(scores, width, "centre"), middle)
    end = spread(scores, width, "end")
    assert np.isnan(end[: width - 1]).all()
    assert np.array_equal(end[width - 1 :], scores)


def test_the_forest_scores_as_scikit_learns(pieces: Floats) -> None:
    from sklearn.ensemble import IsolationForest as Theirs

    ours = IsolationForest(trees=30, samples=64, seed=5)
    state = ours.learn_pieces(pieces, None)
    theirs = Theirs(n_estimators=30, max_samples=64, random_state=5).fit(pieces)
    other = np.random.default_rng(9).normal(0, 3, size=(200, 6))
    assert ours.judge_pieces(state, other) == pytest.approx(-theirs.score_samples(other), rel=1e-12)


@pytest.mark.parametrize("columns", [6, 24])
def test_the_outlier_factor_is_scikit_learns(columns: int) -> None:
    from sklearn.neighbors import LocalOutlierFactor as Theirs

    pieces = np.random.default_rng(4).normal(size=(150, columns)) * np.linspace(1, 3, 150)[:, None]
    ours = LocalOutlierFactor(normalise="rows", neighbours=10)
    got = ours.judge_pieces(ours.learn_pieces(pieces, None), pieces)
    assert got == pytest.approx(-Theirs(n_neighbors=10).fit(pieces).negative_outlier_factor_, rel=1e-9)
    other = np.random.default_rng(6).normal(size=(40, columns))
    novel = Theirs(n_neighbors=10, novelty=True).fit(pieces)
    assert ours.judge_pieces(ours.learn_pieces(pieces, None), other) == pytest.approx(-novel.score_samples(other))


def test_sub_pca_sums_the_distances_to_the_axes(pieces: Floats) -> None:
    detector = SubPCA()
    got = detector.judge_pieces(detector.learn_pieces(pieces, None), pieces)
    ready = (pieces - pieces.mean(axis=0)) / pieces.std(axis=0)
    _, lengths, axes = np.linalg.svd(ready - ready.mean(axis=0), full_matrices=False)
    shares = np.square(lengths) / np.square(lengths).sum()
    plain = np.zeros(len(ready))
    for axis, share in zip(axes, shares, strict=True):
        axis = axis * np.sign(axis[np.abs(axis).argmax()])  # noqa: PLW2901 - the sign that ours has
        plain += np.sqrt(np.square(ready - axis).sum(axis=1)) / share
    assert got == pytest.approx(plain * shares.min(), rel=1e-9)


def test_poly_is_a_polynomial_through_the_surroundings() -> None:
    values = np.cumsum(np.random.default_rng(1).normal(size=400))
    width, half = 12, 60
    got = Poly(window=width, power=3)._around(values[:, None], width)
    for first in range(0, 400, width):
        last = min(first + width, 400)
        start = min(max(first - half, 0), 400 - 2 * half)
        near = np.r_[start:first, last : start + 2 * half]
        curve = np.polynomial.Polynomial.fit(near, values[near], 3)
        error = values[first:last] - curve(np.arange(first, last))
        assert got[first] == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-6)
    causal = Poly(window=width, align="end", power=2)._before(values[:, None], width)
    row = 250
    near = np.arange(row - width + 1 - half, row - width + 1)
    block = np.arange(row - width + 1, row + 1)
    error = values[block] - np.polynomial.Polynomial.fit(near, values[near], 2)(block)
    assert causal[row] == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-6)


def test_autocorrelation_is_the_plain_sum() -> None:
    values = np.random.default_rng(2).normal(size=100).cumsum()
    centred = values - values.mean()
    plain = [(centred[: 100 - lag] * centred[lag:]).sum() / np.square(centred).sum() for lag in range(41)]
    assert autocorrelation(values, 40) == pytest.approx(plain)


def test_surprise_counts_the_scores_that_are_as_high() -> None:
    seen = np.sort(np.round(np.random.default_rng(0).normal(size=200), 1))
    scale = {"seen": seen, "excess": 2.0, "tie": 0.0}
    asked = np.r_[seen[::7], -9.0, np.nan]
    plain = [-np.log((1 + (seen >= score).sum()) / 201) if np.isfinite(score) else np.nan for score in asked]
    assert surprise(asked, scale) == pytest.approx(plain, nan_ok=True)
    beyond = surprise(seen[-1] + np.array([0.1, 1.0, 50.0, 1e99]), scale)
    assert (np.diff(beyond) > 0).all()
    assert beyond[0] > surprise(seen[-1:], scale)[0]


def test_agreement_is_the_correlation_with_the_others() -> None:
    told = np.random.default_rng(5).exponential(size=(4, 100))
    told[1] = told[0] + 0.1 * told[1]
    told[3] = 2.0
    plain = [np.corrcoef(told[at], np.delete(told, at, axis=0).mean(axis=0))[0, 1] for at in range(3)]
    assert agreements(told) == pytest.approx([*plain, 0.0])


@pytest.mark.parametrize("digits", [9, 0], ids=["distinct", "tied"])
def test_average_precision_is_scikit_learns(digits: int) -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(7)
    strange = rng.random(300) < 0.1
    scores = np.round(rng.normal(size=300) + strange, digits)
    assert average_precision(strange, scores) == pytest.approx(average_precision_score(strange, scores))


def plain_crossings(path: Floats) -> list[tuple[int, int, float]]:
    found = []
    for step in range(1, len(path)):
        before, after = path[step - 1], path[step]
        own = []
        for ray in range(RAYS):
            angle = 2 * np.pi * ray / RAYS
            along = np.array([np.cos(angle), np.sin(angle)])
            # before + share * (after - before) = radius * along
            share, minus = np.linalg.solve(np.stack([after - before, -along], axis=1), -before)
            if 0 < share <= 1 and minus > 0:
                own.append((share, step, ray, minus))
        found += [(step, ray, radius) for _, step, ray, radius in sorted(own)]
    return found


def test_crossings_are_where_lines_meet() -> None:
    path = np.random.default_rng(8).normal(size=(60, 2)).cumsum(axis=0)
    got = cross(path)
    plain = plain_crossings(path)
    assert list(zip(got.step.tolist(), got.ray.tolist(), strict=True)) == [(step, ray) for step, ray, _ in plain]
    assert got.radius == pytest.approx([radius for *_, radius in plain])


def test_edges_are_counted_and_unknown_ones_weigh_nothing() -> None:
    from training.detectors.series2graph import _edges, _weights

    visited = np.array([0, 1, 2, 0, 1, 3, 0, 1, 2])
    state = {**_edges(visited), "first": np.array([0, 4])}
    neighbours = {0: {1, 2, 3}, 1: {0, 2, 3}, 2: {0, 1}, 3: {0, 1}}
    steps = list(zip(visited[:-1].tolist(), visited[1:].tolist(), strict=True))
    asked = np.array([0, 1, 3, 2, 0])
    pairs = zip(asked[:-1].tolist(), asked[1:].tolist(), strict=True)
    assert _weights(state, asked).tolist() == [steps.count(pair) * (len(neighbours[pair[0]]) - 1) for pair in pairs]
