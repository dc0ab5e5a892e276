"""Single detectors: what their parameters do, and what the ensemble says of its members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, DataError, InsufficientHistoryError, UnknownNameError
from training.core.panel import Panel
from training.core.period import FALLBACK, dominant_period, panel_period, repetition
from training.core.schema import Column, Schema
from training.core.windows import Floats
from training.detectors.autoencoder import Autoencoder
from training.detectors.ensemble import DetectorEnsemble
from training.detectors.forecast_residual import ForecastResidual
from training.detectors.kmeans import KMeans
from training.detectors.poly import Poly
from training.detectors.sub_pca import SubPCA
from training.detectors.weighing import by_character
from training.detectors.z_score import ZScore

SCHEMA = Schema(name="plant", frequency="h", targets=(Column(name="flow"),))


def panel(values: Floats) -> Panel:
    times = pd.date_range("2024-01-01", periods=len(values), freq="h")
    return Panel(pd.DataFrame({"series_id": "a", "timestamp": times, "flow": values}), SCHEMA)


def wave(rows: int = 600, period: int = 24) -> Floats:
    noise = np.random.default_rng(0).normal(0, 0.1, rows)
    return np.sin(2 * np.pi * np.arange(rows) / period) + noise


def test_the_period_is_where_the_auto_correlation_peaks() -> None:
    assert dominant_period(wave(period=24)) == 24
    assert dominant_period(wave(period=24), rank=2) % 24 == 0
    assert dominant_period(wave(period=24), rank=2) > 24
    assert dominant_period(np.arange(50.0)) == FALLBACK
    assert dominant_period(np.ones(50)) == FALLBACK
    assert dominant_period(np.ones(2)) == FALLBACK
    rows = np.stack([np.random.default_rng(1).normal(size=600), wave(period=30)], axis=1)
    assert panel_period(rows) == 30
    assert repetition(rows)[0] == 30
    assert repetition(rows)[1] == pytest.approx(1.0, abs=0.1)
    assert repetition(-(np.arange(200.0)[:, None] ** 2)) == (FALLBACK, 0.0)  # never negative


def test_the_robust_score_is_not_moved_by_what_is_strange() -> None:
    values = np.r_[np.random.default_rng(0).normal(size=100), np.full(30, 50.0)]
    plain, robust = (
        ZScore(robust=robust).fit(panel(values)).score(panel(values)).values for robust in (False, True)
    )
    assert plain[-1] < 3 < 30 < robust[-1]
    mostly_still = np.r_[np.zeros(90), np.arange(10.0)]
    assert np.isfinite(ZScore(robust=True).fit(panel(mostly_still)).score(panel(mostly_still)).values).all()


def test_a_column_that_stood_still_and_moves_is_strange() -> None:
    schema = Schema(name="two", frequency="h", targets=(Column(name="flow"), Column(name="valve")))
    frame = panel(wave()).frame.assign(valve=1.0)
    later = frame.assign(valve=np.where(np.arange(len(frame)) == 300, 9.0, 1.0))
    for detector in (ZScore(), SubPCA(window=12), KMeans(window=12, align="end")):
        values = detector.fit(Panel(frame, schema)).score(Panel(later, schema)).values
        assert int(np.nanargmax(values)) in range(288, 313), detector.name


def test_pieces_default_to_the_period_and_need_so_many_rows() -> None:
    detector = SubPCA().fit(panel(wave(period=24)))
    assert detector.lookback(detector.state_of("a")) == 23
    with pytest.raises(InsufficientHistoryError, match="got 20 rows, expected at least 31 for pieces of 30"):
        SubPCA(window=30).fit(panel(wave(20)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SubPCA(align="left"), "'align': got 'left', expected one of centre, cover, end"),
        (lambda: Poly(align="cover"), "'align': got 'cover', expected one of centre, end"),
        (lambda: Autoencoder(hidden=()), "'hidden': got none"),
        (lambda: ForecastResidual(model={"name": "ridge"}), r"'model': got \['name'\], expected name and params"),
        (lambda: DetectorEnsemble(members=[]), "'members': got"),
        (lambda: DetectorEnsemble(weights=[1.0]), "'weights': got"),
        (lambda: DetectorEnsemble(weighting="best"), "'weighting': got 'best'"),
    ],
)
def test_wrong_parameters_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_autoencoders_default_shape_is_the_promised_one() -> None:
    detector = Autoencoder(max_epochs=1).fit(panel(wave(400)))
    weights = detector.state_of("a")["pieces"]["weights"]
    shapes = [weights[f"layers.{layer}.weight"].shape for layer in range(6)]
    assert shapes == [(64, 100), (32, 64), (16, 32), (32, 16), (64, 32), (100, 64)]


def test_a_member_that_contradicts_the_others_does_not_count() -> None:
    values = wave()
    values[300:312] += 3.0
    piece = {"window": 12}
    shapes = [{"name": name, "params": piece} for name in ("sub_pca", "kmeans", "local_outlier_factor")]
    ensemble = DetectorEnsemble(members=[*shapes, {"name": "isolation_forest", "params": {"trees": 10}}])
    said = ensemble.fit(panel(values)).says("a")
    assert sum(say.weight for say in said) == pytest.approx(1.0)
    assert [say.weight for say in said] == sorted((say.weight for say in said), reverse=True)
    for say in said:
        assert say.agreement is not None
        assert (say.weight > 0) == (say.agreement > 0)
        assert f"{say.agreement:.2f}" in say.why
    given = DetectorEnsemble(members=shapes, weights=[0, 1, 3]).fit(panel(values)).says("a")
    assert [(say.member, say.weight, say.why) for say in given] == [
        ("local_outlier_factor", 0.75, "its weight was given"),
        ("kmeans", 0.25, "its weight was given"),
        ("sub_pca", 0.0, "its weight was given"),
    ]
    alone = DetectorEnsemble(members=shapes[:1]).fit(panel(values))
    assert alone.says("a")[0].why == "it is alone"
    assert int(np.argmax(alone.score(panel(values)).values)) in range(295, 318)


def test_character_lets_pieces_count_where_a_series_repeats_itself() -> None:
    members = [{"name": "sub_pca", "params": {"window": 24}}, {"name": "poly", "params": {"window": 24}}]
    members += [{"name": "isolation_forest", "params": {"trees": 10}}, {"name": "z_score", "params": {}}]
    noise = np.random.default_rng(0).normal(size=600)
    by_pieces = {}
    for name, values in (("wave", wave()), ("noise", noise)):
        ensemble = DetectorEnsemble(members=members, weighting="character").fit(panel(values))
        said = {say.member: say for say in ensemble.says("a")}
        period, repeats = repetition(values[:, None])
        why = f"rows {period} apart have the correlation {repeats:.2f}"
        assert said["sub_pca"].why == f"it judges pieces, and {why}"
        assert said["z_score"].why == f"it judges single rows, and {why}"
        assert said["sub_pca"].weight == said["poly"].weight == pytest.approx((1 + 2 * repeats) / 8)
        assert said["isolation_forest"].weight == said["z_score"].weight  # a forest of single rows
        assert sum(say.weight for say in said.values()) == pytest.approx(1.0)
        by_pieces[name] = said["sub_pca"].weight + said["poly"].weight
    assert by_pieces["wave"] > 0.7
    assert by_pieces["noise"] < 0.4
    assert by_character(np.array([True, True]), 0.1).tolist() == [0.5, 0.5]  # where there is one kind, it has all
    again = DetectorEnsemble(members=members, weighting="character")
    again.restore(ensemble.state())
    assert again.says("a") == ensemble.says("a")


def test_any_forecaster_finds_what_it_did_not_expect() -> None:
    values = wave()
    values[500] += 3.0
    naive = ForecastResidual(model={"name": "seasonal_naive", "params": {"season": 24}})
    got = naive.fit(panel(wave())).score(panel(values)).values
    assert np.isnan(got[:24]).all()
    assert int(np.nanargmax(got)) in (500, 524)


def test_labels_decide_the_weights_where_they_exist() -> None:
    values = wave()
    values[300:312] += 3.0
    strange = np.zeros(len(values), dtype=bool)
    strange[300:312] = True
    members = [{"name": "z_score", "params": {}}, {"name": "sub_pca", "params": {"window": 24}}]
    ensemble = DetectorEnsemble(members=members).fit(panel(values)).weigh(panel(values), {"a": strange})
    best, rest = ensemble.says("a")
    assert best.member == "z_score"  # a piece of 24 rows is strange before and after the event too
    assert best.precision is not None
    assert rest.precision is not None
    chance = 12 / 600
    assert best.weight == pytest.approx((best.precision - chance) / (best.precision + rest.precision - 2 * chance))
    assert best.why == f"on labelled rows its average precision is {best.precision:.2f}, by chance 0.02"
    again = DetectorEnsemble(members=members)
    again.restore(ensemble.state())
    assert again.says("a") == ensemble.says("a")
    for wrong in (strange[:-1], strange & False, strange | True):
        with pytest.raises(DataError, match="expected 600 labels, a row each, some strange and some not"):
            ensemble.weigh(panel(values), {"a": wrong})
    with pytest.raises(UnknownNameError, match="unknown series 'b'"):
        ensemble.weigh(panel(values), {"b": strange})


def test_rounding_surprises_nobody() -> None:
    square = np.tile(np.r_[np.zeros(12), np.ones(12)], 21)[:-1]  # as many pieces from each of the 24 places
    shape = [{"name": "sub_pca", "params": {"window": 24}}]
    ensemble = DetectorEnsemble(members=shape).fit(panel(square))
    assert ensemble.score(panel(square)).values.max() < 0.01
    square[300] = 3.0
    assert ensemble.score(panel(square)).values.max() > 6.0
