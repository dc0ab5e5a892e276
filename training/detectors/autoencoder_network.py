"""The autoencoder's network, and the training loop that shows it its own input as the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from training.core.component import State
from training.core.runner import Run
from training.distributed.loop import Masks, Network, Training, WindowTable, train


class AutoencoderNetwork(Network):
    """Dense layers down to the smallest and up again, with a rectifier between them.

    Parameters
    ----------
    sizes
        Inputs, hidden layers, outputs.
    """

    def __init__(self, *, sizes: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(first, last) for first, last in pairwise(sizes))

    def forward(self, rows: Tensor, known: Tensor, masks: Masks | None = None) -> Tensor:  # noqa: ARG002 - the loop's
        """Return (B, 1, K) the inputs as they come out again."""
        for layer in self.layers[:-1]:
            rows = torch.relu(layer(rows))
        out: Tensor = self.layers[-1](rows)
        return out


def build_autoencoder(spec: Mapping[str, Any], generator: torch.Generator) -> AutoencoderNetwork:
    """Return a network with torch's usual first weights, uniform within 1 / sqrt(fan in), from the generator."""
    network = AutoencoderNetwork(**spec)
    for layer in network.layers:
        bound = 1 / math.sqrt(next(layer.parameters()).shape[1])
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return network


class PieceTable(WindowTable):
    """Rows that are pieces: each is what goes in and what shall come out."""

    def gather(self, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pieces (B, 1, K), nothing known ahead, and the pieces."""
        rows = self._table[starts[:, None] + self._offsets]
        return rows, rows[:, :, :0], rows


class Reconstruction(Training):
    """The training of a network whose truth is its input.

    Parameters
    ----------
    run, job
        As in `training.distributed.loop.train_network`; `context` is 1 and `horizon` 0.
    """

    def __init__(self, run: Run, job: dict[str, Any]) -> None:
        super().__init__(run, job, build_autoencoder)
        self._batches = PieceTable(job, self._device)


def train_autoencoder(run: Run, job: dict[str, Any]) -> State:
    """Train on the pieces `job["table"]`, here or on many workers; see `training.distributed.loop`."""
    return train(Reconstruction(run, job), run)
