"""ETTh1, 96 hours after 96 to 336 known ones, seven variables: mean squared and mean absolute errors.

Parts of 12, 4 and 4 months, standardised by the training part; a test window may look back into the validation
part. All choices (members, look-backs, penalties, losses, equal weights) were made on the validation part and on
two earlier cuts of the training part; models learn from the training part alone. Weights fitted on one of these
parts did worse on the next than equal ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from benchmarks.measure import Benchmark, Pair
from benchmarks.public_data import etth1
from training.core.component import build
from training.core.metrics import mae, rmse
from training.models import MODELS

HORIZON = 96
RIDGE_OF_OTHERS = (0.383, 0.392)
"""Squared and absolute error of closed-form ridge on 96 hours, as measured before the project began."""
AIM = (0.365, 0.385)

Params = dict[str, Any]


def _ridge(window: int, alpha: float, **changed: object) -> Params:
    return {"name": "channel_ridge", "params": {"window": window, "alpha": alpha, **changed}}


SHORT, MIDDLE, LONG = 96, 192, 336
BASELINE = _ridge(SHORT, 1e-2, shared=True)
LONG_MEMBERS = (
    _ridge(LONG, 0.1, shared=True, loss="absolute"),
    _ridge(LONG, 0.1, shared=True, anchor="none"),
    _ridge(MIDDLE, 0.1, loss="absolute"),
    _ridge(SHORT, 1e-2, loss="absolute"),
    _ridge(SHORT, 1e-2, anchor="none"),
)
SHORT_MEMBERS = (
    _ridge(SHORT, 1e-2, loss="absolute"),
    _ridge(SHORT, 1e-2, anchor="none"),
    _ridge(SHORT, 1e-2),
    _ridge(SHORT, 1e-2, shared=True, anchor="none", season=24, loss="absolute"),
)
MEASURED: dict[str, Params] = {
    "ensemble": {"name": "ensemble", "params": {"members": LONG_MEMBERS}},
    "ensemble_look_back_96": {"name": "ensemble", "params": {"members": SHORT_MEMBERS}},
    "own_192": LONG_MEMBERS[2],
    "shared_336": LONG_MEMBERS[0],
    "shared_96": BASELINE,
}


def errors(part: Literal["validation", "test"], models: Mapping[str, Params]) -> dict[str, tuple[float, float]]:
    """Return model -> (mean squared, mean absolute error) over every window of a part."""
    panel, validation, test = etth1()
    since, until = (validation, test) if part == "validation" else (test, None)
    found = {}
    for name, spec in models.items():
        model = build(MODELS, spec["name"], spec["params"])
        windows = panel.windows(model.context + HORIZON)
        train = windows.ahead_within(HORIZON, until=validation)
        model.fit(train, horizon=HORIZON, targets=panel.schema.target_names)
        context, actual = model.split(windows.ahead_within(HORIZON, since, until))
        point = model.predict(context)
        found[name] = (float(np.square(rmse(actual, point))), mae(actual, point))
    return found


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - nothing is drawn
    """Fit and measure everything once."""
    found = errors("test", MEASURED)
    rounded = {name: [round(error, 4) for error in both] for name, both in found.items()}
    ours = {name: squared for name, (squared, _) in found.items() if name != "shared_96"}
    return Pair(seed=seed, baseline=found["shared_96"][0], ours=ours, notes={"mse_mae": rounded, "aim": AIM})


BENCHMARK = Benchmark(
    name="etth1",
    question="mean squared error on ETTh1's test part, 96 hours ahead, over closed-form ridge's on 96 hours",
    goal=AIM[0] / RIDGE_OF_OTHERS[0],
    pair=pair,
)
