"""What a trial does: fit one model on the training part, and measure its WAPE on the validation part."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cluster.errors import TrainingDiverged
from training.core.component import build
from training.core.metrics import wape
from training.core.panel import Panel
from training.core.splits import Split
from training.core.windows import Windows, cut
from training.distributed.local import LocalRunner
from training.features import TRANSFORMS
from training.models import MODELS
from tuning.records import Part

OnStep = Callable[[int, float], None]
STEP_METRIC = "validation_loss"
"""What the loops report each step: lower is better, comparable within a family."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What all trials of a study share; travels to the cluster once.

    Parameters
    ----------
    table
        All rows with their features.
    lookback
        Rows at each series' start without complete features.
    targets, horizon
        What is forecast, and how far.
    known
        What is known over the horizon.
    validation_start, validation_end
        Training ends before the first, the score is taken between them.
    """

    table: Windows
    lookback: int
    targets: tuple[str, ...]
    known: tuple[str, ...]
    horizon: int
    validation_start: pd.Timestamp
    validation_end: pd.Timestamp

    @classmethod
    def prepare(cls, panel: Panel, split: Split, *, features: tuple[Part, ...], horizon: int) -> Material:
        """Fit the features on the training part and compute them for all rows, once for all trials."""
        transforms = [build(TRANSFORMS, part["name"], part["params"]) for part in features]
        lookback = sum(transform.lookback for transform in transforms)
        known = panel.schema.known_names
        table = panel.windows(lookback + horizon + 1)
        for transform in transforms:
            transform.fit(table.ahead_within(horizon, until=split.validation_start))
            table = transform.transform(table)
            known = transform.ahead_columns(known)
        return cls(
            table=table,
            lookback=lookback,
            targets=panel.schema.target_names,
            known=known,
            horizon=horizon,
            validation_start=split.validation_start,
            validation_end=split.calibration_start,
        )

    def parts(self, context: int) -> tuple[Windows, Windows]:
        """Return (training, validation) windows of `context + horizon` rows."""
        length = context + self.horizon
        windows = cut(self.table, length=self.lookback + length).tail(length)
        train = windows.ahead_within(self.horizon, until=self.validation_start)
        return train, windows.ahead_within(self.horizon, since=self.validation_start, until=self.validation_end)


def score(name: str, params: Mapping[str, Any], material: Material, on_step: OnStep) -> float:
    """Return the validation WAPE of the model `name` fitted with `params`; `on_step` hears of each step."""
    model = build(MODELS, name, params)
    one_thread(torch=model.tags.backend == "torch")
    train, validation = material.parts(model.context)
    runner = LocalRunner(lambda step, metrics: on_step(step, metrics[STEP_METRIC]))
    model.fit(
        train,
        horizon=material.horizon,
        targets=material.targets,
        known=material.known if model.tags.known_future else (),
        validation=validation,
        runner=runner,
    )
    context, actual = model.split(validation)
    found = wape(actual, model.predict(context))
    if not math.isfinite(found):
        raise TrainingDiverged(f"'{name}' forecasts no numbers: got a WAPE of {found}; try a smaller learning rate")
    return found


def one_thread(*, torch: bool) -> None:
    """Keep a trial to one core: trials run beside each other, and their threads would only fight."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if torch:
        from torch import set_num_threads

        set_num_threads(1)
