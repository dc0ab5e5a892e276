"""The LSTM's torch part: imported where one is trained or loaded, never for its parameters alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


class LSTMNetwork(nn.Module):
    """LSTM layers, each followed by dropout, then a dense layer and the forecast of all steps at once.

    Parameters
    ----------
    inputs
        Columns of the rows that the first layer reads.
    targets
        Columns that are forecast, T.
    horizon
        Steps ahead, H.
    hidden
        Size of each LSTM layer.
    dense
        Size of the dense layer.
    dropout
        Share of values that are dropped after each LSTM layer.
    anchor
        `none`, `last` or `mean`: what is subtracted from the targets within a window and added to their forecast.
    """

    def __init__(
        self,
        *,
        inputs: Sequence[int],
        targets: Sequence[int],
        horizon: int,
        hidden: Sequence[int],
        dense: int,
        dropout: float,
        anchor: str,
    ) -> None:
        super().__init__()
        sizes = [len(inputs), *hidden]
        with torch.device("meta"):  # nothing drawn from the process's random numbers
            self.layers = nn.ModuleList(nn.LSTM(size, out, batch_first=True) for size, out in pairwise(sizes))
            self.dense = nn.Linear(sizes[-1], dense)
            self.out = nn.Linear(dense, horizon * len(targets))
        self.to_empty(device="cpu")
        self._inputs: Tensor
        self._targets: Tensor
        self.register_buffer("_inputs", torch.tensor(list(inputs)), persistent=False)
        self.register_buffer("_targets", torch.tensor(list(targets)), persistent=False)
        self._shape = (horizon, len(targets))
        self._dropout, self._anchor = dropout, anchor

    def forward(self, rows: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return (B, H, T) for rows (B, L, K)."""
        anchor = self._anchors(rows)
        shift = torch.zeros_like(rows[:, :1]).index_copy(2, self._targets, anchor)
        values = (rows - shift)[..., self._inputs]
        for layer in self.layers[:-1]:
            values = drop(layer(values)[0], self._dropout, generator)
        newest = drop(self.layers[-1](values)[0][:, -1], self._dropout, generator)
        out = self.out(torch.relu(self.dense(newest)))
        forecast: Tensor = out.float().reshape(len(rows), *self._shape) + anchor
        return forecast

    def _anchors(self, rows: Tensor) -> Tensor:
        past = rows[..., self._targets]
        if self._anchor == "last":
            return past[:, -1:]
        mean = past.mean(1, keepdim=True)
        return mean if self._anchor == "mean" else torch.zeros_like(mean)


def drop(values: Tensor, ratio: float, generator: torch.Generator | None) -> Tensor:
    """Return the values with a share set to zero and the rest scaled up; unchanged without a generator.

    One random byte a value, eight at a time: on the CPU a sixth of the time of torch's own dropout, which draws a
    double for each. The share is rounded to 1/256; the scale belongs to the rounded one.
    """
    threshold = round(ratio * 256)
    if generator is None or threshold == 0:
        return values
    draws = torch.empty(-(-values.numel() // 8), dtype=torch.int64, device=values.device)
    draws.random_(-(2**63), None, generator=generator)
    kept = draws.view(torch.uint8)[: values.numel()].view(values.shape) >= threshold
    return values * kept * (256 / (256 - threshold))


def build_network(spec: Mapping[str, Any], generator: torch.Generator) -> LSTMNetwork:
    """Return a network with torch's usual first weights, uniform within 1 / sqrt(fan in), from the generator."""
    network = LSTMNetwork(**spec)
    for module in network.modules():
        fan_in = getattr(module, "hidden_size", None) or getattr(module, "in_features", None)
        if fan_in:
            for parameter in module.parameters():
                bound = 1 / math.sqrt(fan_in)
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return network
