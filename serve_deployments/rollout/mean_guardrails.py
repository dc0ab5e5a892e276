"""Guardrails on means: throughput and accuracy against a floor (asymptotic), disagreement with the old version."""

from __future__ import annotations

from typing import Any

import numpy as np

from serve_deployments.experiments.estimates import Estimate
from serve_deployments.experiments.normal_mixture import log_evidence
from serve_deployments.rollout.guardrail import Consequence, Finding, Guardrail, Window
from serve_deployments.rollout.tally import add

MIN_SEEN = 200
"""Observations a mean needs before its normal approximation is trusted."""
MIN_WINDOWS = 30
"""Windows that a mean over windows needs for the same."""
ABOVE = (0.2, 0.5, 0.9)
"""Means that are bet on, from what is allowed (0) to all (1): slight, clear and utter disagreement."""
CERTAIN = 1e3
"""Infinite evidence (numbers without any spread) as a number that JSON knows."""
Sums = list[float]
"""Count, sum, sum of squares."""


def _estimate(sums: Sums) -> Estimate:
    count, total, squares = sums
    if count < 2:
        return Estimate(value=np.array(0.0), variance=np.array(np.inf))
    mean = total / count
    spread = max(0.0, squares / count - mean**2) * count / (count - 1)
    return Estimate(value=np.array(mean), variance=np.array(spread / count))


class MeanGuardrail(Guardrail):
    """Keeps the sums of both versions."""

    def __init__(self, alpha: float) -> None:
        super().__init__(alpha)
        self._sums: dict[str, Sums] = {"new": [0.0] * 3, "old": [0.0] * 3}

    def _take(self, **sums: Sums) -> None:
        for side, more in sums.items():
            self._sums[side] = add(self._sums[side], more)

    def _finding(self, excess: Estimate, *, scale: float, allowed: float, **more: Any) -> list[Finding]:
        """Return the finding that `excess` is above 0, where enough was seen and it points that way."""
        enough = min(self._sums[side][0] for side in self._needed()) >= MIN_SEEN
        evidence = float(log_evidence(excess, scale=scale)) if enough and float(excess.value) > 0.0 else 0.0
        evidence = min(evidence, CERTAIN)
        means = {side: sums[1] / sums[0] if sums[0] else 0.0 for side, sums in self._sums.items()}
        finding = Finding(
            guardrail=self.name,
            log_evidence=evidence,
            log_limit=self.log_limit,
            new=means["new"],
            old=means["old"],
            allowed=allowed,
            exact=False,
            **more,
        )
        return [finding]

    def _needed(self) -> tuple[str, ...]:
        return ("new",)

    def to_json(self) -> dict[str, Any]:
        """Return the sums."""
        return dict(self._sums)

    def restore(self, state: dict[str, Any]) -> None:
        """Take over sums."""
        self._sums = dict(state)


class ThroughputGuardrail(MeanGuardrail):
    """A replica's throughput is one over its mean time a request: the new version may lose a tenth of it.

    Requests of one window wait for each other, so that windows are the observations: in each the new version's mean
    is held against the old one's, and what slows both down cancels.

    Parameters
    ----------
    alpha
        See Guardrail.
    loss_ratio
        Part of the old version's throughput that may be lost.
    allowed_s
        Mean duration that is never a breach.
    """

    name = "throughput"

    def __init__(self, alpha: float, *, loss_ratio: float = 0.1, allowed_s: float = 0.0) -> None:
        super().__init__(alpha)
        self.loss_ratio, self.allowed_s = loss_ratio, allowed_s
        self._gaps: Sums = [0.0] * 3

    def update(self, window: Window) -> None:
        """Take in a window."""
        new, old = window.new["duration_s"], window.old["duration_s"]
        if window.share is None or not new[0] or not old[0]:
            return
        self._take(new=new, old=old)
        gap = new[1] / new[0] - self._slowest(old[1] / old[0])
        self._gaps = add(self._gaps, [1, gap, gap * gap])

    def _slowest(self, old_s: float) -> float:
        """Return the mean that the new version may have beside this one of the old."""
        return max(old_s / (1.0 - self.loss_ratio), self.allowed_s)

    def findings(self) -> list[Finding]:
        """Return the one finding; durations in seconds."""
        count, total, _ = self._sums["old"]
        slowest = self._slowest(total / count if count else 0.0)
        excess = _estimate(self._gaps if self._gaps[0] >= MIN_WINDOWS else [0.0] * 3)
        return self._finding(excess, scale=max(slowest * self.loss_ratio, 1e-9), allowed=slowest)

    def _needed(self) -> tuple[str, ...]:
        return ("new", "old")

    def to_json(self) -> dict[str, Any]:
        """Return the sums, those of the windows' gaps among them."""
        return super().to_json() | {"gaps": self._gaps}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over sums."""
        super().restore({side: state[side] for side in self._sums})
        self._gaps = list(state["gaps"])


class AccuracyGuardrail(MeanGuardrail):
    """The new version's mean accuracy must not lie below a floor, whatever the old one does.

    Parameters
    ----------
    alpha
        See Guardrail.
    floor_ratio
        Accuracy (1 - WAPE).
    consequence
        What happens below.
    """

    name = "accuracy_floor"

    def __init__(self, alpha: float, *, floor_ratio: float, consequence: Consequence) -> None:
        super().__init__(alpha)
        self.floor_ratio, self.consequence = floor_ratio, consequence

    def update(self, window: Window) -> None:
        """Take in a window."""
        self._take(new=window.new["accuracy"], old=window.old["accuracy"])

    def findings(self) -> list[Finding]:
        """Return the one finding."""
        new = _estimate(self._sums["new"])
        excess = Estimate(value=self.floor_ratio - new.value, variance=new.variance)
        return self._finding(excess, scale=0.05, allowed=self.floor_ratio, consequence=self.consequence)


class RetrainGuardrail(AccuracyGuardrail):
    """The same floor, set higher: the version stays, and a new one is asked for."""

    name = "accuracy_retrain"


class DisagreementGuardrail(Guardrail):
    """The versions' forecasts of the same request must not differ by more than a share of their size, on average.

    Exact: who bets on each pair's difference d in [0, 1] that its mean is above m may multiply their wealth by
    (q / m)^d ((1 - q) / (1 - m))^(1 - d), which is at most what a fair bet pays. So counts and sums are all that is
    kept, and the evidence is a mixture over means q above m.

    Parameters
    ----------
    alpha
        See Guardrail.
    allowed_ratio
        Mean of |new - old| / |old|, each pair's counted as 1 at most.

    References
    ----------
    Waudby-Smith, I. and Ramdas, A. (2023). Estimating means of bounded random variables by betting. JRSS B 86.
    """

    name = "disagreement"

    def __init__(self, alpha: float, *, allowed_ratio: float) -> None:
        super().__init__(alpha)
        self.allowed_ratio = allowed_ratio
        self._seen = [0.0, 0.0]

    def update(self, window: Window) -> None:
        """Take in a window."""
        count, total, _ = window.pairs["differences"]
        self._seen = [self._seen[0] + count, self._seen[1] + total]

    def findings(self) -> list[Finding]:
        """Return the one finding."""
        count, total = self._seen
        return [
            Finding(
                guardrail=self.name,
                log_evidence=self._log_evidence(count, total),
                log_limit=self.log_limit,
                new=total / count if count else 0.0,
                old=0.0,
                allowed=self.allowed_ratio,
            )
        ]

    def _log_evidence(self, count: float, total: float) -> float:
        allowed = self.allowed_ratio
        above = allowed + (1.0 - allowed) * np.array(ABOVE)
        logs = total * np.log(above / allowed) + (count - total) * np.log((1.0 - above) / (1.0 - allowed))
        return float(np.logaddexp.reduce(logs) - np.log(len(ABOVE)))

    def to_json(self) -> dict[str, Any]:
        """Return count and sum."""
        return {"seen": self._seen}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over count and sum."""
        self._seen = list(state["seen"])
