"""`heliotrope placement`: where the models in production would best compute, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.cli.output import JsonOption, console, print_json, print_rows
from cluster.settings import Settings

if TYPE_CHECKING:
    from serve_deployments.node_cost import NodeCost
    from serve_deployments.servable import Servable


def placement(as_json: bool = JsonOption) -> None:
    """Measure each part of the models in production here, and tell where ML_PLACEMENT=auto would let them run."""
    from apps.pipelines.serving import graph_of_production
    from cluster.registry.mlflow_registry import open_registry
    from serve_deployments.graph import decide_placement

    settings = Settings.from_environment()
    decision, measured = decide_placement(graph_of_production(open_registry(settings), settings))
    rows = [row for servable, cost in measured for row in _rows(servable, cost)]
    if as_json:
        print_json({"auto": decision.placement, "why": decision.why, "set": settings.placement, "parts": rows})
        return
    print_rows(rows, title="What each part takes for one series, alone on this machine", empty="")
    console.print(f"auto runs them [bold]{decision.placement}[/]: {decision.why}.", soft_wrap=True)
    console.print(f"ML_PLACEMENT is {settings.placement}.")


def _rows(servable: Servable, cost: NodeCost) -> list[dict[str, Any]]:
    parts = {
        "features": cost.features_s,
        **{f"member {name}": took_s for name, took_s in zip(servable.members, cost.members_s, strict=True)},
        "combination": cost.combine_s,
        "intervals": cost.describe_s,
    }
    return [{"model": servable.key, "part": part, "ms": round(1000 * took_s, 3)} for part, took_s in parts.items()]
