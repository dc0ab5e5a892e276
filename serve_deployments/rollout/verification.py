"""Whether a rollback worked: the traffic is back on the old version, and so are errors and health."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from serve_deployments.rollout.guardrail import rate
from serve_deployments.rollout.judge import JudgeSpec
from serve_deployments.rollout.tally import EDGES, Tree

MIN_S = 3.0
"""Longer than a change of the split takes to reach every replica (a second), so that stragglers are seen."""
PATIENCE_S = 60.0
MIN_REQUESTS = 20
SLACK = 1.5
"""How far above its usual p95 the old version may be in the first seconds after a switch."""
CHANCE = 3.0
"""Standard errors by which so few requests may fail more often than usual."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is known of a rollback.

    Parameters
    ----------
    over
        No further look is needed.
    verified
        All is back.
    detail
        The numbers, in words.
    """

    over: bool
    verified: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Looks at what was counted since the switch.

    Parameters
    ----------
    spec
        What counts as back to normal.
    since_s
        Seconds since the switch.
    usual
        What the old version did before it: where it fails or is slow by nature, that is back to normal too.
    """

    spec: JudgeSpec
    since_s: float
    usual: Tree

    def judge(self, total: Tree, window: Tree, faults: tuple[str, ...]) -> Verdict:
        """Return whether the old version alone answers again, with accepted errors and latency.

        Parameters
        ----------
        total
            Counts since the switch.
        window
            The newest part of them.
        faults
            What is still broken.
        """
        old = total["old"]
        errors, slow_s = rate(old["errors"], old["requests"]), upper_quantile_s(old["durations"], 0.95)
        strays = window["new"]["requests"]
        detail = (
            f"{old['requests']:.0f} requests on the old version, {strays:.0f} of the newest window on the new one, "
            f"error rate {errors:.4g}, p95 at most {slow_s * 1000:.3g} ms"
        )
        seen = old["requests"] >= MIN_REQUESTS and self.since_s >= MIN_S
        usual = max(self.spec.error_ratio, rate(self.usual["errors"], self.usual["requests"]))
        accepted = usual + CHANCE * sqrt(usual * (1.0 - usual) / max(1.0, old["requests"]))
        accepted_s = max(self.spec.p95_s, SLACK * upper_quantile_s(self.usual["durations"], 0.95))
        fine = seen and not strays and errors <= accepted and slow_s <= accepted_s and not faults
        if fine:
            return Verdict(over=True, verified=True, detail=f"verified: {detail}")
        over = self.since_s >= PATIENCE_S
        wrong = "not verified, somebody has to look" if over else "being verified"
        return Verdict(over=over, verified=False, detail="; ".join([f"{wrong}: {detail}", *faults]))


def upper_quantile_s(cells: list[int], quantile: float) -> float:
    """Return the upper bound of the histogram cell that holds a quantile; 0 where nothing was counted."""
    total, below = sum(cells), 0
    for count, edge in zip(cells, (*EDGES, float("inf")), strict=True):
        below += count
        if total and below >= quantile * total:
            return edge
    return 0.0
