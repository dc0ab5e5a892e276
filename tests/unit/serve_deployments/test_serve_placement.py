"""Placement follows measured cost and size, and says why."""

from __future__ import annotations

from serve_deployments.node_cost import NodeCost, measure
from serve_deployments.placement import PlacementPolicy
from serve_deployments.service import Service

GIB = 2**30


def cost(*members_s: float) -> NodeCost:
    return NodeCost(features_s=0.0001, members_s=members_s, combine_s=0.0, describe_s=0.0001)


def test_small_members_stay_together() -> None:
    decision = PlacementPolicy(cores=2, memory_bytes=8 * GIB).decide({"nox@1": cost(0.0008, 0.0005)}, 1)
    assert decision.placement == "fused"
    assert "save 0.50 ms" in decision.why
    assert "not more than the 2.50 ms that the way to them costs" in decision.why


def test_heavy_members_work_at_once_where_there_are_cores() -> None:
    costs = {"nox@1": cost(0.02, 0.03), "co@1": cost(0.001)}
    spread = PlacementPolicy(cores=2, memory_bytes=8 * GIB).decide(costs, 1)
    assert spread.placement == "spread"
    assert "the 2 members of nox@1 take 50.00 ms one after another" in spread.why
    assert "save 20.00 ms, more than the 2.50 ms" in spread.why
    assert PlacementPolicy(cores=1, memory_bytes=8 * GIB).decide(costs, 1).placement == "fused"


def test_a_lone_member_is_never_worth_a_way() -> None:
    alone = PlacementPolicy(cores=8, memory_bytes=8 * GIB).decide({"nox@1": cost(9.0)}, 1)
    assert alone.placement == "fused"
    assert alone.why == "nox@1 has one member, which is answered no sooner elsewhere"


def test_what_does_not_fit_one_process_is_spread() -> None:
    decision = PlacementPolicy(cores=2, memory_bytes=8 * GIB).decide({"nox@1": cost(0.001)}, 3 * GIB)
    assert decision.placement == "spread"
    assert "3072 MiB" in decision.why


def test_nodes_are_timed_by_a_made_up_request(service: Service) -> None:
    ticks = iter(range(10_000))
    measured = measure(service.shelf.pick("nox"), clock_s=lambda: float(next(ticks)))
    assert measured.members_s == (1.0, 1.0, 1.0)
    assert measured.total_s == 6.0
