"""Fused or spread: decided from what nodes cost and how large models are, with the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from serve_deployments.node_cost import NodeCost

Placed = Literal["fused", "spread"]
HOP_S = 0.0025
"""To another process and back by Ray Serve's handles: 2.3 ms measured over gRPC, 3.9 ms through the object store
(2 cores, one call after another)."""
SHARE_OF_MEMORY = 0.25
"""Of a machine's memory, that all models together may take in one fused replica: an update holds two for a while,
and the other half is the rest of the machine's."""


@dataclass(frozen=True, kw_only=True)
class PlacementDecision:
    """Where the nodes go, and why.

    Parameters
    ----------
    placement
        `fused` or `spread`.
    why
        One sentence with the figures that decided.
    """

    placement: Placed
    why: str


class PlacementPolicy:
    """Spreads a graph where that makes answers faster, or where one process could not hold it.

    Parameters
    ----------
    cores
        Of the machine: members only work at once where there are several.
    memory_bytes
        Of the machine.
    hop_s
        To another process and back.
    """

    def __init__(self, *, cores: int, memory_bytes: int, hop_s: float = HOP_S) -> None:
        self._cores, self._memory_bytes, self._hop_s = cores, memory_bytes, hop_s

    def decide(self, costs: Mapping[str, NodeCost], size_bytes: int) -> PlacementDecision:
        """Return the placement.

        Parameters
        ----------
        costs
            Version key -> its measured nodes.
        size_bytes
            All models together.
        """
        room_bytes = SHARE_OF_MEMORY * self._memory_bytes
        if size_bytes > room_bytes:
            return PlacementDecision(
                placement="spread",
                why=f"the models take {size_bytes / 2**20:.0f} MiB, more than the {room_bytes / 2**20:.0f} MiB "
                "that one replica may hold of this machine's memory",
            )
        key, cost = max(costs.items(), key=lambda item: self._gain_s(item[1]))
        gain_s = self._gain_s(cost)
        placed: Placed = "spread" if gain_s > self._hop_s else "fused"
        return PlacementDecision(placement=placed, why=self._why(key, cost, gain_s))

    def _why(self, key: str, cost: NodeCost, gain_s: float) -> str:
        if len(cost.members_s) == 1:
            return f"{key} has one member, which is answered no sooner elsewhere"
        return (
            f"the {len(cost.members_s)} members of {key} take {1000 * sum(cost.members_s):.2f} ms one after "
            f"another; at once on {self._cores} cores they would save {1000 * gain_s:.2f} ms, "
            f"{'more' if gain_s > self._hop_s else 'not more'} than the {1000 * self._hop_s:.2f} ms "
            "that the way to them costs"
        )

    def _gain_s(self, cost: NodeCost) -> float:
        """Return what working at once saves: no more than the longest member and the cores allow."""
        together_s = max(*cost.members_s, sum(cost.members_s) / self._cores)
        return sum(cost.members_s) - together_s
