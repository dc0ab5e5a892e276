"""The closed-form head: a ridge regression, reduced in rank, that a relu layer carries unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from training.distributed.loop import Masks
from training.models.lstm_network import LSTMNetwork, build_network
from training.models.lstm_start import PENALTY, ridge_head, set_head


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(states: torch.Tensor, wanted: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Ridge regression as in a textbook."""
    unit = ((states - states.mean(0)) / states.std(0, correction=0)).double().numpy()
    truth = wanted.double().numpy()
    left = unit.T @ unit + PENALTY * len(unit) * np.eye(unit.shape[1])
    slopes = np.linalg.solve(left, unit.T @ (truth - truth.mean(0)))
    found: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = unit @ slopes + truth.mean(0)
    return found


def test_full_rank_is_the_ridge_regression() -> None:
    states = noise(200, 6, seed=0) * 0.01 + 3
    wanted = states @ noise(6, 4, seed=1) * 50 + noise(200, 4, seed=2)
    inner, shift, out, level = ridge_head(states, wanted, rank=4)
    got = (states @ inner.T + shift) @ out.T + level
    np.testing.assert_allclose(got.numpy(), plain(states, wanted), rtol=1e-3, atol=1e-2)


def test_lower_rank_keeps_the_strongest_direction() -> None:
    states = noise(300, 6, seed=0)
    strong, weak = noise(6, 1, seed=1) @ noise(1, 8, seed=2), noise(6, 1, seed=3) @ noise(1, 8, seed=4)
    inner, shift, out, level = ridge_head(states, states @ (5 * strong + 0.1 * weak), rank=1)
    got = (states @ inner.T + shift) @ out.T + level
    truth = plain(states, states @ (5 * strong))
    assert float(np.square(got.numpy() - truth).mean()) < 0.01 * float(np.square(truth).mean())


@pytest.mark.parametrize("dense", [4, 7])
def test_relu_layer_carries_the_linear_head(dense: int) -> None:
    states, wanted = noise(100, 5, seed=0), noise(100, 3, seed=1)
    head = ridge_head(states, wanted, rank=dense // 2)
    first, last = nn.Linear(5, dense), nn.Linear(dense, 3)
    set_head(first, last, head)
    expected = (states @ head.inner.T + head.shift) @ head.out.T + head.level
    with torch.no_grad():
        torch.testing.assert_close(last(torch.relu(first(states))), expected, rtol=1e-4, atol=1e-5)


def test_states_and_targets_that_stand_still_give_finite_weights() -> None:
    head = ridge_head(torch.ones(10, 3), torch.full((10, 2), 7.0), rank=2)
    assert all(part.isfinite().all() for part in head)
    torch.testing.assert_close(head.level, torch.full((2,), 7.0))


SPEC: dict[str, Any] = {
    "inputs": [0, 1],
    "targets": [0],
    "known": 1,
    "window": 6,
    "horizon": 3,
    "hidden": [8, 6],
    "dense": 8,
    "dropout": 0.0,
    "anchor": "none",
    **{"rescale": False, "shared": False, "segment": 1, "skip": False},
}


def started(**changed: Any) -> tuple[LSTMNetwork, LSTMNetwork, torch.Tensor, torch.Tensor]:
    """Return a network before and after its start, and what it started from."""
    before, after = (build_network({**SPEC, **changed}, torch.Generator().manual_seed(0)) for _ in range(2))
    rows = noise(200, 6, 2, seed=1)
    future = rows[:, -1:, :1] * torch.tensor([1.0, 0.8, 0.6])[:, None] + 5
    after.start([(rows[:120], future[:120]), (rows[120:], future[120:])], Masks(generator=torch.Generator()))
    return before, after, rows, future


def test_started_network_forecasts_well_and_knows_nothing_of_the_future_yet() -> None:
    _, network, rows, future = started(hidden=[16, 16])
    with torch.no_grad():
        forecast, other = (network(rows, noise(200, 3, 1, seed=seed)) for seed in (2, 3))
    torch.testing.assert_close(forecast, other, rtol=0, atol=0)
    assert float((forecast - future).square().mean()) < 0.4 * float(future.var(0).mean())


@pytest.mark.parametrize("changed", [{"skip": True}, {"dense": 1}])
def test_network_with_a_skip_or_a_single_unit_starts_as_drawn(changed: dict[str, Any]) -> None:
    before, after, _, _ = started(**changed)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, rtol=0, atol=0)


def test_units_start_as_leaky_means_over_all_spans_of_the_window() -> None:
    """A unit that reads a constant 1 through its gates alone keeps s / (1 + s) of its state at each step."""
    _, network, _, _ = started(window=6)
    for layer in network.layers:
        size = layer.get_parameter("bias_ih_l0").shape[0] // 4
        admit, forget = torch.sigmoid(layer.get_parameter("bias_ih_l0").detach()[: 2 * size]).chunk(2)
        torch.testing.assert_close(admit + forget, torch.ones(size))
        spans = forget / admit
        assert spans[0] == pytest.approx(1)
        assert spans[-1] == pytest.approx(5, rel=1e-5)
        ratios = spans[1:] / spans[:-1]
        torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios), rtol=1e-4, atol=0)


def test_units_keep_their_gates_where_an_anchor_holds_the_level() -> None:
    before, after, _, _ = started(anchor="mean")
    for name, value in before.layers.state_dict().items():
        torch.testing.assert_close(after.layers.state_dict()[name], value, rtol=0, atol=0)


def test_recurrent_weights_start_orthogonal() -> None:
    layer = build_network(SPEC, torch.Generator().manual_seed(0)).layers[0]
    for gate in layer.get_parameter("weight_hh_l0").detach().chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), rtol=1e-4, atol=1e-5)
