"""One task of a backtest: a family fitted on a block of series before a moment, and its forecasts from there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cluster.errors import HeliotropeError, InsufficientHistoryError
from training.core.component import State, build
from training.core.estimator import Forecaster
from training.core.windows import Floats, Ints, Windows
from training.distributed.fanout import attempt, told_of
from training.evaluation.origins import Block, borders, windows_around, windows_within
from training.models import MODELS


def forecast_block(block: Block, work: Mapping[str, Any]) -> State:
    """Return what one family forecasts for each series of the block from some moments.

    It is fitted once, before the first of them.

    Parameters
    ----------
    block
        S series.
    work
        model and params; moments, K ISO times; horizon; train_rows and validation as in `RollingPlan`.

    Returns
    -------
    State
        point (S, K, H, T) float32, NaN where there is none; faults, of single series; seconds.

    Raises
    ------
    HeliotropeError
        It cannot be fitted.
    """
    started_s = time.perf_counter()
    moments = np.array(work["moments"], dtype="datetime64[ns]")
    model = build(MODELS, work["model"], work["params"])
    fit_before(model, block, moments[0], work)
    shape = (len(block.table.series), len(moments), work["horizon"], len(block.targets))
    point = np.full(shape, np.nan, dtype=np.float32)
    faults: list[dict[str, Any]] = []
    for at, moment in enumerate(moments):
        owners, windows = windows_around(block.table, moment, model.context, model.horizon)
        got, errors = _forecasts(model, windows)
        point[owners, at] = got
        errors = {int(owners[each]): error for each, error in errors.items()}
        errors |= _without(block.table, owners, moment, model)
        faults += [{"series": each, "cutoff": at, "error": told_of(error)} for each, error in errors.items()]
    return {"point": point, "faults": faults, "seconds": time.perf_counter() - started_s}


def fit_before(model: Forecaster, block: Block, moment: np.datetime64, work: Mapping[str, Any]) -> Forecaster:
    """Fit on windows whose every row is before a moment; a model that stops early does so on the newest of them."""
    table, length = block.table, model.context + work["horizon"]
    high = borders(table, moment)
    low = table.segments[:-1]
    if work["train_rows"] is not None:
        low = np.maximum(low, high - work["train_rows"])
    train, validation = windows_within(table, low, high, length), None
    if stops_early(model):
        last = high - np.maximum(work["horizon"], ((high - low) * work["validation"]).astype(np.int64))
        early = windows_within(table, low, last, length)
        late = windows_within(table, np.maximum(low, last - model.context), high, length)
        if len(early) and len(late):
            train, validation = early, late
    if not len(train):
        longest = int((high - low).max(initial=0))
        raise InsufficientHistoryError(
            f"no series is long enough before {str(moment)[:19]}: the longest has {longest} rows, {length} are "
            "needed",
            got=longest,
            expected=length,
        )
    known = block.known if model.tags.known_future else ()
    return model.fit(train, horizon=work["horizon"], targets=block.targets, known=known, validation=validation)


def stops_early(model: Forecaster) -> bool:
    """Return whether fitting needs rows to be stopped by: it has patience, or a training loop, or such a member."""
    members: Sequence[Forecaster] = getattr(model, "members", ())
    alone = model.tags.backend is not None or "patience" in model.parameter_names()
    return alone or any(stops_early(member) for member in members)


def _forecasts(model: Forecaster, windows: Windows) -> tuple[Floats, dict[int, HeliotropeError]]:
    """Return (N, H, T) and the errors of single windows: where all together fail, each is tried alone."""
    shape = (len(windows), model.horizon, len(model.targets))
    if not len(windows):
        return np.empty(shape), {}
    together = attempt(_predict, model, windows)
    if not isinstance(together, HeliotropeError):
        return together["point"], {}
    point, errors = np.full(shape, np.nan), {}
    for at in range(len(windows)):
        alone = attempt(_predict, model, windows[slice(at, at + 1)])
        if isinstance(alone, HeliotropeError):
            errors[at] = alone
        else:
            point[at] = alone["point"][0]
    return point, errors


def _predict(model: Forecaster, windows: Windows) -> State:
    context, _ = model.split(windows)
    return {"point": model.predict(context)}


def _without(
    table: Windows, owners: Ints, moment: np.datetime64, model: Forecaster
) -> dict[int, InsufficientHistoryError]:
    """Return, for the series that have no window at a moment, what they have."""
    missing = np.setdiff1d(np.arange(len(table.series)), owners)
    ends = borders(table, moment)
    return {
        int(at): InsufficientHistoryError(
            f"series '{table.series[at]}' has no forecast from {str(moment)[:19]}: got "
            f"{ends[at] - table.segments[at]} rows before and {table.segments[at + 1] - ends[at]} after, "
            f"expected {model.context} and {model.horizon}",
            series=table.series[at],
        )
        for at in missing
    }
