"""Seconds until the best validation loss that the usual training loop reaches, ours against its own.

The usual loop: a Dataset object that cuts one sample at a time, a DataLoader with batches of 32, default threads,
Adam 1e-3, `EPOCHS` epochs; its time is the one at which it reached its best validation loss. Ours: `LSTM` with the
course of `COURSE`. Layers, sizes, data and parts are the same: gas turbine, NOX, all columns, window 30, 24 steps
ahead; the loss is the mean squared error over the same validation windows, in units of the variance of NOX in the
training part.

`same_net` is the very same network and loss, so that the loop alone makes the difference: first weights, data path,
batches, steps, bfloat16 where the processor has it. `anchored` forecasts the difference from the window's mean, as
`LSTM` does by default. Both clocks run on while validation losses are computed. Course and first weights were
chosen on seeds 0 to 5.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.measure import Benchmark, Pair
from training.core.splits import chronological_split
from training.core.windows import Windows
from training.data.bundled import load_sample
from training.distributed.local import LocalRunner
from training.models.lstm import LSTM

TARGET, WINDOW, HORIZON = "NOX", 30, 24
EPOCHS = 3
COURSE: dict[str, Any] = {"max_epochs": 6, "stride": 8, "batch_size": 64}
"""Short epochs, each of an eighth of the windows: three quarters of them are visited, once."""
VARIANTS: dict[str, dict[str, Any]] = {
    "same_net": {"anchor": "none"},
    "anchored": {},
}
Curve = list[tuple[float, float, float]]
"""Seconds, processor seconds and validation loss after each epoch."""


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """The usual Dataset: one window at a time, cut and converted when asked for."""

    def __init__(self, windows: Windows, mean: Any, std: Any) -> None:
        self.rows = ((windows.rows - mean) / std).astype(np.float32)
        self.first = windows.starts.tolist()

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        start = self.first[index]
        middle = start + WINDOW
        return torch.tensor(self.rows[start:middle]), torch.tensor(self.rows[middle : middle + HORIZON, 0])


class UsualNet(nn.Module):
    """LSTM(128) -> dropout -> LSTM(64) -> dropout -> dense 32 -> horizon."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.first = nn.LSTM(columns, 128, batch_first=True)
        self.second = nn.LSTM(128, 64, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.dense = nn.Linear(64, 32)
        self.out = nn.Linear(32, HORIZON)

    def forward(self, rows: Tensor) -> Tensor:
        """Return (B, H)."""
        hidden, _ = self.first(rows)
        hidden, _ = self.second(self.drop(hidden))
        forecast: Tensor = self.out(torch.relu(self.dense(self.drop(hidden[:, -1]))))
        return forecast


def parts() -> tuple[Windows, Windows]:
    """Return the windows of the training and the validation part."""
    panel = load_sample("gas_turbine").for_target(TARGET)
    split = chronological_split(panel)
    windows = panel.windows(WINDOW + HORIZON)
    return (
        windows.ahead_within(HORIZON, until=split.validation_start),
        windows.ahead_within(HORIZON, since=split.validation_start, until=split.calibration_start),
    )


def usual_loop(seed: int) -> Curve:
    """Train as it is usually done."""
    train, validation = parts()
    seen = train.rows[: train.starts[-1] + train.length]
    samples, later = (Samples(part, seen.mean(0), seen.std(0)) for part in (train, validation))
    torch.manual_seed(seed)
    net = UsualNet(len(train.columns))
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    curve: Curve = []
    began, began_cpu = time.perf_counter(), time.process_time()
    for _ in range(EPOCHS):
        net.train()
        for context, future in DataLoader(samples, batch_size=32, shuffle=True):
            adam.zero_grad()
            nn.functional.mse_loss(net(context), future).backward()  # type: ignore[no-untyped-call]  # torch's
            adam.step()
        net.eval()
        with torch.no_grad():
            squares = [torch.square(net(past) - ahead) for past, ahead in DataLoader(later, batch_size=1024)]
        loss = float(torch.cat(squares).mean())
        curve.append((time.perf_counter() - began, time.process_time() - began_cpu, loss))
    return curve


def our_loop(seed: int, changed: Mapping[str, Any]) -> Curve:
    """Train as we do."""
    train, validation = parts()
    model = LSTM(seed=seed, window=WINDOW, **{**COURSE, **changed})
    told: Curve = []
    began, began_cpu = time.perf_counter(), time.process_time()

    def hear(step: int, metrics: Mapping[str, float]) -> None:  # noqa: ARG001 - epochs come in order
        spent_s, spent_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        told.append((spent_s, spent_cpu_s, metrics["validation_loss"]))

    model.fit(train, horizon=HORIZON, targets=(TARGET,), validation=validation, runner=LocalRunner(hear))
    seen = train.rows[: train.starts[-1] + train.length, 0]
    unit = float(model.learned()["scale"][0] / seen.std()) ** 2
    return [(seconds, cpu_s, loss * unit) for seconds, cpu_s, loss in told]


def there(loss: float, curve: Curve) -> tuple[float | None, float | None]:
    """Return the seconds and processor seconds when the curve first reached `loss`."""
    return next(((seconds, cpu_s) for seconds, cpu_s, reached in curve if reached <= loss), (None, None))


def pair(seed: int, baseline_first: bool) -> Pair:
    """Run the usual loop and our variants, in this order or the other."""
    curves: dict[str, Curve] = {}
    for name in ("usual", *VARIANTS) if baseline_first else (*VARIANTS, "usual"):
        curves[name] = usual_loop(seed) if name == "usual" else our_loop(seed, VARIANTS[name])
    usual_s, usual_cpu_s, goal = min(curves["usual"], key=lambda point: point[-1])
    found = {name: there(goal, curves[name]) for name in VARIANTS}
    return Pair(
        seed=seed,
        baseline=usual_s,
        ours={name: found[name][0] for name in VARIANTS},
        notes={
            "loss": round(goal, 4),
            "baseline_windows_per_s": round(len(parts()[0]) * EPOCHS / curves["usual"][-1][0]),
            "processor_ratio": {name: round(cpu_s / usual_cpu_s, 3) for name, (_, cpu_s) in found.items() if cpu_s},
            "best": {name: round(min(point[-1] for point in curve), 4) for name, curve in curves.items()},
        },
    )


BENCHMARK = Benchmark(
    name="lstm_training",
    question="seconds to the usual DataLoader loop's best validation loss, over that loop's seconds to it",
    goal=1 / 3,
    pair=pair,
)
