"""Give the better arm more units while learning, and still tell honestly how good each arm is.

Thompson sampling: an arm's share is the chance that it is the best, given what was seen (normal posteriors of the
arms' means), computed with a fixed seed, and never below a floor: without a floor the losing arms' means could not
be told later. Plain averages are biased under such shares; weighted by one over the share under which each unit was
assigned they are not, and as the shares depend on the past alone, the weighted scores form a martingale with
intervals that hold at every look (asymptotically).

References
----------
Thompson, W. R. (1933). On the likelihood that one unknown probability exceeds another. Biometrika 25.
Waudby-Smith, I., Wu, L., Ramdas, A., Karampatziakis, N. and Mineiro, P. (2024). Anytime-valid off-policy inference
for contextual bandits. ACM/IMS J. Data Science 1.
Hadad, V. et al. (2021). Confidence intervals for policy evaluation in adaptive experiments. PNAS 118.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cluster.errors import ConfigError
from serve_deployments.experiments.estimates import Estimate
from serve_deployments.experiments.moments import Moments

Floats = NDArray[np.float64]
DRAWS = 4000
FLOOR = 0.1
"""Weights of at most ten: with a floor of 0.05 intervals missed twice as often after a thousand units."""


def thompson_shares(arms: Mapping[str, Estimate], *, seed: int, floor: float = FLOOR) -> dict[str, float]:
    """Return each arm's next share: its chance to be the best, at least `floor`.

    Parameters
    ----------
    arms
        Arm -> its mean, higher is better.
    seed
        Of the draws.
    floor
        Smallest share, at most one over the number of arms.
    """
    if not 0.0 < floor * len(arms) <= 1.0:
        raise ConfigError(
            f"bandit: got floor {floor} for {len(arms)} arms, expected above 0, and at most their even share"
        )
    if not all(np.isfinite(each.variance) for each in arms.values()):
        return dict.fromkeys(arms, 1.0 / len(arms))
    rng = np.random.default_rng(seed)
    drawn = [rng.normal(float(each.value), float(np.sqrt(each.variance)), DRAWS) for each in arms.values()]
    best = np.bincount(np.argmax(drawn, axis=0), minlength=len(arms)) / DRAWS
    shares = floor + (1.0 - floor * len(arms)) * best
    return {arm: float(share) for arm, share in zip(arms, shares, strict=True)}


class WeightedArms:
    """Means of arms whose shares changed on the way: doubly robust scores, weighted by the shares.

    The score of a unit for arm a is m_a + 1{given a} (y - m_a) / share_a, where m_a is what was known of the arm
    before; its expectation is the arm's mean whatever m_a is.

    Parameters
    ----------
    arms
        Their names.
    """

    def __init__(self, arms: tuple[str, ...]) -> None:
        self.arms = arms
        self._scores = Moments(len(arms))
        self._plain = {arm: Moments() for arm in arms}

    def update(self, given: NDArray[np.int64], outcomes: Floats, shares: Mapping[str, float]) -> None:
        """Take in units that were assigned under the same shares.

        Parameters
        ----------
        given
            Place of each unit's arm, (N,).
        outcomes
            Its outcome, (N,).
        shares
            Arm -> the share under which these units were assigned, all above 0.
        """
        known = np.array([float(each.mean[0]) if each.count else 0.0 for each in self._plain.values()])
        share = np.array([shares[arm] for arm in self.arms])
        if not (share > 0.0).all():
            raise ConfigError(
                f"bandit: got shares {dict(shares)}, expected all above 0; an arm of share 0 tells nothing"
            )
        mine = given[:, None] == np.arange(len(self.arms))
        self._scores.update(known + mine * (outcomes[:, None] - known) / share)
        for place, each in enumerate(self._plain.values()):
            each.update(outcomes[given == place][:, None])

    def estimate(self, arm: str) -> Estimate:
        """Return an arm's mean. Two arms' estimates are uncorrelated in the limit: a unit has one of them alone."""
        if self._scores.count < 2:
            return Estimate(value=np.array(0.0), variance=np.array(np.inf))
        place = self.arms.index(arm)
        variance = self._scores.covariance[place, place] / self._scores.count
        return Estimate(value=np.asarray(self._scores.mean[place]), variance=np.asarray(max(0.0, variance)))
