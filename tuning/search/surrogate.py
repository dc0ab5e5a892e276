"""A Gaussian process as a BoTorch model: the posterior at single points, which analytic acquisitions ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from botorch.models.model import Model
from botorch.posteriors import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal

from training.core.cube import Floats, Mask
from tuning.search.likelihood import ROOT5, Fitted

LEAST_VARIANCE = 1e-10
"""Of what is already known: log-acquisitions divide by its root."""


class Surrogate(Model):  # type: ignore[misc]  # BoTorch is untyped
    """Matern 5/2 with one length a coordinate; a coordinate without an order is near or not (Hamming distance).

    Smaller and, at these sizes, several times faster than a general GPyTorch model; `tests/oracle` holds it to one.

    Parameters
    ----------
    fitted
        Lengths, scale, noise and mean.
    points
        (N, D) where it was looked.
    targets
        (N,) what was seen.
    unordered
        (D,) coordinates without an order.
    """

    def __init__(self, fitted: Fitted, points: Floats, targets: Floats, unordered: Mask) -> None:
        super().__init__()
        self._fitted = fitted
        self._lengths = torch.from_numpy(fitted.lengths)
        self._ordered, self._unordered = np.flatnonzero(~unordered), np.flatnonzero(unordered)
        self._points = torch.from_numpy(points)
        noise = fitted.noise * torch.eye(len(points), dtype=torch.float64)
        self._root = torch.linalg.cholesky(self._kernel(self._points) + noise)
        rest = torch.from_numpy(targets - fitted.mean).unsqueeze(-1)
        self._solved = torch.cholesky_solve(rest, self._root).squeeze(-1)

    @property
    def num_outputs(self) -> int:
        """One objective."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """One model."""
        return torch.Size([])

    def posterior(self, X: torch.Tensor, *_: Any, **__: Any) -> GPyTorchPosterior:
        """Return the posterior at X (M, 1, D)."""
        near = self._kernel(X.squeeze(-2))
        mean = self._fitted.mean + near @ self._solved
        half = torch.linalg.solve_triangular(self._root, near.T, upper=False)
        variance = (self._fitted.scale - half.square().sum(0)).clamp_min(LEAST_VARIANCE)
        return GPyTorchPosterior(MultivariateNormal(mean.unsqueeze(-1), variance[:, None, None]))

    def expected(self, points: Floats) -> Floats:
        """Return (M,) the posterior mean at points (M, D)."""
        with torch.no_grad():
            found: Floats = (self._fitted.mean + self._kernel(torch.from_numpy(points)) @ self._solved).numpy()
        return found

    def _kernel(self, points: torch.Tensor) -> torch.Tensor:
        near, known = points / self._lengths, self._points / self._lengths
        one, other = near[:, self._ordered], known[:, self._ordered]
        squared = one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T
        for at in self._unordered:
            squared = squared + (points[:, at, None] != self._points[:, at]) / self._lengths[at].square()
        far = ROOT5 * squared.clamp_min(1e-20).sqrt()
        return self._fitted.scale * (1 + far + far.square() / 3) * torch.exp(-far)
