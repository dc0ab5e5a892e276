"""The first weights of an LSTM, in closed form: training starts from a forecast, not from noise."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

PENALTY = 0.03
"""Of the ridge regression, on states of unit variance. A smaller one, on one validation part as good, asks for
weights that dropout then tears down: small networks learned waves worse from them."""
SMALLEST_STATE, SMALLEST_SWING = 1e-6, 1e-9
"""A state that never moves is divided by this, not by zero; so is a direction without any forecast in it."""


class LinearHead(NamedTuple):
    """A linear map of some rank R: `out @ (inner @ state + shift) + level`.

    Attributes
    ----------
    inner, shift
        (R, S) and (R,).
    out, level
        (O, R) and (O,).
    """

    inner: Tensor
    shift: Tensor
    out: Tensor
    level: Tensor


def ridge_head(states: Tensor, wanted: Tensor, rank: int) -> LinearHead:
    """Return the ridge regression of the wanted values on the states, reduced to its strongest directions.

    Parameters
    ----------
    states
        (N, S), last states of untrained recurrent layers.
    wanted
        (N, O), what shall be forecast.
    rank
        The most directions kept, R; fewer where S or O is smaller.

    References
    ----------
    Jaeger (2001), The "Echo State" Approach: a linear read-out of recurrent layers that nobody trained. Izenman
    (1975), Reduced-Rank Regression. Ours is where training begins, not where it ends.
    """
    states, wanted = states.double(), wanted.double()
    mean, level = states.mean(0), wanted.mean(0)
    spread = states.std(0, correction=0).clamp(min=SMALLEST_STATE)
    unit = (states - mean) / spread
    gram = unit.T @ unit / len(unit)
    gram.diagonal().add_(PENALTY)
    root = torch.linalg.cholesky(gram)
    weights = torch.cholesky_solve(unit.T @ (wanted - level) / len(unit), root)
    _, swing, directions = torch.linalg.svd(root.T @ weights, full_matrices=False)
    kept = directions[:rank]
    balance = swing[:rank].clamp(min=SMALLEST_SWING).sqrt()
    inner = (weights @ kept.T / balance).T / spread
    parts = (inner, -inner @ mean, kept.T * balance, level)
    return LinearHead(*(part.float() for part in parts))


@torch.no_grad()
def set_memories(layer: nn.Module, steps: int) -> None:
    """Let each unit of an LSTM layer begin as a leaky mean over its own span of time, from one step to all `steps`.

    Units are spread evenly over the logarithm of the span s: the forget gate opens to s / (1 + s), the input gate
    to 1 / (1 + s). With torch's own biases all units forget half of their state at each step.

    References
    ----------
    Tallec and Ollivier (2018), Can recurrent neural networks warp time? Theirs draws spans from a uniform
    distribution; on the gas turbine's validation part a logarithmic one gave a smaller loss.
    """
    layer.get_parameter("bias_hh_l0").zero_()
    gates = layer.get_parameter("bias_ih_l0").zero_()
    size = len(gates) // 4
    logarithms = torch.linspace(0, math.log(max(steps - 1, 1)), size, device=gates.device)
    gates[:size], gates[size : 2 * size] = -logarithms, logarithms


@torch.no_grad()
def set_head(dense: nn.Linear, out: nn.Linear, head: LinearHead) -> None:
    """Make `out(relu(dense(state)))` equal the linear head: relu(u) - relu(-u) is u.

    Units of `dense` beyond twice the rank keep their weights and have no say at first.
    """
    rank = len(head.inner)
    for sign, units in ((1, slice(0, rank)), (-1, slice(rank, 2 * rank))):
        dense.weight[units] = sign * head.inner
        dense.bias[units] = sign * head.shift
        out.weight[:, units] = sign * head.out
    out.weight[:, 2 * rank :] = 0
    out.bias.copy_(head.level)
