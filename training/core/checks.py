"""The exam that every forecaster of a catalog sits: what the contracts promise, tried."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from cluster.errors import ConfigError, InsufficientHistoryError, NotFittedError, SignatureMismatch, UserError
from training.core.artifact import from_bytes, to_bytes
from training.core.candidate import (
    HORIZON,
    SCHEMA,
    Candidate,
    alike,
    alone,
    changed_since,
    constant_panel,
    future_rows,
    planned_panel,
)
from training.core.checks_lasting import (
    another_process_fits_the_same,
    artifact_gives_the_same_bits,
    corrupted_artifact_refused,
    fits_are_reproducible,
    loop_runs_where_it_is_told,
    pickles_give_the_same_bits,
    seed_is_used,
    training_resumes,
)
from training.core.component import build
from training.core.exam import Check, CheckFailed, expect, refused
from training.core.future import future_of
from training.core.metrics import mae
from training.core.panel import Panel
from training.core.space import Choice
from training.core.windows import Windows

STEP = np.timedelta64(1, "h")
CLOSE = 1e-5
"""Share of the largest value that single precision and another order of summation may differ by."""


# -- parameters ------------------------------------------------------------------------------------------------


def _same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def params_round_trip(candidate: Candidate) -> None:
    """Parameters build the same model again, also after a trip through JSON."""
    params = candidate.make().params()
    expect(_same(build(candidate.catalog, candidate.name, params).params(), params), f"not rebuilt from {params}")
    stored = from_bytes(to_bytes(params))
    expect(_same(build(candidate.catalog, candidate.name, stored).params(), params), f"not rebuilt from {stored}")


def unknown_parameter_refused(candidate: Candidate) -> None:
    """Misspelt parameters are errors that name them."""
    refused(ConfigError, lambda: candidate.make(no_such_parameter=1), names="no_such_parameter")


def search_space_is_buildable(candidate: Candidate) -> None:
    """Both ends of every dimension are accepted by the constructor."""
    for name, dimension in candidate.kind.search_space().items():
        ends = dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
        for end in ends:
            candidate.make(**{name: end})


# -- before fitting --------------------------------------------------------------------------------------------


def not_fitted_is_an_error(candidate: Candidate) -> None:
    """Unfitted, a model says so, whatever it is asked."""
    model = candidate.make()
    for act in (
        lambda: model.predict(candidate.origins()),
        lambda: model.forecast(candidate.panel),
        lambda: model.horizon,
        lambda: model.intervals,
    ):
        refused(NotFittedError, act)
    expect(model.state() == {}, "an unfitted model has a state")


def nothing_to_learn_from_is_an_error(candidate: Candidate) -> None:
    """No training windows are refused, and leave the model unfitted."""
    model = candidate.make()
    empty = candidate.panel.windows(model.context + HORIZON)[slice(0, 0)]
    targets = SCHEMA.target_names
    refused(InsufficientHistoryError, lambda: model.fit(empty, horizon=HORIZON, targets=targets))
    expect(not model.fitted, "half a fit counts as one")


# -- forecasts -------------------------------------------------------------------------------------------------


def fits_without_validation(candidate: Candidate) -> None:
    """Without validation windows it is fitted all the same."""
    model, split = candidate.make(), candidate.split
    train = candidate.panel.windows(model.context + HORIZON).ahead_within(HORIZON, until=split.validation_start)
    schema = candidate.panel.schema
    known = schema.known_names if model.tags.known_future else ()
    model.fit(train, horizon=HORIZON, targets=schema.target_names, known=known)
    expect(bool(np.isfinite(model.predict(model.split(train)[0])).all()), "a forecast is not finite")


def shapes_are_as_promised(candidate: Candidate) -> None:
    """Forecasts are finite (N, H, T) arrays, none for no window; quantiles have one more axis."""
    windows = candidate.origins()
    point = candidate.model.predict(windows)
    expect(point.shape == (len(windows), HORIZON, len(SCHEMA.targets)), f"predict gave {point.shape}")
    expect(point.dtype == np.float64 and bool(np.isfinite(point).all()), f"{point.dtype}, or not all finite")
    none = candidate.model.predict(windows[slice(0, 0)])
    expect(none.shape == (0, *point.shape[1:]), f"no window gave {none.shape}")
    prediction = candidate.forecast(levels=(0.1, 0.9))
    series = len(candidate.panel.series)
    expect(prediction.values.shape == (series, *point.shape[1:], 2), f"quantiles {prediction.values.shape}")
    expect(prediction.timestamps.shape == (series, HORIZON), f"timestamps {prediction.timestamps.shape}")


def batch_equals_one_by_one(candidate: Candidate) -> None:
    """Neither the other windows of a batch nor the table it lies in change a window's forecast."""
    windows = candidate.origins()[slice(None, None, 9)]
    together = candidate.model.predict(windows)
    single = np.concatenate([candidate.model.predict(alone(windows, i)) for i in range(len(windows))])
    expect(bool((single == together).all()), f"differ by {np.abs(single - together).max()}")


def longer_context_gives_the_same(candidate: Candidate) -> None:
    """Rows before the context play no part."""
    context = candidate.model.context
    longer = candidate.model.split(candidate.panel.windows(context + 7 + HORIZON))[0]
    difference = candidate.model.predict(longer) - candidate.model.predict(longer.tail(context))
    expect(not difference.any(), f"differ by {np.abs(difference).max()}")


def _until(candidate: Candidate, panel: Panel) -> Windows:
    """Return the contexts that end before the test part, with what is known ahead of them."""
    windows = panel.windows(candidate.model.context + HORIZON)
    before = candidate.panel.before(candidate.split.test_start).table.times
    return candidate.model.split(windows.ahead_within(HORIZON + 1, until=before.max() + (HORIZON + 1) * STEP))[0]


def predicting_sees_no_future(candidate: Candidate) -> None:
    """Rows after the context do not change a forecast."""
    here, there = (
        _until(candidate, panel)
        for panel in (
            candidate.panel,
            changed_since(candidate.panel, candidate.split.test_start, SCHEMA.known_names),
        )
    )
    expect(alike(candidate.model.predict(there), candidate.model.predict(here), CLOSE), "the future leaks in")


def fitting_sees_no_future(candidate: Candidate) -> None:
    """Rows after the last part that fitting may see change neither the forecasts nor the intervals."""
    changed = changed_since(candidate.panel, candidate.split.test_start)
    other = candidate.fit(changed)
    early = candidate.panel.before(candidate.split.test_start).windows(candidate.model.context + HORIZON)
    contexts = candidate.model.split(early)[0]
    mine, others = candidate.model, other
    expect(alike(others.predict(contexts), mine.predict(contexts), CLOSE), "the test part changes the forecasts")
    expect(
        alike(others.intervals.errors, mine.intervals.errors, 100 * CLOSE), "the test part changes the intervals"
    )


def quantiles_are_ordered(candidate: Candidate) -> None:
    """Any increasing levels may be asked for, and their quantiles increase; other levels are refused."""
    levels = (0.01, 0.1, 0.25, 0.4999, 0.5, 0.77, 0.999)
    values = candidate.forecast(levels=levels).values
    expect(bool((np.diff(values, axis=-1) >= 0).all()), "quantiles cross")
    for wrong in ((), (0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)):
        refused(ConfigError, partial(candidate.forecast, levels=wrong))


def horizon_may_be_shorter_only(candidate: Candidate) -> None:
    """Shorter horizons are the beginning of the whole; longer ones, or none, are refused."""
    whole = candidate.forecast()
    short = candidate.forecast(horizon=2)
    expect(np.array_equal(short.point, whole.point[:, :2]), "two steps are not the first two of the whole")
    expect(np.array_equal(short.values, whole.values[:, :2]), "nor are their quantiles")
    for wrong in (0, -1, HORIZON + 1):
        refused(UserError, partial(candidate.forecast, horizon=wrong))


def short_history_refused(candidate: Candidate) -> None:
    """One row less than the context is refused by the name of the series; the context alone is enough."""
    frame, context = candidate.panel.frame, candidate.model.context
    enough = frame.groupby("series_id").tail(context)
    expect(len(candidate.forecast(panel=Panel(enough, SCHEMA)).ids) == len(candidate.panel.series), "rows missing")
    short = enough.drop(enough.index[enough["series_id"] == "plant-1"][0])
    refused(InsufficientHistoryError, lambda: candidate.model.forecast(Panel(short, SCHEMA)), names="plant-1")


def other_columns_refused(candidate: Candidate) -> None:
    """Columns in another order are not silently taken for the fitted ones."""
    turned = candidate.panel.for_target("used")
    refused(SignatureMismatch, lambda: candidate.forecast(panel=turned))


def ragged_series_keep_to_themselves(candidate: Candidate) -> None:
    """Many series of different lengths get, in their order, what each gets alone."""
    together = candidate.forecast()
    expect(together.ids == candidate.panel.series, f"ids {together.ids}")
    for n, series in enumerate(together.ids):
        rows = candidate.panel.frame[candidate.panel.frame["series_id"] == series]
        single = candidate.forecast(panel=Panel(rows, SCHEMA))
        expect(alike(single.point, together.point[n : n + 1], CLOSE), f"'{series}' differs when alone")


def future_refused_where_unused(candidate: Candidate) -> None:
    """Known covariates are not silently ignored; nor are they silently missing."""
    if not candidate.kind.tags.known_future:
        future = future_of(candidate.panel, SCHEMA.known_names)
        refused(UserError, lambda: candidate.model.forecast(candidate.panel, future=future), names="future")
        return
    expect(candidate.model.known == SCHEMA.known_names, f"knows {candidate.model.known} of {SCHEMA.known_names}")
    refused(UserError, lambda: candidate.model.forecast(candidate.panel), names="future")
    good = future_rows(candidate.panel, candidate.model)
    if good is None:
        raise CheckFailed("a model that knows columns ahead was given none")
    for bad, names in (
        (good.drop(columns="plan"), "plan"),
        (good.iloc[:-1], "too short"),
        (good[good["series_id"] != "plant-1"], "plant-1"),
        (good.assign(plan=np.nan), "plan"),
        (pd.concat([good, good]), "doubled"),
    ):
        refused(UserError, partial(candidate.model.forecast, candidate.panel, future=bad), names=names)


def tags_tell_what_is_read(candidate: Candidate) -> None:
    """Each role of covariates changes the forecasts where the tag says that it is used, and nowhere else."""
    tags, origins = candidate.kind.tags, candidate.origins()
    point = candidate.model.predict(origins)
    for name, used in (("load", tags.past_covariates), ("size", tags.static)):
        rows = origins.rows.copy()
        rows[:, origins.positions([name])] = 1.0 - rows[:, origins.positions([name])]
        changed = bool((candidate.model.predict(replace(origins, rows=rows)) != point).any())
        expect(changed == used, f"'{name}' {'changes' if changed else 'does not change'} forecasts, tagged {used}")


def known_future_is_used(candidate: Candidate) -> None:
    """Where the plan says what will be, a model that knows it errs less than half as much as the mean."""
    if not candidate.kind.tags.known_future:
        return
    panel = planned_panel()
    model = candidate.fit(panel)
    context, actual = model.split(candidate.test_windows(panel, model))
    got = mae(actual[..., 0], model.predict(context)[..., 0])
    bar = mae(actual[..., 0], np.full_like(actual[..., 0], actual[..., 0].mean()))
    expect(got < bar / 2, f"mean absolute error {got:.3f}, the mean's is {bar:.3f}")


# -- data ------------------------------------------------------------------------------------------------------


def input_is_not_modified(candidate: Candidate) -> None:
    """Fitting and forecasting work on a table that nobody may write to."""
    frame = candidate.panel.frame.copy()
    panel = Panel(frame, SCHEMA)
    table = panel.table
    for array in (table.rows, table.times, table.segments):
        array.flags.writeable = False
    model = candidate.fit(panel)
    candidate.forecast(model, panel)
    expect(frame.equals(candidate.panel.frame), "the frame has changed")


def constant_series_stay_constant(candidate: Candidate) -> None:
    """Standing still is no reason for NaN, and is forecast to within 5 %."""
    panel = constant_panel()
    prediction = candidate.forecast(candidate.fit(panel), panel)
    off = float(np.abs(prediction.point / 50.0 - 1).max())
    expect(off <= 0.05, f"a constant series is forecast {off:.1%} off")
    expect(bool(np.isfinite(prediction.values).all()), "an interval is not finite")


def learns_something(candidate: Candidate) -> None:
    """On an easy seasonal series its error is less than half of the training mean's."""
    model, panel, split = candidate.model, candidate.panel, candidate.split
    context, actual = model.split(candidate.test_windows(panel, model))
    known = panel.before(split.validation_start).table
    mean = np.broadcast_to(known.rows[:, known.positions(model.targets)].mean(axis=0), actual.shape)
    for target, name in enumerate(model.targets):
        got = mae(actual[..., target], model.predict(context)[..., target])
        bar = mae(actual[..., target], mean[..., target])
        expect(got < bar / 2, f"'{name}': mean absolute error {got:.3f}, the training mean's is {bar:.3f}")


CHECKS = tuple(
    Check.of(function)
    for function in (
        params_round_trip,
        unknown_parameter_refused,
        search_space_is_buildable,
        not_fitted_is_an_error,
        nothing_to_learn_from_is_an_error,
        fits_without_validation,
        shapes_are_as_promised,
        batch_equals_one_by_one,
        longer_context_gives_the_same,
        predicting_sees_no_future,
        fitting_sees_no_future,
        quantiles_are_ordered,
        horizon_may_be_shorter_only,
        short_history_refused,
        other_columns_refused,
        ragged_series_keep_to_themselves,
        future_refused_where_unused,
        tags_tell_what_is_read,
        known_future_is_used,
        input_is_not_modified,
        constant_series_stay_constant,
        learns_something,
        fits_are_reproducible,
        another_process_fits_the_same,
        seed_is_used,
        artifact_gives_the_same_bits,
        corrupted_artifact_refused,
        pickles_give_the_same_bits,
        loop_runs_where_it_is_told,
        training_resumes,
    )
)
"""The exam, in the order of its sections."""
