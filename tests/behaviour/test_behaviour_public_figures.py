"""Our measures are those of the published figures: simple models get what others got."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bizitobs import FIVE_MINUTES, HOURLY, NAIVE_OF_OTHERS, mase
from benchmarks.etth1 import BASELINE, RIDGE_OF_OTHERS, errors
from benchmarks.public_data import bizitobs, public_file
from cluster.errors import ConfigError


def need(file: str) -> None:
    try:
        public_file(file)
    except ConfigError as missing:
        pytest.skip(str(missing))


def test_ridge_on_etth1() -> None:
    need("energy/ETTh1.csv")
    got = errors("test", {"ridge": BASELINE})["ridge"]
    assert [round(error, 3) for error in got] == list(RIDGE_OF_OTHERS)


def test_naive_on_bizitobs() -> None:
    need("workload/bizitobs_l2c.csv")
    naive = {name: HOURLY.models[name] for name in ("naive", "seasonal_naive")}
    hourly = mase(replace(HOURLY, models=naive), bizitobs("h"))
    assert round(hourly["seasonal_naive"], 3) == NAIVE_OF_OTHERS
    naive = {name: FIVE_MINUTES.models[name] for name in ("naive", "seasonal_naive")}
    fine = mase(replace(FIVE_MINUTES, models=naive), bizitobs("5min"))
    assert {name: round(error, 3) for name, error in fine.items()} == {"naive": 0.758, "seasonal_naive": 1.067}


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_DATA_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=r"'energy/ETTh1.csv' is not in .*ML_DATA_DIR"):
        public_file("energy/ETTh1.csv")
