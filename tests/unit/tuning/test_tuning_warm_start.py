"""Beginning from what worked on similar data: what is similar, what is taken over, and whether it helps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cluster.storage.files import Storage
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.space import Choice, Real, Space
from tuning.fingerprint import ALIKE, Fingerprint
from tuning.history import History, space_facts
from tuning.journal import Journal
from tuning.proposer import Family, Proposer, Start
from tuning.records import TrialRecord, TrialStatus
from tuning.warm_start import MOST_STARTS, earlier_studies, warm_starts

WIDTH = 4
SPACE: Space = {f"x{at}": Real(0.0, 1.0) for at in range(WIDTH)}
FAMILIES: Mapping[str, Family] = {
    "m": Family(space=SPACE, fixed={}, defaults={f"x{at}": 0.9 for at in range(WIDTH)})
}


def panel(rows: int = 1200, *, season: int = 24, noise: float = 0.3, scale: float = 1.0, seed: int = 0) -> Panel:
    hours = np.arange(rows)
    wave = 10 + 3 * np.sin(hours / season * 2 * np.pi)
    y = scale * (wave + np.random.default_rng(seed).normal(0, noise, rows))
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    frame = pd.DataFrame({"series_id": "a", "timestamp": times, "y": y})
    return Panel(frame, Schema(name="s", frequency="h", targets=(Column(name="y"),), season_length=season))


def test_alike_data_are_near_and_others_far() -> None:
    own = Fingerprint.of(panel(), 24)
    assert own.distance(own) == 0.0
    assert own.distance(Fingerprint.of(panel(1500, scale=1000.0, seed=1), 24)) < 0.5
    assert own.distance(Fingerprint.of(panel(noise=8.0), 24)) > ALIKE
    assert own.distance(Fingerprint.of(panel(60000), 2)) > ALIKE


def test_a_fingerprint_survives_json_and_constant_data() -> None:
    own = Fingerprint.of(panel(noise=0.0, scale=0.0), 1)
    assert Fingerprint.from_json(json.loads(json.dumps(vars(own)))) == own
    assert (own.zeros, own.next_correlation) == (1.0, 0.0)


def loss(task: int, draw: Mapping[str, float]) -> float:
    """One of a family of related problems: bowls whose centres lie around one point, far from the defaults."""
    centre = np.random.default_rng(task).normal(0.25, 0.06, WIDTH)
    return float(sum((draw[f"x{at}"] - centre[at]) ** 2 for at in range(WIDTH)))


def searched(task: int, seed: int, trials: int, starts: list[Start], search: str = "random") -> list[TrialRecord]:
    proposer = Proposer(FAMILIES, search=search, seed=seed, starts=starts)
    records = []
    for number in range(trials):
        proposal = proposer.propose()
        assert proposal is not None
        value = loss(task, proposal.draw)
        facts: dict[str, Any] = {"score": value, "metrics": {"wape": value}, "ended_at_s": float(number)}
        records.append(
            TrialRecord(
                number=number, model="m", params={}, draw=proposal.draw, status=TrialStatus.FINISHED, **facts
            )
        )
        proposer.tell(records[-1])
    return records


def history(name: str, records: list[TrialRecord], own: Fingerprint, space: Space = SPACE) -> History:
    return History(
        name=name,
        spaces={"m": space},
        objectives=("wape",),
        about={"fingerprint": vars(own)},
        records={record.number: record for record in records},
    )


def test_it_helps_on_a_family_of_related_problems() -> None:
    """Ten problems, ten trials each: the best after four earlier studies over the best from scratch, the median."""
    own = Fingerprint.of(panel(), 24)
    earlier = [history(f"s{task}", searched(task, task, 25, []), own) for task in range(100, 104)]
    starts = warm_starts(earlier, own, FAMILIES)
    assert len(starts) == MOST_STARTS
    ratios = []
    for task in range(10):
        cold, warm = (min(each.score or 0.0 for each in searched(task, task, 10, begun)) for begun in ([], starts))
        ratios.append(warm / cold)
    assert float(np.median(ratios)) < 0.6
    assert sum(ratio <= 1.0 for ratio in ratios) >= 8


def test_only_similar_studies_of_the_same_space_are_taken_over() -> None:
    own, other = Fingerprint.of(panel(), 24), Fingerprint.of(panel(noise=8.0), 24)
    records = searched(1, 1, 6, [])
    assert warm_starts([history("far", records, other)], own, FAMILIES) == []
    assert warm_starts([history("own", records, own)], own, FAMILIES, name="own") == []
    changed = {**SPACE, "x0": Real(0.0, 2.0)}
    assert warm_starts([history("changed", records, own, changed)], own, FAMILIES) == []
    best = min(records, key=lambda each: each.score or 0.0)
    (first, *_) = warm_starts([history("near", records, own)], own, FAMILIES)
    assert first == Start(model="m", draw=best.draw)


def test_studies_of_tuples_are_recognised_from_their_folders(tmp_path: Path) -> None:
    own = Fingerprint.of(panel(), 24)
    space: Space = {"sizes": Choice(((64, 32), (128, 64)))}
    storage = Storage(str(tmp_path))
    journal = Journal(storage, "old")
    about = {"fingerprint": vars(own), "spaces": {"m": space_facts(space)}}
    journal.open({"goal": {"objectives": ["wape"]}}, about)
    facts: dict[str, Any] = {
        "params": {"sizes": [128, 64]},
        "draw": {"sizes": 1},
        "score": 0.1,
        "metrics": {"wape": 0.1},
    }
    journal.write(TrialRecord(number=0, model="m", status=TrialStatus.FINISHED, **facts))
    (tmp_path / "studies" / "broken").mkdir()
    (tmp_path / "studies" / "broken" / "study.json").write_text("{")
    families = {"m": Family(space=space, fixed={}, defaults={})}
    assert warm_starts(earlier_studies(storage), own, families) == [Start(model="m", draw={"sizes": 1})]
