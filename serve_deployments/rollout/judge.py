"""All guardrails of a rollout, and one chance of a false alarm shared over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Self

from cluster.errors import ConfigError
from serve_deployments.rollout.event_guardrails import (
    ErrorGuardrail,
    EventGuardrail,
    InaccuracyGuardrail,
    RangeGuardrail,
    RefusalGuardrail,
    SlowP95Guardrail,
    SlowP99Guardrail,
    WidthGuardrail,
)
from serve_deployments.rollout.guardrail import Finding, Guardrail, Window
from serve_deployments.rollout.mean_guardrails import (
    AccuracyGuardrail,
    DisagreementGuardrail,
    RetrainGuardrail,
    ThroughputGuardrail,
)
from serve_deployments.rollout.segment_guardrail import SegmentGuardrail
from serve_deployments.rollout.tally import Tree, add, empty_side

ALPHA_SHARES: Mapping[str, float] = MappingProxyType(
    {
        "error_rate": 0.50,
        "segment_error_rate": 0.13,
        "refusals": 0.03,
        "latency_p95": 0.07,
        "latency_p99": 0.07,
        "throughput": 0.03,
        "out_of_range": 0.05,
        "inaccurate": 0.05,
        "interval_width": 0.03,
        "accuracy_floor": 0.02,
        "disagreement": 0.02,
    }
)
"""Guardrail -> its part of alpha. Errors hurt most and are what a bad version shows first: they get most, so that
they are found soonest. A part halves or doubles the evidence asked for, which moves the delay by a few seconds."""


@dataclass(frozen=True, kw_only=True)
class JudgeSpec:
    """What is accepted of a new version.

    Parameters
    ----------
    alpha
        Chance that a rollout of a version that is not worse is rolled back, over all guardrails and looks.
    shares
        Guardrail -> part of alpha; guardrails that are not named are not asked. The sum is at most 1.
    error_ratio
        Error rate, and rate of refusals, that is accepted whatever the old version does.
    p95_s, p99_s
        Latencies that are accepted whatever the old version does.
    throughput_loss_ratio
        Part of the old version's throughput that may be lost.
    accuracy_ratio
        Mean accuracy below which the version is rolled back.
    retrain_ratio
        Mean accuracy below which a new training is asked for.
    inaccurate_ratio
        Rate of forecasts below `accuracy_ratio` that is accepted whatever the old version does.
    difference_ratio
        Mean relative difference from the old version's forecasts that is accepted.
    """

    alpha: float = 0.05
    shares: Mapping[str, float] = field(default_factory=lambda: dict(ALPHA_SHARES))
    error_ratio: float = 0.01
    p95_s: float = 0.1
    p99_s: float = 0.2
    throughput_loss_ratio: float = 0.1
    accuracy_ratio: float = 0.85
    retrain_ratio: float = 0.90
    inaccurate_ratio: float = 0.05
    difference_ratio: float = 0.5

    def __post_init__(self) -> None:
        unknown = set(self.shares) - set(ALPHA_SHARES)
        if unknown or not 0.0 < sum(self.shares.values()) <= 1.0 + 1e-9 or min(self.shares.values()) <= 0.0:
            raise ConfigError(
                f"judge: got shares {dict(self.shares)}, expected parts above 0 with a sum of at most 1, "
                f"of {', '.join(ALPHA_SHARES)}"
            )
        if not (0.0 < self.alpha < 1.0 and 0.0 < self.difference_ratio < 1.0):
            raise ConfigError(
                f"judge: got alpha {self.alpha}, difference_ratio {self.difference_ratio}; expected both in (0, 1)"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self) | {"shares": dict(self.shares)}

    def guardrails(self) -> list[Guardrail]:
        """Return the guardrails that have a part of alpha, and the one that asks for training."""
        made: Mapping[str, Callable[[float], Guardrail]] = {
            "error_rate": lambda a: ErrorGuardrail(a, allowed_ratio=self.error_ratio),
            "refusals": lambda a: RefusalGuardrail(a, allowed_ratio=self.error_ratio),
            "segment_error_rate": lambda a: SegmentGuardrail(a, allowed_ratio=self.error_ratio),
            "latency_p95": lambda a: SlowP95Guardrail(a, allowed=self.p95_s),
            "latency_p99": lambda a: SlowP99Guardrail(a, allowed=self.p99_s),
            "throughput": lambda a: ThroughputGuardrail(
                a, loss_ratio=self.throughput_loss_ratio, allowed_s=self.p95_s
            ),
            "out_of_range": lambda a: RangeGuardrail(a, allowed_ratio=0.0),
            "inaccurate": lambda a: InaccuracyGuardrail(a, allowed_ratio=self.inaccurate_ratio),
            "interval_width": WidthGuardrail,
            "accuracy_floor": lambda a: AccuracyGuardrail(
                a, floor_ratio=self.accuracy_ratio, consequence="rollback"
            ),
            "disagreement": lambda a: DisagreementGuardrail(a, allowed_ratio=self.difference_ratio),
        }
        asked = [made[name](self.alpha * share) for name, share in self.shares.items()]
        # It rolls nothing back, so it takes nothing of the alpha of false rollbacks.
        retrain = RetrainGuardrail(self.alpha, floor_ratio=self.retrain_ratio, consequence="retrain")
        return [*asked, retrain]


class Judge:
    """Takes in windows, keeps every guardrail's evidence, tells the findings.

    Parameters
    ----------
    spec
        What is accepted.
    """

    def __init__(self, spec: JudgeSpec) -> None:
        self.spec = spec
        self._guardrails = spec.guardrails()
        self._past: Tree = empty_side()

    def update(self, share: float | None, window: Tree) -> None:
        """Take in what happened since the last look.

        Parameters
        ----------
        share
            The new version's share of the requests that only one version answered; None where it had all or none.
        window
            A tally's growth under that share.
        """
        seen = Window(share=share, **window, past=self._past)
        for guardrail in self._guardrails:
            guardrail.update(seen)
        self._past = add(self._past, window["old"])

    @property
    def past(self) -> Tree:
        """What the old version did so far, under any split."""
        return self._past

    def findings(self) -> list[Finding]:
        """Return the evidence of each guardrail, its strongest finding alone."""
        return [found[0] for guardrail in self._guardrails if (found := guardrail.findings())]

    def ratio_intervals(self) -> dict[str, tuple[float, float]]:
        """Return, for each guardrail on events, bounds of new rate over old rate that hold at all looks."""
        events = [each for each in self._guardrails if isinstance(each, EventGuardrail)]
        return {each.name: each.ratio_interval(self.spec.alpha) for each in events}

    def to_json(self) -> dict[str, Any]:
        """Return what was taken in."""
        return {"past": self._past, "guardrails": {each.name: each.to_json() for each in self._guardrails}}

    @classmethod
    def from_json(cls, spec: JudgeSpec, state: Mapping[str, Any]) -> Self:
        """Rebuild a judge."""
        self = cls(spec)
        self._past = state["past"]
        for guardrail in self._guardrails:
            guardrail.restore(state["guardrails"][guardrail.name])
        return self
