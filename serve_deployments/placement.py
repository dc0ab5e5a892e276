"""Fused or spread: by what nodes cost, what travels and how large models are, with the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from serve_deployments.node_cost import NodeCost

Placed = Literal["fused", "spread"]
BY_VALUE_BYTES = 1 << 20
"""Features up to this size go to a member straight over gRPC, which ends at 4 MiB; larger ones through the object
store."""
HOP_S, LARGE_HOP_S = 0.0023, 0.0039
"""To another process and back by Ray Serve's handles, over gRPC and through the object store: measured on 2 cores,
one call after another. The benchmark `serving_graph` prints what it adds on the machine at hand."""
SHARE_OF_MEMORY = 0.5
"""Of a machine's memory, that all copies of the models may take: an update holds two of each for a while."""


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
    """Spreads a graph where that makes answers faster, and where the machine can hold it.

    A spread version is in memory once for the ingress, which also explains, and once for each member's deployment:
    what spreads must be worth more than its way, and takes several times the memory.

    Parameters
    ----------
    cores
        Of the machine: members only work at once where there are several.
    memory_bytes
        Of the machine.
    """

    def __init__(self, *, cores: int, memory_bytes: int) -> None:
        self._cores, self._memory_bytes = cores, memory_bytes

    def decide(self, costs: Mapping[str, NodeCost], sizes_bytes: Mapping[str, int]) -> PlacementDecision:
        """Return the placement.

        Parameters
        ----------
        costs
            Version key -> its measured nodes.
        sizes_bytes
            Version key -> what it takes.
        """
        key, cost = max(costs.items(), key=lambda item: self._gain_s(item[1]) - _hop_s(item[1]))
        if self._gain_s(cost) <= _hop_s(cost):
            return PlacementDecision(placement="fused", why=self._why(key, cost))
        copies_bytes = sum(size * (1 + len(costs[name].members_s)) for name, size in sizes_bytes.items())
        room_bytes = SHARE_OF_MEMORY * self._memory_bytes
        if copies_bytes > room_bytes:
            why = (
                f"{self._why(key, cost)}; but each deployment would hold its models, "
                f"{copies_bytes / 2**20:.0f} MiB in all, more than {room_bytes / 2**20:.0f} MiB, "
                f"{SHARE_OF_MEMORY:.0%} of this machine's memory"
            )
            return PlacementDecision(placement="fused", why=why)
        return PlacementDecision(placement="spread", why=self._why(key, cost))

    def _why(self, key: str, cost: NodeCost) -> str:
        if len(cost.members_s) == 1:
            return f"{key} has one member, which is answered no sooner elsewhere"
        gain_s, hop_s = self._gain_s(cost), _hop_s(cost)
        return (
            f"the {len(cost.members_s)} members of {key} take {1000 * sum(cost.members_s):.2f} ms one after "
            f"another; at once on {self._cores} cores they would save {1000 * gain_s:.2f} ms, "
            f"{'more' if gain_s > hop_s else 'not more'} than the {1000 * hop_s:.2f} ms "
            f"that the way to them costs with {cost.features_bytes / 2**10:.1f} KiB of features"
        )

    def _gain_s(self, cost: NodeCost) -> float:
        """Return what working at once saves: no more than the longest member and the cores allow."""
        together_s = max(*cost.members_s, sum(cost.members_s) / self._cores)
        return sum(cost.members_s) - together_s


def _hop_s(cost: NodeCost) -> float:
    return HOP_S if cost.features_bytes <= BY_VALUE_BYTES else LARGE_HOP_S
