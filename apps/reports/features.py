"""What was done to a table, and which features tell most about a target, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from apps.reports.page import Picture, Section, Table, page
from apps.reports.words import steps_in_words

MOST_BARS = 25


def feature_page(
    *,
    source: str,
    findings: Sequence[Mapping[str, Any]],
    target: str,
    horizon: int,
    frequency: str,
    until: str,
    table: pd.DataFrame,
) -> str:
    """Return the HTML document.

    Parameters
    ----------
    source
        What the table came from.
    findings
        A row a finding of the preparation.
    target, horizon, frequency
        What the features were judged by: the target so many steps of that frequency later.
    until
        The rows before it were looked at.
    table
        Of `Selection.report`.
    """
    from apps.reports.bars import information_bars

    kept = table[table["kept"]]
    best = kept[kept["feature"] != target].head(MOST_BARS)
    information = dict(zip(best["feature"], best["mutual_information"], strict=True))
    correlation = dict(zip(best["feature"], best[f"correlation_{target}"], strict=True))
    later = steps_in_words(horizon, frequency)
    lead = (
        f"{len(kept)} of {len(table)} features are kept, judged by {target} {later} later, on rows before {until}."
    )
    told = next(iter(information), None)
    title = f"Beside its own last value, {told} tells most about {target} {later} later"
    pictures = []
    if told:
        caption = f"{title}; mutual information sees any dependence, correlation a straight line alone."
        pictures = [Picture(png=information_bars(information, correlation, title=title), caption=caption)]
    sections = [
        Section(title="Features", parts=[*pictures, _features(table, target)]),
        Section(title="What was found in the table", parts=[Table(caption="Findings", rows=findings)]),
    ]
    return page(f"Features of {source} for {target}", lead, sections)


def _features(table: pd.DataFrame, target: str) -> Table:
    rows = [
        {
            "feature": row["feature"],
            "information (nats)": float(row["mutual_information"]),
            "correlation": float(row[f"correlation_{target}"]),
            "most like": row["strongest"],
            "by correlation": float(row["strongest_correlation"]),
            "kept": "yes" if row["kept"] else "no",
            "why": row["reason"],
        }
        for row in table.to_dict("records")
    ]
    return Table(caption="All that were judged, the best first", rows=rows)
