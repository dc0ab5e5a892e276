"""Fit some families on the training part, weigh them on the validation part, judge all on the test part, once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.core.component import build
from training.core.estimator import Forecaster
from training.core.metrics import wape
from training.core.panel import Panel
from training.core.splits import Split, chronological_split
from training.core.windows import Floats, Windows
from training.features import TRANSFORMS
from training.models import MODELS
from training.models.ensemble import Ensemble

Part = tuple[str, Mapping[str, Any]]
"""Catalog name and parameters."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What came out.

    Parameters
    ----------
    wape
        `ensemble` and each member -> error over every origin of the test part.
    by_target
        `ensemble` and each member -> target -> error.
    weights
        Of the members in the ensemble, the mean over the steps.
    fit_s
        Seconds a member took to fit.
    origins
        Forecasts in the test part.
    """

    wape: dict[str, float]
    by_target: dict[str, dict[str, float]]
    weights: dict[str, float]
    fit_s: dict[str, float]
    origins: int


def judge(
    panel: Panel,
    horizon: int,
    members: Mapping[str, Part],
    *,
    features: Sequence[Part] = (),
    seed: int = 0,
    apart: Sequence[str] = (),
    every: int = 1,
    by_step: bool = False,
) -> Judged:
    """Return errors on the last 15 % of the time line, every origin, of models fitted on the first 70 %.

    Early stopping looks at the first half of the 15 % between; the ensemble's weights at all of them.

    Parameters
    ----------
    panel
        Roles of columns say what is known ahead.
    members
        Label -> family and parameters; its seed is set where it has one.
    features
        Of all members.
    apart
        Members that are judged, and left out of the ensemble.
    every
        Weights are found on every so-many-th origin of the validation part; the test part is judged on all.
    by_step
        Whether each step has weights of its own.
    """
    split = chronological_split(panel)
    models = {label: build(MODELS, name, _seeded(name, params, seed)) for label, (name, params) in members.items()}
    transforms = [build(TRANSFORMS, name, params) for name, params in features]
    lookback = sum(transform.lookback for transform in transforms)
    raw = panel.windows(max(model.context for model in models.values()) + lookback + horizon)
    inner, known = raw, panel.schema.known_names
    for transform in transforms:
        transform.fit(_between(inner, horizon, None, split.validation_start))
        inner, known = transform.transform(inner), transform.ahead_columns(known)
    asked = {"horizon": horizon, "targets": panel.schema.target_names, "known": known}
    fit_s = {label: _fit(model, inner, split, asked) for label, model in models.items()}
    inside = [model for label, model in models.items() if label not in apart]
    ensemble = Ensemble.of(transforms, inside, columns=raw.columns, by_step=by_step)
    ensemble.weigh(_between(raw, horizon, split.validation_start, split.test_start)[slice(None, None, every)])
    return _judged(ensemble, models, _between(raw, horizon, split.test_start, None), apart, fit_s)


def _judged(
    ensemble: Ensemble,
    models: Mapping[str, Forecaster],
    test: Windows,
    apart: Sequence[str],
    fit_s: dict[str, float],
) -> Judged:
    """Forecast the test part once with each model, and combine."""
    context, actual = ensemble.split(test)
    inner = ensemble.prepare(context)
    points = {label: model.predict(inner) for label, model in models.items()}
    inside = [label for label in models if label not in apart]
    points = {"ensemble": ensemble.combine([points[label] for label in inside])} | points
    return Judged(
        wape={label: wape(actual, point) for label, point in points.items()},
        by_target={label: _by_target(ensemble.targets, actual, point) for label, point in points.items()},
        weights=dict(zip(inside, ensemble.weights.round(3).tolist(), strict=True)),
        fit_s={label: round(seconds, 1) for label, seconds in fit_s.items()},
        origins=len(test),
    )


def _by_target(targets: Sequence[str], actual: Floats, point: Floats) -> dict[str, float]:
    return {name: wape(actual[..., at], point[..., at]) for at, name in enumerate(targets)}


def _seeded(name: str, params: Mapping[str, Any], seed: int) -> dict[str, Any]:
    return dict(params) | ({"seed": seed} if MODELS.load(name).tags.seeded else {})


def _between(windows: Windows, horizon: int, since: Any, until: Any) -> Windows:
    return windows.ahead_within(horizon, since, until)


def _fit(model: Forecaster, windows: Windows, split: Split, asked: Mapping[str, Any]) -> float:
    """Return the seconds it took; `asked` are horizon, targets and what is known."""
    started_s = time.perf_counter()
    horizon, known = asked["horizon"], asked["known"] if model.tags.known_future else ()
    late = _between(windows, horizon, split.validation_start, split.calibration_start)
    early = _between(windows, horizon, None, split.validation_start)
    model.fit(early, horizon=horizon, targets=asked["targets"], known=known, validation=late)
    return time.perf_counter() - started_s


def rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures to four places."""
    return {name: round(figure, 4) for name, figure in figures.items()}
