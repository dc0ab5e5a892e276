"""The report of a judged model, for its run and its version."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from apps.pipelines.train import Judged, seed_of
from apps.reports.findings import factor_finding
from apps.reports.report import VersionReport
from cluster.registry.revision import code_revision
from training.core.future import future_of
from training.core.panel import Panel
from training.core.validation import ID, TIME
from training.inference.factors import key_factors

BACKGROUND_ROWS = 2000
"""Rows of history that sampled factors are told against."""
PAIRS = 16
"""Orders of drivers drawn for sampled factors: standard errors of a few points of a share, in seconds."""


def report_of(judged: Judged, *, made_at: datetime) -> VersionReport:
    """Return the report; pictures are drawn when it is written."""
    lineage = {
        "data": judged.panel.digest(),
        "schema": judged.panel.schema.digest(),
        "code": code_revision(),
        "seed": seed_of(judged.model.params()),
        "horizon": judged.recipe.horizon,
        "features": ", ".join(feature.name for feature in judged.model.features) or "none",
    }
    weights = zip(judged.model.members, judged.model.weights, strict=True)
    lineage |= {f"{member.name}, weight {weight:.3f}": str(member.params()) for member, weight in weights}
    return VersionReport(
        name=judged.recipe.name,
        panel=judged.panel,
        split=judged.split,
        test=judged.test,
        card=judged.card,
        baseline=judged.baseline,
        verdict=judged.verdict.summary(),
        lineage=lineage,
        made_at=f"{made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        why=judged.why,
        shares=newest_shares(judged),
    )


def newest_shares(judged: Judged) -> Mapping[str, Mapping[str, float]]:
    """Return title -> driver -> signed share of what moved the newest tested forecast, one for each target."""
    test, model = judged.test, judged.model
    newest = int(np.argmax(test.origins))
    frame = judged.panel.frame
    frame = frame[frame[ID].astype(str) == test.ids[newest]]
    known = frame[TIME] <= test.origins[newest]
    history = Panel(frame[known].tail(BACKGROUND_ROWS + model.context), judged.panel.schema)
    future = future_of(Panel(frame[~known], judged.panel.schema), model.known) if model.known else None
    totals = key_factors(model, history, future, pairs=PAIRS).totals()
    asked = np.datetime_as_string(test.origins[newest], unit="m").replace("T", " ")
    if len(set(test.ids)) > 1:
        asked = f"{asked} for {test.ids[newest]}"
    signed = np.sign(totals["contribution"]) * totals["share"]
    told: dict[str, Mapping[str, float]] = {}
    for target in test.targets:
        rows = totals["target"] == target
        shares = dict(zip(totals["driver"][rows], signed[rows].astype(float), strict=True))
        told[factor_finding(shares, target=target, asked=asked)] = shares
    return told
