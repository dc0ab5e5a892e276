"""The LSTM alone on ETTh1, 96 hours ahead, seven variables: mean squared and mean absolute errors.

Parts of 12, 4 and 4 months, standardised by the training part; a test window may look back into the validation
part. One network of the usual sizes, 128 and 64, forecasts each variable from its own past: `look_back_96`
compares with the published table, `look_back_336` with the figures in brackets there. All parameters were chosen on
the validation part, where training also stops; the test part has no say.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.etth1 import BASELINE, HORIZON
from benchmarks.measure import Benchmark, Pair
from benchmarks.public_data import etth1
from training.core.component import build
from training.core.estimator import Forecaster
from training.core.metrics import mae, rmse
from training.core.panel import Panel
from training.models import MODELS
from training.models.lstm import LSTM

RIDGE_OF_OTHERS, DLINEAR = (0.383, 0.392), (0.386, 0.400)
"""Squared and absolute errors as published or measured by others, on 96 hours."""
AIM = (0.375, 0.392)

OPTIONS: dict[str, Any] = {
    "anchor": "last",
    "rescale": True,
    "shared": True,
    "skip": True,
    "loss": "absolute",
    "learning_rate": 2e-3,
    "batch_size": 64,
    "stride": 2,
    "max_epochs": 8,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "look_back_96": OPTIONS | {"window": 96, "segment": 24},
    "look_back_336": OPTIONS | {"window": 336, "segment": 48, "dropout": 0.4},
}


def fitted(model: Forecaster, panel: Panel, validation: Any, test: Any) -> Forecaster:
    """Return the model fitted on the training part, stopped on the validation part where it can stop."""
    windows = panel.windows(model.context + HORIZON)
    train = windows.ahead_within(HORIZON, until=validation)
    late = windows.ahead_within(HORIZON, since=validation, until=test)
    return model.fit(train, horizon=HORIZON, targets=panel.schema.target_names, validation=late)


def errors(model: Forecaster, panel: Panel, since: Any, until: Any = None) -> tuple[float, float]:
    """Return mean squared and mean absolute error over every window with its future in [since, until)."""
    windows = panel.windows(model.context + HORIZON).ahead_within(HORIZON, since, until)
    context, actual = model.split(windows)
    point = model.predict(context)
    return float(np.square(rmse(actual, point))), mae(actual, point)


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - errors do not depend on the order
    """Fit and measure everything once."""
    panel, validation, test = etth1()
    ridge = fitted(build(MODELS, BASELINE["name"], BASELINE["params"]), panel, validation, test)
    found = {"ridge_96": errors(ridge, panel, test)}
    seconds, stopped_at = {}, {}
    for name, options in VARIANTS.items():
        began_s = time.perf_counter()
        model = fitted(LSTM(seed=seed, **options), panel, validation, test)
        seconds[name] = round(time.perf_counter() - began_s, 1)
        stopped_at[name] = [round(error, 4) for error in errors(model, panel, validation, test)]
        found[name] = errors(model, panel, test)
    return Pair(
        seed=seed,
        baseline=found["ridge_96"][0],
        ours={name: found[name][0] for name in VARIANTS},
        notes={
            "mse_mae": {name: [round(error, 4) for error in both] for name, both in found.items()},
            "validation_mse_mae": stopped_at,
            "dlinear": DLINEAR,
            "aim": AIM,
            "fit_s": seconds,
        },
    )


BENCHMARK = Benchmark(
    name="etth1_lstm",
    question="mean squared error of the LSTM on ETTh1's test part, 96 hours ahead, over closed-form ridge's",
    goal=AIM[0] / RIDGE_OF_OTHERS[0],
    pair=pair,
)
