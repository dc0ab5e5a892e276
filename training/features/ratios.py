"""The ratios that sustainability is judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster.errors import ConfigError
from training.core.windows import Floats
from training.features.added import AddedColumns, Block


class Ratios(AddedColumns):
    """Adds emissions intensity, energy efficiency and renewable share, each where its columns are named.

    - `emissions_intensity` = sum of emissions / production, e.g. tCO2e a unit
    - `energy_efficiency` = production / energy, e.g. units a kWh
    - `renewable_share` = renewable energy / energy

    A ratio is 0 where its denominator is 0 (a day without production has no intensity), or so near to 0 that the
    ratio is beyond floating point.

    Parameters
    ----------
    emissions
        Columns that are summed; empty leaves the intensity out.
    production, energy, renewable
        Columns; None leaves out the ratios that need it.
    """

    name = "ratios"

    def __init__(
        self,
        *,
        emissions: Sequence[str] = ("scope1", "scope2", "scope3"),
        production: str | None = "production_units",
        energy: str | None = "energy_kwh",
        renewable: str | None = "renewable_kwh",
    ) -> None:
        if isinstance(emissions, str):
            raise ConfigError(f"emissions: got the text '{emissions}', expected a list of names")
        self.emissions = tuple(emissions)
        self.production = production
        self.energy = energy
        self.renewable = renewable
        if not self._terms():
            raise ConfigError("ratios has nothing to compute: name production with emissions or energy, or energy")

    def _terms(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """Return ratio -> (summed numerator, denominator)."""
        terms: dict[str, tuple[tuple[str, ...], str]] = {}
        if self.emissions and self.production:
            terms["emissions_intensity"] = self.emissions, self.production
        if self.production and self.energy:
            terms["energy_efficiency"] = (self.production,), self.energy
        if self.renewable and self.energy:
            terms["renewable_share"] = (self.renewable,), self.energy
        return terms

    def added(self) -> tuple[str, ...]:
        """Return the ratios whose columns are named."""
        return tuple(self._terms())

    def compute_added(self, block: Block) -> Floats:
        """Return (S, T, up to 3)."""
        ratios = [
            divide(_total(block.pick(above)), block.pick((below,))[:, :, 0])
            for above, below in self._terms().values()
        ]
        return np.stack(ratios, axis=2)


def divide(above: Floats, below: Floats) -> Floats:
    """Return above / below; 0 where below is 0 or the ratio is infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = above / below
    ratio[(below == 0) | np.isinf(ratio)] = 0.0
    return ratio


def _total(columns: Floats) -> Floats:
    """Return (S, T), the columns added up from left to right: one order, the same bits for any T."""
    total = columns[:, :, 0].copy()
    for i in range(1, columns.shape[2]):
        total += columns[:, :, i]
    return total
