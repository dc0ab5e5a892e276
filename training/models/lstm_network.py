"""The LSTM's torch part: imported where one is trained or loaded, never for its parameters alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from training.distributed.loop import Masks, Network
from training.models.lstm_start import ridge_head, set_head, set_memories

SMALLEST_SPREAD = 1e-3
"""Added to a window's spread, in units of the table: a constant window is divided by this, not by zero."""


class LSTMNetwork(Network):
    """LSTM layers, each followed by dropout, then a dense layer and the forecast of all steps at once.

    Parameters
    ----------
    inputs
        Columns of the rows that the first layer reads, I.
    targets
        Columns that are forecast, T.
    known
        How many columns are known ahead, K: each step's enter the dense layer for that step.
    window
        Rows looked back on, L.
    horizon
        Steps ahead, H.
    hidden
        Size of each LSTM layer.
    dense
        Size of the dense layer, D.
    dropout
        Share of values that are dropped after each LSTM layer.
    anchor
        `none`, `last` or `mean`: what is subtracted from the targets within a window and added to their forecast.
    rescale
        Whether the targets are also divided by their standard deviation within the window, and their forecast
        multiplied by it.
    shared
        Whether one network forecasts each target from that target's own past and the inputs that are no targets.
        What sets the targets apart is a bias of the dense layer, one a target.
    segment
        Rows that make one recurrent step; a divisor of `window`.
    skip
        Whether a linear map from each target's own past is added; it starts from zero.
    """

    def __init__(
        self,
        *,
        inputs: Sequence[int],
        targets: Sequence[int],
        known: int,
        window: int,
        horizon: int,
        hidden: Sequence[int],
        dense: int,
        dropout: float,
        anchor: str,
        rescale: bool,
        shared: bool,
        segment: int,
        skip: bool,
    ) -> None:
        super().__init__()
        self._shared, self._window, self._segment, self._count = shared, window, segment, len(targets)
        self._horizon, self._dropout, self._anchor, self._rescale = horizon, dropout, anchor, rescale
        read = [column for column in inputs if not (shared and column in targets)]
        sizes = [segment * (len(read) + shared), *hidden]
        outputs = 1 if shared else len(targets)
        with torch.device("meta"):  # nothing drawn from the process's random numbers
            self.layers = nn.ModuleList(nn.LSTM(size, out, batch_first=True) for size, out in pairwise(sizes))
            self.dense = nn.Linear(sizes[-1], dense)
            self.ahead = nn.Linear(known, dense, bias=False) if known else None
            self.out = nn.Linear(dense, horizon * outputs)
            self.own = nn.Parameter(torch.empty(len(targets), 1, dense)) if shared else None
            self.skip = nn.Parameter(torch.empty(horizon, window)) if skip else None
        self.to_empty(device="cpu")
        self._inputs: Tensor
        self._targets: Tensor
        self.register_buffer("_inputs", torch.tensor(read, dtype=torch.int64), persistent=False)
        self.register_buffer("_targets", torch.tensor(list(targets)), persistent=False)

    def forward(self, rows: Tensor, known: Tensor, masks: Masks | None = None) -> Tensor:
        """Return (B, H, T) for rows (B, L, C) and what is known ahead (B, H, K)."""
        past, level, unit = self._normalised(rows)
        newest = self._recur(self._values(rows, past), masks)
        out = self._heads(newest, known, len(rows))
        if self.skip is not None:
            out = out + torch.einsum("blt,hl->bht", past, self.skip)
        return (out if unit is None else out * unit) + level

    @torch.no_grad()
    def start(self, windows: Iterable[tuple[Tensor, Tensor]], masks: Masks) -> None:
        """Let the head begin as the ridge regression of the futures on the states of the untrained layers.

        Not so where there is a skip, which is linear already; what is known ahead has no say at first. Without an
        anchor the layers have to hold levels: they begin as memories, whose states the head reads whole. With one
        memories did harm (5 % of the validation loss on the gas turbine), and so did, in small networks, a head
        that had not met dropout.
        """
        rank = self.dense.out_features // 2
        if self.skip is not None or rank == 0:
            return
        floating = self._anchor == "none"
        if floating:
            for layer in self.layers:
                set_memories(layer, self._window // self._segment)
        states, wanted = [], []
        for rows, future in windows:
            past, level, unit = self._normalised(rows)
            states.append(self._recur(self._values(rows, past), None if floating else masks).float())
            target = (future - level) if unit is None else (future - level) / unit
            wanted.append((target.transpose(1, 2) if self._shared else target).reshape(len(states[-1]), -1))
        newest, truth = torch.cat(states), torch.cat(wanted)
        if not (newest.isfinite().all() and truth.isfinite().all()):
            return  # the training loss will be no number either, and the loop tells what that means
        set_head(self.dense, self.out, ridge_head(newest, truth, rank))
        if self.ahead is not None:
            self.ahead.weight.zero_()

    def _normalised(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the targets' past (B, L, T) less its anchor, over its spread; the anchor; the spread, if asked."""
        past = rows[..., self._targets]
        level = self._level(past)
        past = past - level
        if not self._rescale:
            return past, level, None
        unit = past.std(1, keepdim=True, correction=0) + SMALLEST_SPREAD
        return past / unit, level, unit

    def _level(self, past: Tensor) -> Tensor:
        """Return the anchors (B, 1, T)."""
        if self._anchor == "last":
            return past[:, -1:]
        mean = past.mean(1, keepdim=True)
        return mean if self._anchor == "mean" else torch.zeros_like(mean)

    def _values(self, rows: Tensor, past: Tensor) -> Tensor:
        """Return what the first layer reads: (B, L / segment, segment * I); where shared, B * T of these."""
        if not self._shared:
            values = rows.index_copy(2, self._targets, past)[..., self._inputs]
        else:
            own = past.transpose(1, 2).reshape(-1, past.shape[1], 1)
            common = rows[..., self._inputs].repeat_interleave(self._count, 0)
            values = torch.cat([own, common], 2)
        return values.reshape(len(values), -1, self._segment * values.shape[2])

    def _recur(self, values: Tensor, masks: Masks | None) -> Tensor:
        """Return the last layer's newest state (B or B * T, size)."""
        for layer in self.layers[:-1]:
            values = drop(layer(values)[0], self._dropout, masks)
        return drop(self.layers[-1](values)[0][:, -1], self._dropout, masks)

    def _heads(self, newest: Tensor, known: Tensor, count: int) -> Tensor:
        """Return (B, H, T) from the newest states and what is known of each step."""
        dense = self.dense(newest)[:, None]
        if self.own is not None:
            dense = (dense.view(count, self._count, 1, -1) + self.own).flatten(0, 1)
        if self.ahead is None:
            out = self.out(torch.relu(dense[:, 0])).float()
        else:
            steps = self.ahead(known)
            steps = steps.repeat_interleave(self._count, 0) if self._shared else steps
            weight = self.out.weight.view(self._horizon, -1, self.out.in_features)
            each = torch.relu(dense + steps)
            if self.training:  # as products: faster
                out = torch.einsum("bhd,htd->bht", each, weight)
            else:  # one by one: a forecast is the same in any batch
                out = (each[:, :, None] * weight).sum(3)
            out = out.float().flatten(1) + self.out.bias
        shape = (count, self._count, self._horizon) if self._shared else (count, self._horizon, self._count)
        forecast: Tensor = out.view(shape)
        return forecast.transpose(1, 2) if self._shared else forecast


def drop(values: Tensor, ratio: float, masks: Masks | None) -> Tensor:
    """Return the values with a share set to zero and the rest scaled up; unchanged without masks.

    One random byte a value, eight at a time: on the CPU a sixth of the time of torch's own dropout, which draws a
    double for each. The share is rounded to 1/256; the scale belongs to the rounded one.
    """
    threshold = round(ratio * 256)
    if masks is None or threshold == 0:
        return values
    shape = (1, *values.shape[1:]) if masks.common else values.shape
    count = math.prod(shape)
    draws = torch.empty(-(-count // 8), dtype=torch.int64, device=values.device)
    draws.random_(-(2**63), None, generator=masks.generator)
    kept = draws.view(torch.uint8)[:count].view(shape) >= threshold
    return values * kept * (256 / (256 - threshold))


def build_network(spec: Mapping[str, Any], generator: torch.Generator) -> LSTMNetwork:
    """Return a network with its first weights drawn from the generator.

    Recurrent weights are orthogonal, gate by gate (Saxe et al. 2014), input weights after Glorot and Bengio (2010),
    those of the dense layer after He et al. (2015); what is known ahead and recurrent biases keep torch's usual
    ones, uniform within 1 / sqrt(fan in). Other biases and the linear map start from zero.
    """
    network = LSTMNetwork(**spec)
    for module in (*network.layers, network.dense, network.out, network.ahead):
        if isinstance(module, nn.LSTM | nn.Linear):
            fan_in = module.hidden_size if isinstance(module, nn.LSTM) else module.in_features
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
    for layer in network.layers:
        for gate in layer.get_parameter("weight_hh_l0").chunk(4):
            nn.init.orthogonal_(gate, generator=generator)
        nn.init.xavier_uniform_(layer.get_parameter("weight_ih_l0"), generator=generator)
    nn.init.kaiming_uniform_(network.dense.weight, nonlinearity="relu", generator=generator)
    nn.init.xavier_uniform_(network.out.weight, generator=generator)
    for zero in (network.dense.bias, network.out.bias, network.own, network.skip):
        if zero is not None:
            nn.init.zeros_(zero)
    return network
