"""A rollout as a text read from top to bottom: the rise, the evidence, the breach, the way back, the check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.reports.words import cut

LEAST = 0.02
"""Evidence, of what is asked, that is worth a line."""
SAME = 0.001
"""Difference of two answers that is worth a line."""
RISES = 8
"""Looks told between the steps; of more, evenly chosen ones and the last."""


def story(rollout: Mapping[str, Any]) -> list[str]:
    """Return the lines of a rollout as `GET /api/deployments/{id}` tells it."""
    begun_s = rollout["history"][0]["at_s"]
    steps = [
        (step["at_s"], 1, _line(step["at_s"] - begun_s, step["weight"], _what(step))) for step in rollout["history"]
    ]
    rises = [
        (point["at_s"], 0, _line(point["at_s"] - begun_s, point["weight"], f"  {_rise(point['evidence'])}"))
        for point in _chosen(
            [point for point in rollout["curve"] if max(point["evidence"].values(), default=0) > LEAST]
        )
    ]
    policy, state = rollout["policy"]["name"], rollout["state"].replace("_", " ")
    head = f"{rollout['model']}: {rollout['new']} over {rollout['old']} ({policy}), {state}"
    return [head, *(line for *_, line in sorted(steps + rises)), *_pairs(rollout)]


def _line(after_s: float, weight: float, what: str) -> str:
    return cut(f"{after_s:9.1f} s  {weight:4.0%}  {what}", 400)


def _what(step: Mapping[str, Any]) -> str:
    by = f" by {step['by']}" if step["by"] else ""
    why = f": {step['why']}" if step["why"] else ""
    return f"{step['what']}{by}{why}"


def _rise(evidence: Mapping[str, float]) -> str:
    """Return the guardrail whose evidence is nearest to enough."""
    name = max(evidence, key=lambda each: evidence[each])
    bar = "#" * round(20 * min(1.0, max(0.0, evidence[name])))
    return f"{bar:20}  {max(0.0, evidence[name]):4.0%} of the evidence that {name} asks for"


def _chosen(points: list[Any]) -> list[Any]:
    if len(points) <= RISES:
        return points
    return [points[round(place * (len(points) - 1) / (RISES - 1))] for place in range(RISES)]


def _pairs(rollout: Mapping[str, Any]) -> list[str]:
    """Return the pair of answers that differed most, where requests were copied and any did."""
    worst = rollout["worst_pairs"][0] if rollout["worst_pairs"] else {"difference_ratio": 0.0}
    share = worst["difference_ratio"]
    if share < SAME:
        return []
    return [f"  of the requests that both answered, {worst['request_id']} differs most: by {share:.1%} on average"]
