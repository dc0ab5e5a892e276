"""The fast VUS-PR is the plain one, and that of the package `vus`, a second where ours takes milliseconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.vus import THRESHOLDS, vus_pr
from training.core.windows import Floats

Labels = npt.NDArray[np.int64]
ROWS, WIDEST = 400, 40
EVENTS = ([(100, 140)], [(0, 20), (300, 330)], [(100, 120), (130, 150), (380, 400)])


def drawn(events: list[tuple[int, int]], digits: int) -> tuple[Labels, Floats]:
    labels = np.zeros(ROWS, dtype=np.int64)
    for first, last in events:
        labels[first:last] = 1
    return labels, np.round(np.random.default_rng(0).normal(size=ROWS) + labels, digits)


def plain_area(events: list[tuple[int, int]], labels: Labels, scores: Floats, width: int) -> float:
    half, soft, near = width // 2, labels.astype(float), np.zeros(ROWS, dtype=bool)
    for first, last in events:
        for row in range(ROWS):
            away = max(first - row, row - (last - 1), 0)
            near[row] |= away <= half
            if 0 < away <= half:
                soft[row] += np.sqrt(1 - away / width)
    soft = soft.clip(max=1.0)
    starts = [row for row in range(ROWS) if near[row] and (row == 0 or not near[row - 1])]
    regions = [next((row for row in range(start, ROWS) if not near[row]), ROWS) for start in starts]
    area, before = 0.0, 0.0
    for rank in np.linspace(0, ROWS - 1, THRESHOLDS).astype(int):
        flagged = scores >= np.sort(scores)[::-1][rank]
        caught = soft[flagged].sum()
        borders = soft[flagged & (labels == 0)].sum()
        touched = np.mean([flagged[start:stop].any() for start, stop in zip(starts, regions, strict=True)])
        recall = min(caught / (labels.sum() + borders / 2), 1.0) * touched
        area += (recall - before) * caught / flagged.sum()
        before = recall
    return float(area)


@pytest.mark.parametrize("events", EVENTS, ids=["one", "at an edge", "that touch"])
@pytest.mark.parametrize("digits", [9, 0], ids=["distinct", "tied"])
def test_vus_pr_is_the_mean_of_plain_areas(events: list[tuple[int, int]], digits: int) -> None:
    labels, scores = drawn(events, digits)
    plain = [plain_area(events, labels, scores, width) for width in range(10)]
    assert vus_pr(labels, scores, 9) == pytest.approx(np.mean(plain), rel=1e-9)


@pytest.mark.parametrize("events", EVENTS, ids=["one", "at an edge", "that touch"])
@pytest.mark.parametrize("digits", [9, 0], ids=["distinct", "tied"])
def test_vus_pr_is_the_published_one(events: list[tuple[int, int]], digits: int) -> None:
    published = pytest.importorskip("vus.utils.metrics", reason="pip install --no-deps vus, as the Makefile does")
    labels, scores = drawn(events, digits)
    expected = published.metricor().RangeAUC_volume_opt(labels, scores, WIDEST)[-1]
    assert vus_pr(labels, scores, WIDEST) == pytest.approx(expected, rel=1e-12)
