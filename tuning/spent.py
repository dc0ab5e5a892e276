"""What a study has taken so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from tuning.energy import EnergyModel


class Cost(Protocol):
    """What one trial took."""

    @property
    def cpu_s(self) -> float:
        """Processor seconds."""
        ...

    @property
    def energy_kwh(self) -> float:
        """Measured or estimated."""
        ...

    @property
    def gpu_s(self) -> float:
        """Seconds that its share of a GPU was reserved."""
        ...


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a study has taken so far, trials that were stopped or failed included.

    Parameters
    ----------
    trials
        Ended ones.
    wall_s
        Seconds that the study ran, over all its sittings.
    cpu_s, gpu_s
        Processor seconds of its workers; seconds that its shares of GPUs were reserved.
    energy_kwh, co2e_kg
        Measured or estimated; see EnergyModel.
    """

    trials: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    energy_kwh: float = 0.0
    co2e_kg: float = 0.0

    @classmethod
    def of(cls, records: Iterable[Cost], energy: EnergyModel) -> Spent:
        """Add up what the ended trials took; the clock is left at 0."""
        total = cls()
        for each in records:
            total = total.plus(each, energy)
        return total

    def plus(self, cost: Cost, energy: EnergyModel) -> Spent:
        """Return it with one more trial."""
        energy_kwh = self.energy_kwh + cost.energy_kwh
        return replace(
            self,
            trials=self.trials + 1,
            cpu_s=self.cpu_s + cost.cpu_s,
            gpu_s=self.gpu_s + cost.gpu_s,
            energy_kwh=energy_kwh,
            co2e_kg=energy.co2e_kg(energy_kwh),
        )
