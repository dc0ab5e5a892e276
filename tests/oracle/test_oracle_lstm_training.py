"""The training loop against the plain one: a Dataset of samples, torch's own layers, one step after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from training.core.windows import Floats
from training.distributed.local import LocalRun, LocalRunner
from training.distributed.loop import CLIP_NORM, Training, WindowTable
from training.distributed.plan import TrainingPlan
from training.models.lstm import train_lstm
from training.models.lstm_network import SMALLEST_SPREAD, build_network
from training.models.lstm_start import PENALTY

CONTEXT, HORIZON, TARGETS = 6, 3, [2, 0]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def job() -> dict[str, Any]:
    random = np.random.default_rng(4)
    return {
        "table": random.normal(size=(300, 3)).astype(np.float32).cumsum(axis=0) / 10,
        "train": np.concatenate([np.arange(120), np.arange(140, 200)]),
        "validation": np.arange(210, 290),
        "context": CONTEXT,
        "horizon": HORIZON,
        "targets": TARGETS,
        "network": {
            "inputs": [0, 1, 2],
            "targets": TARGETS,
            "known": 0,
            "window": CONTEXT,
            "horizon": HORIZON,
            "hidden": [7, 5],
            "dense": 4,
            "dropout": 0.0,
            "anchor": "mean",
            **{"rescale": False, "shared": False, "segment": 1, "skip": False},
        },
        "known": [1],
        "loss": "squared",
        "precision": "float32",
        "patience": 10,
        "batch_size": 16,
        "stride": 1,
        "max_epochs": 2,
        "learning_rate": 2e-3,
        "seed": 6,
    }


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Windows cut one by one."""

    def __init__(self, table: Floats, starts: list[int]) -> None:
        self.table, self.first = table, starts

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        start = self.first[index]
        rows = self.table[start : start + CONTEXT + HORIZON]
        return torch.tensor(rows[:CONTEXT]), torch.tensor(rows[CONTEXT:][:, TARGETS])


class PlainNet(nn.Module):
    """The same network from torch's parts, written for one purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(3, 7, batch_first=True)
        self.second = nn.LSTM(7, 5, batch_first=True)
        self.dense = nn.Linear(5, 4)
        self.out = nn.Linear(4, HORIZON * 2)

    def forward(self, rows: Tensor) -> Tensor:
        level = torch.stack([rows[:, :, column].mean(1) for column in (0, 1, 2)], dim=1)
        values = rows.clone()
        for column in TARGETS:
            values[:, :, column] -= level[:, column, None]
        hidden, _ = self.first(values)
        hidden, _ = self.second(hidden)
        out: Tensor = self.out(torch.relu(self.dense(hidden[:, -1])))
        return out.view(-1, HORIZON, 2) + level[:, None, TARGETS]


def plain_twin(weights: dict[str, Any]) -> PlainNet:
    net = PlainNet()
    names = {"layers.0.": "first.", "layers.1.": "second."}
    renamed = {}
    for name, value in weights.items():
        for old, new in names.items():
            name = name.replace(old, new)  # noqa: PLW2901 - two renamings, one after the other
        renamed[name] = torch.tensor(np.asarray(value))
    net.load_state_dict(renamed)
    return net


def started(work: dict[str, Any]) -> dict[str, Any]:
    """Return the weights that training begins with."""
    training = Training(LocalRun(None, None), work, build_network)
    training.start()
    weights: dict[str, Any] = training.checkpoint()["weights"]
    return weights


def index_of(work: dict[str, Any], index: int) -> int:
    return int(work["train"][index])


def test_gathered_windows_are_the_plainly_cut_ones() -> None:
    work = job()
    table = WindowTable(work, torch.device("cpu"))
    chosen = np.random.default_rng(0).permutation(180)[:50]
    context, known, future = table.gather(table.starts(chosen, training=True))
    plain = Samples(work["table"], work["train"].tolist())
    for row, index in enumerate(chosen.tolist()):
        past, ahead = plain[index]
        torch.testing.assert_close(context[row], past, rtol=0, atol=0)
        torch.testing.assert_close(future[row], ahead, rtol=0, atol=0)
        later = torch.tensor(work["table"][index_of(work, index) + CONTEXT :][:HORIZON, [1]])
        torch.testing.assert_close(known[row], later, rtol=0, atol=0)


def test_loop_takes_the_steps_of_a_plain_loop() -> None:
    work = job()
    net = plain_twin(started(work))
    names = ("batch_size", "stride", "max_epochs", "learning_rate", "seed")
    plan = TrainingPlan(windows=180, **{name: work[name] for name in names})
    samples = Samples(work["table"], work["train"].tolist())
    adam, validation = torch.optim.Adam(net.parameters()), Samples(work["table"], work["validation"].tolist())
    losses, step, best = [], 0, {}
    for epoch in (1, 2):
        for context, future in DataLoader(samples, batch_sampler=plan.order(epoch).tolist()):
            adam.param_groups[0]["lr"] = plan.rate(step)
            adam.zero_grad()
            nn.functional.mse_loss(net(context), future).backward()  # type: ignore[no-untyped-call]  # torch's
            nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
            adam.step()
            step += 1
        with torch.no_grad():
            squares = [torch.square(net(past) - ahead) for past, ahead in DataLoader(validation)]
        losses.append(float(torch.cat(squares).mean()))
        if losses[-1] == min(losses):
            best = {name: value.clone() for name, value in net.state_dict().items()}
    ours = LocalRunner().run(train_lstm, work, backend="torch")
    np.testing.assert_allclose(ours["validation_losses"], losses, rtol=1e-5)
    for name, value in plain_twin(ours["weights"]).state_dict().items():
        torch.testing.assert_close(value, best[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_training_starts_from_the_ridge_regression_on_untrained_states(shared: bool) -> None:
    work = job()
    work["network"] |= {"shared": shared, "dense": 12, "hidden": [7, 6], "anchor": "last", "rescale": True}
    weights = {name: torch.tensor(np.asarray(value)) for name, value in started(work).items()}
    network = build_network(work["network"], torch.Generator().manual_seed(0))
    network.load_state_dict(weights)
    table = WindowTable(work, torch.device("cpu"))
    rows, known, future = table.gather(table.starts(np.arange(180), training=True))
    past = rows[..., TARGETS]
    level, spread = past[:, -1:], past.std(1, keepdim=True, correction=0) + SMALLEST_SPREAD
    with torch.no_grad():
        values = network._values(rows, (past - level) / spread)
        states = network._recur(values, None).double().numpy()
        got = ((network(rows, known) - level) / spread).double()
    wanted = ((future - level) / spread).double()
    if shared:
        got, wanted = got.transpose(1, 2), wanted.transpose(1, 2)
    unit = (states - states.mean(0)) / states.std(0)
    truth = wanted.reshape(len(unit), -1).numpy()
    left = unit.T @ unit / len(unit) + PENALTY * np.eye(unit.shape[1])
    full = unit @ np.linalg.solve(left, unit.T @ (truth - truth.mean(0)) / len(unit)) + truth.mean(0)
    np.testing.assert_allclose(got.reshape(full.shape).numpy(), full, rtol=1e-3, atol=1e-3)
