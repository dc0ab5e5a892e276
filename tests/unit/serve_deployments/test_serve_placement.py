"""Placement follows measured cost and sizes, and says why."""

from __future__ import annotations

from serve_deployments.node_cost import NodeCost, measure
from serve_deployments.placement import BY_VALUE_BYTES, PlacementDecision, PlacementPolicy
from serve_deployments.service import Service

GIB = 2**30


def cost(*members_s: float, features_bytes: int = 2400) -> NodeCost:
    ends_s = 0.0001
    return NodeCost(
        features_s=ends_s, members_s=members_s, combine_s=0.0, describe_s=ends_s, features_bytes=features_bytes
    )


def decide(cores: int = 2, size_bytes: int = 1, **costs: NodeCost) -> PlacementDecision:
    policy = PlacementPolicy(cores=cores, memory_bytes=8 * GIB)
    return policy.decide(costs, dict.fromkeys(costs, size_bytes))


def test_small_members_stay_together() -> None:
    decision = decide(nox=cost(0.0008, 0.0005))
    assert decision.placement == "fused"
    assert "save 0.50 ms" in decision.why
    assert decision.why.endswith("not more than the 2.30 ms that the way to them costs with 2.3 KiB of features")


def test_heavy_members_work_at_once_where_there_are_cores() -> None:
    heavy, light = cost(0.02, 0.03), cost(0.001)
    spread = decide(nox=heavy, co=light)
    assert spread.placement == "spread"
    assert "the 2 members of nox take 50.00 ms one after another" in spread.why
    assert "save 20.00 ms, more than the 2.30 ms" in spread.why
    assert decide(cores=1, nox=heavy, co=light).placement == "fused"


def test_large_features_must_be_worth_a_longer_way() -> None:
    assert decide(nox=cost(0.003, 0.003)).placement == "spread"
    large = decide(nox=cost(0.003, 0.003, features_bytes=BY_VALUE_BYTES + 1))
    assert large.placement == "fused"
    assert "not more than the 3.90 ms" in large.why


def test_a_lone_member_is_never_worth_a_way() -> None:
    alone = decide(cores=8, nox=cost(9.0))
    assert alone.placement == "fused"
    assert alone.why == "nox has one member, which is answered no sooner elsewhere"


def test_what_a_machine_cannot_hold_in_copies_stays_together() -> None:
    heavy = cost(0.02, 0.03)
    assert decide(size_bytes=GIB, nox=heavy).placement == "spread"  # three copies in half of eight
    decision = decide(size_bytes=2 * GIB, nox=heavy)
    assert decision.placement == "fused"
    assert decision.why.endswith("6144 MiB in all, more than 4096 MiB, 50% of this machine's memory")


def test_nodes_are_timed_by_a_made_up_request(service: Service) -> None:
    ticks = iter(range(10_000))
    measured = measure(service.shelf.pick("nox"), clock_s=lambda: float(next(ticks)))
    assert measured.members_s == (1.0, 1.0, 1.0)
    assert measured.total_s == 6.0
    assert measured.features_bytes > 0
