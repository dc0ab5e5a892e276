"""Guardrails on counts of simulated traffic: silent while versions are equal, and each heard when it should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cluster.errors import ConfigError
from serve_deployments.rollout.guardrail import Finding
from serve_deployments.rollout.judge import Judge, JudgeSpec
from serve_deployments.rollout.tally import EDGES, MAX_SEGMENTS, OTHERS, Tally, add, cell, empty_tally, grown

Answer = Callable[[np.random.Generator, bool], dict[str, Any]]


def fine(rng: np.random.Generator, new: bool) -> dict[str, Any]:
    return {
        "duration_s": float(rng.lognormal(-2.5, 0.4)),
        "failed": bool(rng.random() < 0.01),
        "segments": (f"site-{rng.integers(10)}",),
        "width_ratio": float(rng.lognormal(-1.0, 0.3)),
    }


def judged(answer: Answer, *, seed: int, requests: int = 4000, share: float = 0.25) -> list[Finding]:
    """Let two versions answer, a window every 100 requests."""
    rng, judge = np.random.default_rng(seed), Judge(JudgeSpec())
    for _ in range(requests // 100):
        tally = Tally()
        for _ in range(100):
            new = bool(rng.random() < share)
            tally.answered("new" if new else "old", **answer(rng, new))
        judge.update(share, tally.counts)
    return judge.findings()


def breached(findings: list[Finding]) -> dict[str, str | None]:
    return {each.guardrail: each.segment for each in findings if each.breached}


def test_equal_versions_breach_nothing() -> None:
    assert [breached(judged(fine, seed=seed)) for seed in range(3)] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("guardrail", "change"),
    [
        ("error_rate", lambda rng: {"failed": bool(rng.random() < 0.05)}),
        ("refusals", lambda rng: {"refused": bool(rng.random() < 0.05)}),
        ("latency_p95", lambda rng: {"duration_s": float(rng.lognormal(-1.5, 0.4))}),
        ("latency_p99", lambda rng: {"duration_s": float(rng.lognormal(-1.2, 0.4))}),
        ("throughput", lambda rng: {"duration_s": float(rng.lognormal(-1.2, 0.4))}),
        ("out_of_range", lambda rng: {"out_of_range": bool(rng.random() < 0.03)}),
        ("interval_width", lambda rng: {"width_ratio": float(rng.lognormal(0.0, 0.3))}),
    ],
)
def test_each_guardrail_hears_its_own_fault(
    guardrail: str, change: Callable[[np.random.Generator], dict[str, Any]]
) -> None:
    found = judged(lambda rng, new: fine(rng, new) | (change(rng) if new else {}), seed=4)
    assert guardrail in breached(found)
    told = next(str(each) for each in found if each.guardrail == guardrail)
    assert "new" in told and "old" in told


def in_crowds(rng: np.random.Generator, share: float) -> Tally:
    """A look at two equal versions with batches of their own; now and then one batch is held up as a whole."""
    tally = Tally()
    for side, size in (("new", share), ("old", 1 - share)):
        for _ in range(2):
            slow = bool(rng.random() < 0.1)
            for _ in range(rng.poisson(50 * size)):
                tally.answered("new" if side == "new" else "old", duration_s=0.3 if slow else 0.05, failed=False)
    return tally


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_batches_that_are_held_up_are_no_crowd_of_witnesses(share: float) -> None:
    for seed in range(20):
        judge, rng = Judge(JudgeSpec()), np.random.default_rng(seed)
        for _ in range(60):
            judge.update(share, in_crowds(rng, share).counts)
            assert breached(judge.findings()) == {}


def test_a_version_that_is_a_fifth_slower_is_let_through_and_one_of_twice_the_time_is_not() -> None:
    def slower(factor: float) -> Answer:
        return lambda rng, new: {
            "duration_s": float(rng.lognormal(-2.0, 0.2)) * (factor if new else 1),
            "failed": False,
        }

    assert "latency_p95" not in breached(judged(slower(1.2), seed=11, share=0.1))
    assert "latency_p95" in breached(judged(slower(2.0), seed=11, share=0.1))


def test_a_segment_is_named_though_the_whole_looks_fine() -> None:
    def one_site(rng: np.random.Generator, new: bool) -> dict[str, Any]:
        made = fine(rng, new)
        worse = new and made["segments"] == ("site-3",)
        return made | {"failed": bool(rng.random() < (0.12 if worse else 0.005))}

    found = breached(judged(one_site, seed=5, requests=8000))
    assert found["segment_error_rate"] == "site-3"


def test_a_rate_that_is_accepted_anyway_is_no_breach() -> None:
    few = judged(lambda rng, new: fine(rng, new) | {"failed": new and bool(rng.random() < 0.004)}, seed=6)
    assert "error_rate" not in breached(few)


def test_pairs_of_answers_are_evidence_without_any_user_on_the_new_version() -> None:
    judge, rng = Judge(JudgeSpec()), np.random.default_rng(7)
    for _ in range(30):
        tally = Tally()
        for _ in range(20):
            tally.compared(new_failed=bool(rng.random() < 0.08), old_failed=False, difference_ratio=0.9)
        judge.update(None, tally.counts)
    assert set(breached(judge.findings())) == {"error_rate", "disagreement"}


def test_an_utter_disagreement_is_found_within_a_dozen_pairs_and_an_allowed_one_never() -> None:
    def judged_pairs(difference: Callable[[], float], pairs: int) -> bool:
        judge = Judge(JudgeSpec())
        for _ in range(pairs):
            tally = Tally()
            tally.compared(new_failed=False, old_failed=False, difference_ratio=difference())
            judge.update(None, tally.counts)
            if "disagreement" in breached(judge.findings()):
                return True
        return False

    rng = np.random.default_rng(12)
    assert judged_pairs(lambda: 3.0, 14)
    assert not any(judged_pairs(lambda: float(rng.random() < 0.5), 300) for _ in range(30))
    assert not judged_pairs(lambda: 0.45, 1000)


def test_late_truth_rolls_back_below_85_and_asks_for_training_below_90() -> None:
    for accuracy, expected in ((0.95, {}), (0.88, {"retrain"}), (0.70, {"retrain", "rollback"})):
        judge, rng, tally = Judge(JudgeSpec()), np.random.default_rng(8), Tally()
        for _ in range(600):
            tally.truth("new", float(rng.normal(accuracy, 0.04)), enough_ratio=0.85)
        judge.update(0.25, tally.counts)
        found = [each for each in judge.findings() if each.breached and each.guardrail.startswith("accuracy")]
        assert {each.consequence for each in found} == set(expected)


def test_inaccurate_answers_are_compared_with_the_old_versions() -> None:
    judge, rng = Judge(JudgeSpec()), np.random.default_rng(9)
    for _ in range(5):
        tally = Tally()
        for _ in range(300):
            new = bool(rng.random() < 0.25)
            tally.truth("new" if new else "old", 0.5 if new and rng.random() < 0.4 else 0.95, enough_ratio=0.85)
        judge.update(0.25, tally.counts)
    assert "inaccurate" in breached(judge.findings())


def test_a_judge_survives_json_in_the_middle() -> None:
    rng, spec = np.random.default_rng(10), JudgeSpec()
    one, two = Judge(spec), Judge(spec)
    for _ in range(4):
        tally = Tally()
        for _ in range(200):
            new = bool(rng.random() < 0.5)
            tally.answered("new" if new else "old", **fine(rng, new))
        one.update(0.5, tally.counts)
        two = Judge.from_json(spec, json.loads(json.dumps(two.to_json())))
        two.update(0.5, json.loads(json.dumps(tally.counts)))
    assert one.findings() == two.findings()
    assert one.ratio_intervals() == two.ratio_intervals()


@pytest.mark.parametrize(
    "fields",
    [
        {"shares": {"error_rate": 0.9, "latency_p95": 0.2}},
        {"shares": {"errors": 1.0}},
        {"alpha": 0.0},
        {"difference_ratio": 1.0},
    ],
)
def test_a_judge_with_too_much_alpha_or_unknown_guardrails_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="judge"):
        JudgeSpec(**fields)


def test_trees_add_and_subtract() -> None:
    first, second = Tally(), Tally()
    first.answered("new", duration_s=0.01, failed=False, segments=("a",))
    second.answered("new", duration_s=0.02, failed=True, segments=("b", "b"))
    total = add(first.counts, second.counts)
    assert total["new"]["requests"] == 2 and total["new"]["segments"]["b"] == {"requests": 1, "errors": 1}
    assert add(grown(total, first.counts), empty_tally()) == add(grown(total, first.counts), {})
    assert grown(total, first.counts)["new"]["errors"] == 1
    assert grown(total, {}) == total


def test_cells_and_segments_are_bounded() -> None:
    assert [cell(value) for value in (0.0, EDGES[0], 1e9)] == [0, 1, len(EDGES)]
    tally = Tally()
    for place in range(100):
        tally.answered("old", duration_s=0.01, failed=False, segments=(f"s{place}",))
    segments = tally.counts["old"]["segments"]
    assert len(segments) == MAX_SEGMENTS
    assert segments[OTHERS]["requests"] == 100 - MAX_SEGMENTS + 1
