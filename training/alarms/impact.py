"""What an event amounts to, where a column's unit says what can be summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.alarms.usual import Usual, phases_of
from training.core.windows import Floats, Times

AMOUNTS = {
    "tCO2e": ("tCO2e", 1.0), "kgCO2e": ("tCO2e", 1e-3), "gCO2e": ("tCO2e", 1e-6), "tCO2": ("tCO2e", 1.0),
    "kgCO2": ("tCO2e", 1e-3), "Wh": ("kWh", 1e-3), "kWh": ("kWh", 1.0), "MWh": ("kWh", 1e3), "GWh": ("kWh", 1e6),
    "MJ": ("kWh", 1 / 3.6), "GJ": ("kWh", 1e3 / 3.6), "EUR": ("EUR", 1.0), "USD": ("USD", 1.0), "m3": ("m3", 1.0),
    "l": ("m3", 1e-3), "kg": ("kg", 1.0), "t": ("kg", 1e3),
}  # fmt: skip
"""Unit of a quantity that each row has its own of -> (unit it is told in, factor)."""
RATES = {"W": ("kWh", 1e-3), "kW": ("kWh", 1.0), "MW": ("kWh", 1e3), "kg/h": ("kg", 1.0), "t/h": ("kg", 1e3),
         "m3/h": ("m3", 1.0), "kgCO2e/h": ("tCO2e", 1e-3), "tCO2e/h": ("tCO2e", 1.0)}  # fmt: skip
"""Unit of a flow -> (unit of its hourly amount, factor)."""
DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What one unit of something costs in another: an emission factor, a price.

    Parameters
    ----------
    source, target
        Units, e.g. kWh and tCO2e.
    factor
        Target units for one of the source.
    origin
        Where the figure comes from.
    """

    source: str
    target: str
    factor: float
    origin: str


@dataclass(frozen=True, kw_only=True)
class Impact:
    """An estimated amount: measured less expected, summed over the event.

    Parameters
    ----------
    column
        What was summed.
    amount, unit
        Above 0 is more than usual.
    days
        Amount over what the series usually turns over in a day.
    basis
        How it was computed.
    """

    column: str
    amount: float
    unit: str
    days: float
    basis: str


def impacts(
    usual: Usual, values: Floats, times: Times, conversions: Sequence[Conversion] = ()
) -> tuple[Impact, ...]:
    """Return the impacts of an event with rows `values` (n, C) at `times` (n,), the one of most days first.

    There are none where no unit says what to sum. What is expected takes the time of season into account, and not
    the other columns: a surplus that two columns share is a surplus.
    """
    surplus = values - usual.profile[phases_of(times, usual.step_s, usual.season)]
    found: list[Impact] = []
    for c, column in enumerate(usual.columns):
        unit, factor = _amount(column.unit, usual.step_s)
        known = np.isfinite(surplus[:, c])
        if not unit or not known.any():
            continue
        amount = float(surplus[known, c].sum()) * factor
        day = abs(float(usual.profile[:, c].mean())) * factor * DAY_S / usual.step_s
        found.append(
            Impact(
                column=column.name,
                amount=amount,
                unit=unit,
                days=amount / day if day > 0 else 0.0,
                basis=f"'{column.name}' less its usual value, summed over {int(known.sum())} rows",
            )
        )
    found += [_converted(each, rule) for each in found for rule in conversions if rule.source == each.unit]
    return tuple(sorted(found, key=lambda each: -abs(each.days)))


def _amount(unit: str, step_s: float) -> tuple[str, float]:
    """Return the unit that a column is summed in and the factor of one row; no unit where it cannot be summed."""
    if unit in AMOUNTS:
        return AMOUNTS[unit]
    if unit in RATES:
        name, factor = RATES[unit]
        return name, factor * step_s / 3_600.0
    return "", 0.0


def _converted(impact: Impact, rule: Conversion) -> Impact:
    return Impact(
        column=impact.column,
        amount=impact.amount * rule.factor,
        unit=rule.target,
        days=impact.days,
        basis=f"{impact.basis}, at {rule.factor:g} {rule.target} a {rule.source} ({rule.origin})",
    )
