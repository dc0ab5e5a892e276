"""Energy from seconds, and carbon from energy: an estimate, and one that says so."""

from __future__ import annotations

from dataclasses import dataclass

from training.core.parameters import real

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class EnergyModel:
    """Turns processor seconds into energy, and energy into carbon.

    Parameters
    ----------
    cpu_power_w
        Power of one busy core with its share of the machine, watts.
    gpu_power_w
        Power of one busy GPU, watts.
    carbon_intensity_g_per_kwh
        Of the grid, grams of CO2e a kilowatt hour.
    """

    cpu_power_w: float = 15.0
    gpu_power_w: float = 300.0
    carbon_intensity_g_per_kwh: float = 473.0

    def __post_init__(self) -> None:
        for name in ("cpu_power_w", "gpu_power_w", "carbon_intensity_g_per_kwh"):
            real(name, getattr(self, name), low=0)

    def energy_kwh(self, *, cpu_s: float, gpu_s: float) -> float:
        """Return the energy of so many busy seconds."""
        return (cpu_s * self.cpu_power_w + gpu_s * self.gpu_power_w) / JOULES_PER_KWH

    def co2e_kg(self, energy_kwh: float) -> float:
        """Return the carbon of so much energy."""
        return energy_kwh * self.carbon_intensity_g_per_kwh / 1000

    def told(self, meter: str) -> str:
        """Return in words where the figures come from."""
        grid = f"{self.carbon_intensity_g_per_kwh:g} g CO2e/kWh"
        if meter == "codecarbon":
            return f"energy by codecarbon, {grid}"
        return (
            f"estimated from processor seconds at {self.cpu_power_w:g} W a core and {self.gpu_power_w:g} W a GPU, "
            f"{grid}"
        )
