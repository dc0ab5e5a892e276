"""Bayesian search: a Gaussian process of what was seen, and the point that promises most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from training.core.cube import Floats
from training.core.parameters import one_of, real
from training.core.space import Draw, Space
from tuning.search.ascent import Taken, highest
from tuning.search.encoding import Encoding
from tuning.search.likelihood import Fitted, fit
from tuning.search.outcome import merits
from tuning.search.policy import SearchPolicy

ACQUISITIONS = ("expected_improvement", "upper_confidence_bound", "probability_of_improvement")
MOST_SEEN = 300
"""Observations that the process sees, the better half and the latest: the time of a proposal stays bounded."""
MOST_FITTED = 100
"""Of these so many, evenly over the merits, fix the lengths: more change them little and cost their cube."""
LEAST_GAIN = 0.05
"""In spreads, what the probability of improvement asks for: of any improvement at all it is largest where one is
already."""
BEST = 5
"""Points around which is searched."""


class GaussianProcess(SearchPolicy):
    """Fits a Gaussian process to all that was seen and proposes where its acquisition is largest.

    Matern 5/2 kernel, one length a coordinate with a prior scaled by the dimension, Hamming distance for choices,
    rounding inside the kernel. Values above the median are drawn together by their logarithm: a search asks where
    the low ones lie, and a few huge ones hide the differences that matter. Improvement is measured from the lowest
    posterior mean at the points tried, not the lowest value seen, which noise makes too low. A pending point counts
    as seen with its posterior mean (kriging believer), so that no two workers are sent to one place.

    Parameters
    ----------
    space, seed, starts, sobol_starts
        As in `SearchPolicy`.
    acquisition
        `expected_improvement` or `probability_of_improvement`, both by their logarithms, whose gradients do not
        vanish; `upper_confidence_bound` (of a minimum the lower one).
    confidence
        Standard deviations of the confidence bound: more explores more.

    References
    ----------
    Ament et al. (2023), Unexpected improvements to expected improvement. Hvarfner et al. (2024), Vanilla Bayesian
    optimization performs great in high dimensions. Ginsbourger et al. (2010), Kriging is well-suited to parallelize
    optimization. Balandat et al. (2020), BoTorch.
    """

    name: ClassVar[str] = "gaussian_process"

    def __init__(
        self,
        space: Space,
        *,
        seed: int = 0,
        starts: Sequence[Draw] = (),
        sobol_starts: int | None = None,
        acquisition: str = "expected_improvement",
        confidence: float = 1.5,
    ) -> None:
        super().__init__(space, seed=seed, starts=starts, sobol_starts=sobol_starts)
        self.acquisition = one_of("acquisition", acquisition, ACQUISITIONS)
        self.confidence = real("confidence", confidence, low=0.0)
        self._encoding = Encoding(self.cube)

    def propose(self, pending: Sequence[Draw], rng: np.random.Generator) -> Draw:
        """Return the point with the largest acquisition; a uniform one where nothing has finished yet."""
        found = merits([each.outcome for each in self.observations], rng)
        if found is None:
            return self.cube.decode(rng.random(self.cube.width))
        seen = _kept(found)
        points = self._encoding.points([self.observations[at].draw for at in seen])
        targets = evened(found[seen])
        fitted = self._fit(points, targets)
        model, expected = self._believed(fitted, points, targets, pending)
        acquisition = self._acquisition(model, float(expected.min()))
        taken = Taken(points, self._encoding.points(pending))
        best = points[np.argsort(expected)[:BEST]]
        return self._encoding.draw(highest(acquisition, self._encoding, best, taken, rng))

    def _fit(self, points: Floats, targets: Floats) -> Fitted:
        order = np.argsort(targets)
        some = order[np.linspace(0, len(order) - 1, min(len(order), MOST_FITTED)).astype(int)]
        return fit(points[some], targets[some], self._encoding.unordered)

    def _believed(
        self, fitted: Fitted, points: Floats, targets: Floats, pending: Sequence[Draw]
    ) -> tuple[Any, Floats]:
        """Return the surrogate that believes its own mean at what is pending, and the mean at what was seen."""
        from tuning.search.surrogate import Surrogate

        unordered = self._encoding.unordered
        model = Surrogate(fitted, points, targets, unordered)
        expected = model.expected(points)
        if pending:
            waiting = self._encoding.points(pending)
            believed = np.concatenate([targets, model.expected(waiting)])
            model = Surrogate(fitted, np.vstack([points, waiting]), believed, unordered)
        return model, expected

    def _acquisition(self, model: Any, lowest: float) -> Any:
        from botorch.acquisition import analytic

        if self.acquisition == "expected_improvement":
            return analytic.LogExpectedImprovement(model, best_f=lowest, maximize=False)
        if self.acquisition == "probability_of_improvement":
            return analytic.LogProbabilityOfImprovement(model, best_f=lowest - LEAST_GAIN, maximize=False)
        return analytic.UpperConfidenceBound(model, beta=self.confidence**2, maximize=False)


def evened(values: Floats) -> Floats:
    """Return values with mean 0 and variance 1, those above the median drawn together by their logarithm.

    The unit of the logarithm is how far the lowest lies below the median.
    """
    median = np.median(values)
    unit = float(median - values.min())
    if unit > 0:
        above = np.maximum(values - median, 0.0) / unit
        values = np.where(above > 0, median + unit * np.log1p(above), values)
    spread = float(values.std())
    return np.asarray((values - values.mean()) / (spread if spread > 0 else 1.0))


def _kept(found: Floats) -> npt.NDArray[np.intp]:
    """Return the positions of at most `MOST_SEEN` observations: the better half and the latest."""
    if len(found) <= MOST_SEEN:
        return np.arange(len(found))
    best = np.argsort(found, kind="stable")[: MOST_SEEN // 2]
    late = np.setdiff1d(np.arange(len(found)), best)[-(MOST_SEEN - len(best)) :]
    return np.sort(np.concatenate([best, late]))
