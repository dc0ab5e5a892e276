"""Our likelihood and posterior against GPyTorch's, which computes both in general."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training.core.cube import Floats, Mask
from tuning.search.likelihood import Evidence, Fitted, fit


def table(seed: int) -> tuple[Floats, Floats, Mask]:
    """Twelve points of two real coordinates and one of three values, and what was seen there."""
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.random((12, 2)), (rng.integers(0, 3, 12) + 0.5) / 3])
    return points, rng.standard_normal(12), np.array([False, False, True])


def one_hot(points: Floats) -> Floats:
    """Return the last coordinate as three columns that lie 1 apart where it differs."""
    columns = (np.rint(points[:, 2:] * 3 - 0.5) == np.arange(3)) / np.sqrt(2)
    return np.column_stack([points[:, :2], columns])


def gpytorch_model(points: Floats, targets: Floats, fitted: Fitted) -> Any:
    import torch
    from gpytorch.kernels import MaternKernel, ScaleKernel
    from gpytorch.likelihoods import GaussianLikelihood
    from gpytorch.means import ConstantMean
    from gpytorch.models import ExactGP

    class Plain(ExactGP):  # type: ignore[misc]  # GPyTorch is untyped
        def __init__(self) -> None:
            super().__init__(torch.from_numpy(one_hot(points)), torch.from_numpy(targets), GaussianLikelihood())
            self.mean_module = ConstantMean()
            self.covar_module = ScaleKernel(MaternKernel(nu=2.5, ard_num_dims=5))

        def forward(self, x: torch.Tensor) -> Any:
            from gpytorch.distributions import MultivariateNormal

            return MultivariateNormal(self.mean_module(x), self.covar_module(x))

    model = Plain().double()
    model.covar_module.base_kernel.lengthscale = torch.from_numpy(fitted.lengths[[0, 1, 2, 2, 2]])
    model.covar_module.outputscale = fitted.scale
    model.likelihood.noise = fitted.noise
    model.mean_module.raw_constant.data.fill_(fitted.mean)
    return model


@pytest.mark.parametrize("seed", [0, 1])
def test_the_likelihood_differs_from_gpytorchs_by_the_prior_alone(seed: int) -> None:
    import torch
    from gpytorch.mlls import ExactMarginalLogLikelihood

    points, targets, unordered = table(seed)
    evidence = Evidence(points, targets, unordered)
    logs = np.random.default_rng(seed).normal(0, 0.3, 5) + np.array([-1, -1, 0, 0, -3.0])
    model = gpytorch_model(points, targets, evidence.fitted(logs))
    model.train()
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    theirs = -12 * float(likelihood(model(*model.train_inputs), model.train_targets).detach())
    spreads = np.array([3**0.5] * 3 + [1.0, 3.0])
    prior = 0.5 * np.sum(np.square((logs - evidence.middle) / spreads))
    assert evidence(logs)[0] - prior + 6 * np.log(2 * np.pi) == pytest.approx(theirs, rel=1e-7)
    assert torch.get_default_dtype() == torch.float32


def test_the_gradient_is_the_slope_of_the_value() -> None:
    evidence = Evidence(*table(2))
    logs = np.array([-1.2, 0.1, -0.3, 0.4, -2.0])
    step = 1e-6
    slopes = [
        (evidence(logs + step * unit)[0] - evidence(logs - step * unit)[0]) / (2 * step) for unit in np.eye(5)
    ]
    np.testing.assert_allclose(evidence(logs)[1], slopes, rtol=1e-5)


def test_the_fitted_mean_is_the_best_one() -> None:
    points, targets, unordered = table(3)
    plain, shifted = fit(points, targets, unordered), fit(points, targets + 5, unordered)
    np.testing.assert_allclose(shifted.lengths, plain.lengths, rtol=1e-3)
    assert shifted.mean == pytest.approx(plain.mean + 5, abs=1e-3)


@pytest.mark.parametrize("seed", [4, 5])
def test_the_posterior_is_gpytorchs(seed: int) -> None:
    import torch

    from tuning.search.surrogate import Surrogate

    points, targets, unordered = table(seed)
    fitted = Fitted(lengths=np.array([0.4, 0.7, 1.3]), scale=1.4, noise=0.03, mean=0.2)
    others = table(seed + 10)[0]
    ours = Surrogate(fitted, points, targets, unordered).posterior(torch.from_numpy(others).unsqueeze(1))
    model = gpytorch_model(points, targets, fitted)
    model.eval()
    with torch.no_grad():
        theirs = model(torch.from_numpy(one_hot(others)))
    np.testing.assert_allclose(ours.mean.squeeze(), theirs.mean, rtol=1e-6)
    np.testing.assert_allclose(ours.variance.squeeze(), theirs.variance, rtol=1e-5)
