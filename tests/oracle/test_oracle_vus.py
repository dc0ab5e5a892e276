"""The fast VUS-PR is that of PyPI's `vus`, which takes a second where ours takes milliseconds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.vus import vus_pr

EVENTS = ([(100, 140)], [(0, 20), (300, 330)], [(100, 120), (130, 150), (380, 400)])


@pytest.mark.parametrize("events", EVENTS, ids=["one", "at an edge", "that touch"])
@pytest.mark.parametrize("digits", [9, 0], ids=["distinct", "tied"])
def test_vus_pr_is_the_published_one(events: list[tuple[int, int]], digits: int) -> None:
    published = pytest.importorskip("vus.utils.metrics", reason="pip install --no-deps vus")
    labels = np.zeros(400, dtype=np.int64)
    for first, last in events:
        labels[first:last] = 1
    scores = np.round(np.random.default_rng(0).normal(size=400) + labels, digits)
    expected = published.metricor().RangeAUC_volume_opt(labels, scores, 40)[-1]
    assert vus_pr(labels, scores, 40) == pytest.approx(expected, rel=1e-12)
