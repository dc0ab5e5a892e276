"""Catalog, component, space, parameters and prediction: what is refused, and how the message helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cluster.errors import ConfigError, SignatureMismatch, UnknownNameError
from training.core.candidate import HORIZON, Candidate
from training.core.catalog import Catalog
from training.core.component import build, pack, unpack
from training.core.parameters import real, whole
from training.core.prediction import check_levels
from training.core.space import Choice, Real, Whole
from training.models import MODELS
from training.models.seasonal_naive import SeasonalNaive


def test_a_catalog_lists_and_loads() -> None:
    assert "ridge" in MODELS
    assert list(MODELS) == sorted(MODELS)
    assert MODELS.load("seasonal_naive") is SeasonalNaive


def test_each_class_has_its_catalog_name() -> None:
    assert all(MODELS.load(name).name == name for name in MODELS)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'rigde'. Did you mean 'ridge'\? Known: .*ensemble"):
        MODELS.load("rigde")


def test_an_unknown_parameter_is_answered_with_the_known() -> None:
    with pytest.raises(ConfigError, match=r"model 'seasonal_naive' has no parameter 'period'\. It has: season"):
        build(MODELS, "seasonal_naive", {"period": 3})


def test_packed_is_unpacked() -> None:
    model = unpack(pack(SeasonalNaive(season=4)), MODELS)
    assert isinstance(model, SeasonalNaive)
    assert model.season == 4


def test_half_a_package_is_refused() -> None:
    with pytest.raises(SignatureMismatch, match="no 'state'"):
        unpack({"name": "ridge", "params": {}}, MODELS)


def test_a_catalog_of_nothing_says_so() -> None:
    empty: Catalog[Any] = Catalog("detector", {})
    with pytest.raises(UnknownNameError, match="Known: none yet"):
        empty.load("x")


@pytest.mark.parametrize("range_", [lambda: Real(1, 1), lambda: Real(0, 1, log=True), lambda: Whole(3, 2)])
def test_empty_ranges_are_refused(range_: Any) -> None:
    with pytest.raises(ConfigError, match="a range is not usable"):
        range_()


def test_a_choice_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="a choice needs values"):
        Choice(())


@pytest.mark.parametrize("got", [0, 11, 2.5, True, "3", None, float("nan")])
def test_a_whole_number_out_of_range_is_refused(got: Any) -> None:
    with pytest.raises(ConfigError, match=r"'depth': got .*, expected a whole number, at least 1, at most 10"):
        whole("depth", got, low=1, high=10)


@pytest.mark.parametrize("got", [0, -1.0, 1.5, float("nan"), float("inf"), "x", None, False])
def test_a_number_out_of_range_is_refused(got: Any) -> None:
    with pytest.raises(ConfigError, match=r"'rate': got .*, expected a finite number, above 0, at most 1"):
        real("rate", got, low=0, high=1, above=True)


def test_numbers_in_range_are_plain_python() -> None:
    assert type(whole("n", np.int64(3), low=1)) is int
    assert type(real("x", np.float32(0.5), low=0)) is float
    with pytest.raises(ConfigError, match="finite"):
        real("x", float("inf"), low=0)


@pytest.mark.parametrize("levels", [(), (0.5, 0.5), (0.9, 0.1), (0.0,), (1.0,)])
def test_levels_that_do_not_increase_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="quantile levels"):
        check_levels(levels)


def test_a_prediction_becomes_a_long_table() -> None:
    candidate = Candidate(MODELS, "seasonal_naive")
    prediction = candidate.model.forecast(candidate.panel, levels=(0.05, 0.95))
    frame = prediction.to_frame()
    assert list(frame.columns) == [
        "series_id", "target", "timestamp", "prediction", "confidence", "q0.05", "q0.95"
    ]  # fmt: skip
    assert len(frame) == 3 * HORIZON * 2
    one = frame[(frame["series_id"] == "plant-1") & (frame["target"] == "used")]
    assert np.array_equal(one["prediction"], prediction.point[1, :, 1])
    assert np.array_equal(one["q0.95"], prediction.values[1, :, 1, 1])
    assert np.array_equal(one["timestamp"].to_numpy(), prediction.timestamps[1])
    assert frame["confidence"].between(0, 1).all()
