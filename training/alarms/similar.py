"""Events as vectors, and the past events that are most like a new one, with what came of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.alarms.event_types import TYPES
from training.alarms.evidence import Evidence
from training.core.windows import Floats

BUCKETS = 16
"""Columns share so many places: events of different schemas stay comparable, and a vector's length is fixed."""
SHAPE = 8
"""Points of the profile of the scores."""
PARTS = {"types": (len(TYPES), 1.0), "columns": (BUCKETS, 1.5), "shape": (SHAPE, 0.7), "size": (3, 0.7)}
"""Part of a vector -> (length, weight). Which columns deviated which way counts most."""
LENGTH = sum(length for length, _ in PARTS.values())


@dataclass(frozen=True, kw_only=True)
class SimilarEvent:
    """A past event and what came of it.

    Parameters
    ----------
    event, series
        Ids.
    similarity
        Cosine of the two vectors, -1 .. 1.
    outcome
        confirmed, dismissed, or open.
    note
        What was said when it was judged.
    summary
        One line.
    """

    event: str
    series: str
    similarity: float
    outcome: str
    note: str
    summary: str


def embed(evidence: Evidence, types: Collection[str], scores: Floats, *, chance: float) -> Floats:
    """Return (LENGTH,) the event as a vector of length 1.

    Four parts, each of length 1 times its weight: a place for each type that applies; signed shares of the columns,
    each at a place given by a digest of its name; the scores' profile, drawn to eight points, less its mean; and
    sizes on a logarithmic scale (rows over the season, rarity, largest deviation).

    Parameters
    ----------
    evidence, types
        Of the event.
    scores
        (n,) of its rows.
    chance
        Events a row that are as strange.
    """
    columns = np.zeros(BUCKETS)
    for factor in evidence.factors:
        columns[_bucket(factor.column)] += factor.share * (1.0 if factor.deviation >= 0 else -1.0)
    profile = np.interp(np.linspace(0, len(scores) - 1, SHAPE), np.arange(len(scores)), scores)
    rarity = -math.log10(max(chance, 1e-12))
    size = np.array([
        math.log2(1 + evidence.rows / max(evidence.season, evidence.gap)) / 4,
        rarity / 12,
        math.log2(1 + max(evidence.plain.values())) / 6,
    ])  # fmt: skip
    parts = {
        "types": np.array([float(name in types) for name in TYPES]),
        "columns": columns,
        "shape": profile - profile.mean(),
        "size": size,
    }
    whole = np.concatenate([PARTS[name][1] * _unit(part) for name, part in parts.items()])
    return _unit(whole)


def nearest(
    vector: Floats, events: Mapping[str, Mapping[str, Any]], *, count: int = 3, but: str = ""
) -> tuple[SimilarEvent, ...]:
    """Return the most similar remembered events, judged ones before open ones of the same similarity.

    The search is exact: one product with all vectors, of which there are at most `KEPT_EVENTS`.

    Parameters
    ----------
    vector
        (LENGTH,) of the new event.
    events
        Id -> event, as in the feedback ledger.
    count
        How many, 0 or more.
    but
        Id that is left out: the event itself.
    """
    names = [name for name, event in events.items() if name != but and len(event["vector"]) == len(vector)]
    if not names:
        return ()
    likeness = np.array([events[name]["vector"] for name in names]) @ vector
    judged = np.array([events[name]["outcome"] is not None for name in names])
    order = np.lexsort((~judged, -np.round(likeness, 6)))[:count]
    return tuple(_similar(names[place], events[names[place]], float(likeness[place])) for place in order)


def _similar(name: str, event: Mapping[str, Any], likeness: float) -> SimilarEvent:
    return SimilarEvent(
        event=name,
        series=event["series"],
        similarity=likeness,
        outcome=event["outcome"] or "open",
        note=event["note"],
        summary=str(event["facts"].get("summary", "")),
    )


def _bucket(column: str) -> int:
    return int.from_bytes(hashlib.sha256(column.encode()).digest()[:4], "big") % BUCKETS


def _unit(part: Floats) -> Floats:
    length = float(np.linalg.norm(part))
    return part / length if length > 0 else part
