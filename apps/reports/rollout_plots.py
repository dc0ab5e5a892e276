"""A rollout as a picture: each guardrail's evidence against its limit, and the new version's weight, over time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from matplotlib.dates import date2num

from apps.reports.drawing import BLUE, GREY, ORANGE, figure_of, legend_above, png, with_shares, with_times

SHOWN = 5
"""Guardrails drawn: those whose evidence went farthest."""


def draw_rollout(rollout: Mapping[str, Any]) -> bytes:
    """Return a PNG of a rollout as `GET /api/deployments/{id}` tells it."""
    curve = rollout["curve"]
    title = f"{rollout['model']}: {rollout['new']} over {rollout['old']}, {rollout['state'].replace('_', ' ')}"
    figure, (above, below) = figure_of(2, row_height_in=2.6, title=title)
    times = [_day(point["at_s"]) for point in curve]
    highest = {
        name: max(point["evidence"].get(name, 0.0) for point in curve)
        for point in curve
        for name in point["evidence"]
    }
    for name in sorted(highest, key=lambda each: -highest[each])[:SHOWN]:
        above.plot(times, [point["evidence"].get(name) for point in curve], linewidth=1.6, label=name)
    above.axhline(1.0, color=ORANGE, linestyle="--", linewidth=1.2, label="limit")
    above.set_ylabel("evidence (1 = enough)", fontsize=9)
    above.set_ylim(bottom=-1.5)
    below.step(times, [point["weight"] for point in curve], where="post", color=BLUE, linewidth=1.8)
    below.set_ylabel(f"weight of {rollout['new']}", fontsize=9)
    for step in rollout["history"]:
        if curve and step["at_s"] >= curve[0]["at_s"]:
            below.axvline(_day(step["at_s"]), color=GREY, linewidth=0.7)
    with_shares(below, low=0.0)
    for axes in (above, below):
        with_times(axes)
    if curve:
        legend_above(above)
    return png(figure)


def _day(at_s: float) -> float:
    return float(date2num(datetime.fromtimestamp(at_s, UTC)))
