"""Errors of the new version in one part of the series, found and named though the whole looks fine."""

from __future__ import annotations

from typing import Any

import numpy as np

from serve_deployments.experiments.event_share import EventShare
from serve_deployments.rollout.guardrail import Finding, Guardrail, Window, rate
from serve_deployments.rollout.tally import MAX_SEGMENTS


class SegmentGuardrail(Guardrail):
    """The error guardrail of each segment; the chance of a false alarm is shared over all that may come.

    Bonferroni's share keeps every named segment honest, not only the claim that some segment is worse.

    Parameters
    ----------
    alpha
        See Guardrail; for all segments together.
    allowed_ratio
        Rate of errors that is never a breach.
    segments
        Most segments that are told apart.
    """

    name = "segment_error_rate"

    def __init__(self, alpha: float, *, allowed_ratio: float, segments: int = MAX_SEGMENTS) -> None:
        super().__init__(alpha / segments)
        self.allowed_ratio, self._segments = allowed_ratio, segments
        self._names: list[str] = []
        self._process = EventShare(segments)
        self._requests = np.zeros((2, segments))

    def update(self, window: Window) -> None:
        """Take in a window."""
        if window.share is None:
            return
        errors = np.zeros((2, self._segments))
        for side, counts in enumerate((window.new["segments"], window.old["segments"])):
            for name, count in counts.items():
                errors[side, self._place(name)] += count["errors"]
                self._requests[side, self._place(name)] += count["requests"]
        self._process.update(errors[0], errors[1], share=window.share)

    def _place(self, name: str) -> int:
        if name not in self._names and len(self._names) < self._segments:
            self._names.append(name)
        return self._names.index(name) if name in self._names else self._segments - 1

    def findings(self) -> list[Finding]:
        """Return a finding for each segment seen, the strongest first."""
        evidence = self._process.log_evidence()
        new, old = self._process.events
        found = []
        for place, name in enumerate(self._names):
            rates = [
                rate(float(events[place]), float(seen[place]))
                for events, seen in zip((new, old), self._requests, strict=True)
            ]
            found.append(
                Finding(
                    guardrail=self.name,
                    segment=name,
                    log_evidence=float(evidence[place])
                    if rates[0] > self.allowed_ratio
                    else min(0.0, float(evidence[place])),
                    log_limit=self.log_limit,
                    new=rates[0],
                    old=rates[1],
                    allowed=self.allowed_ratio,
                )
            )
        return sorted(found, key=lambda each: -each.log_evidence)

    def to_json(self) -> dict[str, Any]:
        """Return names and counts."""
        return {
            "names": self._names,
            "process": self._process.to_json(),
            "requests": self._requests.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over names and counts."""
        self._names = list(state["names"])
        self._process.restore(state["process"])
        self._requests = np.asarray(state["requests"], dtype=np.float64)
