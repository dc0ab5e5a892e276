"""Energy: what is measured, what is estimated, and what is said of it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from cluster.errors import ConfigError
from tuning import meter
from tuning.energy import EnergyModel
from tuning.meter import NoMeter, meter_named, open_meter
from tuning.ray_crew import WorkerSpec


def test_an_estimate_is_power_times_time_and_says_so() -> None:
    model = EnergyModel(cpu_power_w=20.0, gpu_power_w=100.0, carbon_intensity_g_per_kwh=50.0)
    energy_kwh = model.energy_kwh(cpu_s=1800.0, gpu_s=36.0)
    assert energy_kwh == pytest.approx(0.01 + 0.001)
    assert model.co2e_kg(energy_kwh) == pytest.approx(0.00055)
    assert model.told("estimate").startswith("estimated from processor seconds at 20 W a core and 100 W a GPU")
    assert model.told("codecarbon") == "energy by codecarbon, 50 g CO2e/kWh"


def test_auto_is_codecarbon_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "find_spec", lambda name: None)
    assert meter_named("auto") == "estimate"
    assert isinstance(open_meter("auto"), NoMeter)
    with pytest.raises(
        ConfigError, match=r"energy: got 'codecarbon', which is not installed; .*heliotrope\[energy\]"
    ):
        WorkerSpec(meter="codecarbon")
    monkeypatch.setattr(meter, "find_spec", lambda name: object())
    assert meter_named("auto") == "codecarbon"
    with pytest.raises(ConfigError, match="'energy': got 'guess', expected one of auto, codecarbon, estimate"):
        WorkerSpec(meter="guess")


@pytest.mark.skipif(find_spec("codecarbon") is None, reason="codecarbon is not installed")
def test_codecarbon_measures_a_busy_moment() -> None:
    found = open_meter("codecarbon")
    found.start("a")
    total = sum(at * at for at in range(300_000))
    energy_kwh = found.stop("a")
    assert total > 0
    assert energy_kwh is not None
    assert 0 < energy_kwh < 1e-3
