"""How well every model of the catalog forecasts, as a share of the seasonal naive forecast's error.

Gas turbine, NOX, 24 hours ahead, the default recipe's features; WAPE over every origin of the last 15 %.
The ensemble is put together from the fitted members of the default recipe, as the pipeline does it.
"""

from __future__ import annotations

import time
from typing import Any

from apps.pipelines.recipe import default_recipe
from benchmarks.measure import Benchmark, Pair
from training.core.component import build
from training.core.estimator import Forecaster
from training.core.metrics import wape
from training.core.splits import Split, chronological_split
from training.core.windows import Windows
from training.data.bundled import load_sample
from training.features import TRANSFORMS
from training.models import MODELS
from training.models.ensemble import Ensemble

TARGET, HORIZON, SEASON = "NOX", 24, 24
PARAMETERS: dict[str, dict[str, Any]] = {
    name: {"season": SEASON} for name in ("seasonal_naive", "seasonal_mean", "auto_arima", "auto_ets", "theta")
}
"""What a model needs beside the default recipe's parameters."""
EXCUSED: dict[str, str] = {}
"""Models without a scenario here, each with the reason; a test compares with the catalog."""
RIDGE_OF_OTHERS, NAIVE_OF_OTHERS = 0.071, 0.088
"""WAPE of ridge on the last 168 values and of seasonal naive, as measured before the project began."""


def scenarios() -> tuple[str, ...]:
    """Return the models that are measured, the ensemble first."""
    return ("ensemble", *(name for name in MODELS if name not in {"ensemble", *EXCUSED}))


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - errors do not depend on the order
    """Fit and measure every model once."""
    panel = load_sample("gas_turbine").for_target(TARGET)
    split = chronological_split(panel)
    recipe = default_recipe(panel.schema, TARGET, HORIZON)
    given = {member["name"]: member["params"] for member in recipe.members}
    models = {
        name: build(MODELS, name, _seeded(name, given.get(name, PARAMETERS.get(name, {})), seed))
        for name in scenarios()
        if name != "ensemble"
    }
    features = [build(TRANSFORMS, each["name"], each["params"]) for each in recipe.features]
    lookback = sum(feature.lookback for feature in features)
    raw = panel.windows(max(model.context for model in models.values()) + HORIZON + lookback)
    inner = raw
    for feature in features:
        inner = feature.fit(_between(inner, None, split.validation_start)).transform(inner)
    seconds = {name: _fit(model, inner, split) for name, model in models.items()}
    ensemble = Ensemble.of(features, [models[name] for name in given], columns=raw.columns)
    ensemble.weigh(_between(raw, split.validation_start, split.calibration_start))
    test = _between(raw, split.test_start, None)
    errors = {"ensemble": _error(ensemble, test)}
    late = _between(inner, split.test_start, None)
    errors |= {name: _error(model, late) for name, model in models.items()}
    notes = {"wape": _rounded(errors), "fit_s": _rounded(seconds), "weights": ensemble.weights.round(3).tolist()}
    return Pair(seed=seed, baseline=errors["seasonal_naive"], ours=errors, notes=notes)


def _seeded(name: str, params: dict[str, Any], seed: int) -> dict[str, Any]:
    return params | ({"seed": seed} if MODELS.load(name).tags.seeded else {})


def _between(windows: Windows, since: Any, until: Any) -> Windows:
    return windows.ahead_within(HORIZON, since, until)


def _fit(model: Forecaster, windows: Windows, split: Split) -> float:
    started_s = time.perf_counter()
    model.fit(
        _between(windows, None, split.validation_start),
        horizon=HORIZON,
        targets=(TARGET,),
        validation=_between(windows, split.validation_start, split.calibration_start),
    )
    return time.perf_counter() - started_s


def _error(model: Forecaster, windows: Windows) -> float:
    context, actual = model.split(windows)
    return wape(actual, model.predict(context))


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(figure, 4) for name, figure in figures.items()}


BENCHMARK = Benchmark(
    name="quality",
    question="WAPE on the held-out end of the gas turbine's NOX, over seasonal naive's",
    goal=RIDGE_OF_OTHERS / NAIVE_OF_OTHERS,
    pair=pair,
)
