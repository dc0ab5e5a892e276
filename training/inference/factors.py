"""Key factors of a forecast: what each named driver contributed, with sign and share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cluster.errors import InsufficientHistoryError
from training.core.attribution import Attribution, Explains
from training.core.estimator import Forecaster
from training.core.panel import Panel
from training.core.parameters import whole
from training.core.validation import ID, TIME
from training.core.windows import Floats, Times, Windows
from training.inference.drivers import CALENDAR, Groups, driver_names, sources
from training.inference.shapley import Sampled, sampled_contributions
from training.models.ensemble import Ensemble

PAIRS = 64
"""Orders of drivers drawn by default, each with its reverse."""


@dataclass(frozen=True, kw_only=True)
class Factors:
    """Contributions of F drivers to N forecasts of H steps and T targets.

    Parameters
    ----------
    ids
        (N,) series.
    timestamps
        (N, H) what is forecast.
    targets
        (T,) names.
    drivers
        (F,) names.
    point
        (N, H, T) the forecast.
    base
        (N, H, T) what is forecast when no driver is known; `base + values.sum(-1)` is the point.
    values
        (N, H, T, F) contributions, in the target's unit.
    errors
        (N, H, T, F) their standard errors; 0 where they are exact.
    total_errors
        (N, T, F) standard errors of their sums over the horizon.
    exact
        Whether they were computed from the model's inside; sampled otherwise.
    """

    ids: tuple[str, ...]
    timestamps: Times
    targets: tuple[str, ...]
    drivers: tuple[str, ...]
    point: Floats
    base: Floats
    values: Floats
    errors: Floats
    total_errors: Floats
    exact: bool

    @property
    def shares(self) -> Floats:
        """(N, H, T, F) each contribution's size over the sum of all sizes; 0 where nothing contributes."""
        return _shares(self.values)

    def to_frame(self) -> pd.DataFrame:
        """Return series_id, target, timestamp, driver, contribution, share, sign, error."""
        n, h, t, f = self.values.shape
        table = {
            ID: np.repeat(self.ids, h * t * f),
            "target": np.tile(np.repeat(self.targets, f), n * h),
            TIME: np.repeat(self.timestamps.reshape(-1), t * f),
            "driver": np.tile(self.drivers, n * h * t),
        }
        return pd.DataFrame(table | _figures(self.values, self.errors))

    def totals(self) -> pd.DataFrame:
        """Return the same over the whole horizon, each forecast's drivers from the largest to the smallest."""
        n, _, t, f = self.values.shape
        summed = self.values.sum(axis=1)
        table = {
            ID: np.repeat(self.ids, t * f),
            "target": np.tile(np.repeat(self.targets, f), n),
            "driver": np.tile(self.drivers, n * t),
        }
        frame = pd.DataFrame(table | _figures(summed, self.total_errors))
        forecast = np.repeat(np.arange(n * t), f)
        order = np.lexsort((-frame["contribution"].abs().to_numpy(), forecast))
        return frame.iloc[order].reset_index(drop=True)


def key_factors(
    forecaster: Forecaster,
    history: Panel,
    future: pd.DataFrame | None = None,
    *,
    groups: Groups | None = None,
    pairs: int = PAIRS,
    seed: int = 0,
    sampled: bool = False,
) -> Factors:
    """Explain the forecasts after `history` by named drivers.

    A driver is a column, past and known future together; the past of a target, `NOX history`; or the `calendar`.
    What a feature contributes goes to the columns it was made of, in equal parts where these are several, and to
    the calendar where it follows from the time. Where every member of the model explains itself exactly (trees:
    TreeSHAP; linear models) contributions are told against what was usual in training. All others are sampled
    through `predict`, against earlier windows of the same series; see `training.inference.shapley`.

    A contribution says what moved this forecast of this model. Drivers that go together share what they bring, and
    none of it proves a cause.

    Parameters
    ----------
    forecaster
        Fitted.
    history
        The rows up to now. Sampling takes its background from them, so that more than one window is needed.
    future
        What is known of the rows after, see `Forecaster.forecast`.
    groups
        Driver -> columns that shall be one.
    pairs
        Orders drawn a forecast, 2 or more; the standard errors fall with its root.
    seed
        Of the sampling.
    sampled
        Whether to sample even where exact contributions are to be had.

    Raises
    ------
    InsufficientHistoryError
        A series has no earlier window to compare with.
    UnknownNameError, ConfigError
        A group has an unknown column, or shares one with another.
    """
    context = forecaster.look_ahead(history.last(forecaster.context), future, history.schema)
    names = driver_names(forecaster.columns, forecaster.targets, groups)
    exact = None if sampled else _exact(forecaster, context)
    if exact is not None:
        return _named(forecaster, context, exact, names)
    past = history.windows(forecaster.context + forecaster.horizon)
    found = _sampled(forecaster, context, past, names, pairs=whole("pairs", pairs, low=2), seed=seed)
    return _factors(
        forecaster,
        context,
        found[0].drivers,
        np.stack([each.base for each in found]),
        np.stack([each.values for each in found]),
        errors=np.stack([each.errors for each in found]),
        total_errors=np.stack([each.total_errors for each in found]),
        exact=False,
    )


def _exact(forecaster: Forecaster, context: Windows) -> Attribution | None:
    """Return exact contributions of the forecaster's columns, `calendar` among them; None where some cannot be."""
    if isinstance(forecaster, Explains):
        return forecaster.contributions(context)
    if not isinstance(forecaster, Ensemble):
        return None
    members = [
        (weights[:, None], member)
        for weights, member in zip(forecaster.step_weights, forecaster.members, strict=True)
        if weights.any()
    ]
    if not all(isinstance(member, Explains) for _, member in members):
        return None
    inner, origin = forecaster.prepare(context), sources(forecaster.features, context)
    columns = (*forecaster.columns, CALENDAR)
    base = np.zeros((len(context), forecaster.horizon, len(forecaster.targets)))
    values = np.zeros((*base.shape, len(columns)))
    for weight, member in members:
        if isinstance(member, Explains):
            found = member.contributions(inner)
            base += weight * found.base
            for at, column in enumerate(found.columns):
                owners = origin[column] or (CALENDAR,)
                for owner in owners:
                    values[..., columns.index(owner)] += weight * found.values[..., at] / len(owners)
    return Attribution(columns=columns, base=base, values=values)


def _named(forecaster: Forecaster, context: Windows, found: Attribution, names: dict[str, str]) -> Factors:
    """Sum columns to drivers; those that have no part in any forecast are left out."""
    owners = [names.get(column, CALENDAR) for column in found.columns]
    drivers = tuple(dict.fromkeys(owners))
    values = np.zeros((*found.values.shape[:-1], len(drivers)))
    for at, owner in enumerate(owners):
        values[..., drivers.index(owner)] += found.values[..., at]
    return _factors(forecaster, context, drivers, found.base, values, exact=True)


def _sampled(
    forecaster: Forecaster, context: Windows, past: Windows, names: dict[str, str], *, pairs: int, seed: int
) -> list[Sampled]:
    """Return each forecast's contributions against windows of its own series' past."""
    background, _ = forecaster.split(past)
    owner = np.array(background.ids)
    found = []
    for n, series in enumerate(context.ids):
        own = np.flatnonzero(owner == series)
        if not len(own):
            raise InsufficientHistoryError(
                f"series '{series}' has nothing to compare its forecast with: got no window of {past.length} rows "
                "in its history, expected 1 or more; give earlier rows",
                series=series,
                got=0,
                expected=1,
            )
        ready = _looking(forecaster, context[np.array([n])])
        usual = _looking(forecaster, background[own])
        found.append(sampled_contributions(forecaster, ready, usual, names, pairs=pairs, seed=seed))
    return found


def _looking(forecaster: Forecaster, windows: Windows) -> Windows:
    """Return windows with what is known ahead, where the forecaster looks at it."""
    return windows.looking_ahead(forecaster.horizon, forecaster.known) if forecaster.tags.known_future else windows


def _factors(
    forecaster: Forecaster,
    context: Windows,
    drivers: tuple[str, ...],
    base: Floats,
    values: Floats,
    *,
    exact: bool,
    errors: Floats | None = None,
    total_errors: Floats | None = None,
) -> Factors:
    part = np.abs(values).max(axis=tuple(range(values.ndim - 1)), initial=0.0) > 0
    kept = np.flatnonzero(part)
    values = values[..., kept]
    return Factors(
        ids=context.ids,
        timestamps=context.future_times(forecaster.horizon),
        targets=forecaster.targets,
        drivers=tuple(drivers[i] for i in kept),
        point=base + values.sum(axis=-1),
        base=np.array(base),
        values=values,
        errors=np.zeros_like(values) if errors is None else errors[..., kept],
        total_errors=np.zeros_like(values[:, 0]) if total_errors is None else total_errors[..., kept],
        exact=exact,
    )


def _shares(values: Floats) -> Floats:
    sizes = np.abs(values)
    whole_size = sizes.sum(axis=-1, keepdims=True)
    shares: Floats = np.divide(sizes, whole_size, out=np.zeros_like(sizes), where=whole_size > 0)
    return shares


def _figures(values: Floats, errors: Floats) -> dict[str, Any]:
    return {
        "contribution": values.reshape(-1),
        "share": _shares(values).reshape(-1),
        "sign": np.sign(values).astype(np.int64).reshape(-1),
        "standard_error": errors.reshape(-1),
    }
