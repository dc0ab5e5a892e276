"""What every peer does with a request: the same model file, by the model's methods, none of our serving code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.core.artifact import load_artifact
from training.core.windows import Windows
from training.models import MODELS

LEVELS = (0.05, 0.5, 0.95)


class Plain:
    """Loads the artifact that the environment names, and answers batches of requests."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        self._model, _ = load_artifact(Path(os.environ["BENCHMARK_MODEL"]), MODELS)

    def answer(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return an answer a request, each of one series."""
        series = [request["series"][0] for request in requests]
        context = self._windows(series)
        point = self._model.predict(context)
        found = self._model.describe(context, point, self._model.horizon, LEVELS)
        times = np.datetime_as_string(found.timestamps, unit="s").tolist()
        return [
            {
                "series_id": each["series_id"],
                "steps": [
                    {
                        "timestamp": times[n][h],
                        "prediction": float(found.point[n, h, 0]),
                        "confidence": float(found.confidence[n, h, 0]),
                        "quantiles": dict(zip(map(repr, LEVELS), found.values[n, h, 0].tolist(), strict=True)),
                    }
                    for h in range(self._model.horizon)
                ],
            }
            for n, each in enumerate(series)
        ]

    def _windows(self, series: Sequence[dict[str, Any]]) -> Windows:
        columns, length = self._model.columns, self._model.context
        offsets = np.arange(len(series) + 1, dtype=np.int64) * length
        return Windows(
            rows=np.concatenate([np.array([each["values"][name] for name in columns]).T for each in series]),
            times=np.concatenate([np.array(each["timestamps"], dtype="datetime64[ns]") for each in series]),
            segments=offsets,
            starts=offsets[:-1],
            length=length,
            columns=columns,
            series=tuple(each["series_id"] for each in series),
            frequency="h",
        )
