"""Whether arms have the shares of units they were given: where not, something is broken, and no result is trusted.

The likelihood of the counts under any shares (a Dirichlet mixture around the planned ones) over their likelihood
under the planned shares is an e-process, so that the check runs at every look.

References
----------
Lindon, M. and Malek, A. (2022). Anytime-valid inference for multinomial count data. NeurIPS.
Fabijan, A. et al. (2019). Diagnosing sample ratio mismatch in online controlled experiments. KDD.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lgamma, log

CONCENTRATION = 1000.0
"""Strength of the mixture around the planned shares: mismatches of some percent are found soonest."""
ALPHA = 0.001
"""A mismatch stops an experiment, so it must be certain: the field's usual level."""


def log_evidence(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return the logarithm of the evidence that units do not come in these shares.

    Parameters
    ----------
    counts
        Units seen by arm.
    shares
        As planned, above 0, with the sum 1.
    """
    prior = [CONCENTRATION * share for share in shares]
    gained = sum(lgamma(a + n) - lgamma(a) for a, n in zip(prior, counts, strict=True))
    scaled = lgamma(CONCENTRATION) - lgamma(CONCENTRATION + sum(counts))
    return gained + scaled - sum(n * log(share) for n, share in zip(counts, shares, strict=True))


def mismatched(counts: Sequence[int], shares: Sequence[float]) -> bool:
    """Say whether the evidence is enough to stop."""
    return log_evidence(counts, shares) >= log(1.0 / ALPHA)
