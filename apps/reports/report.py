"""The report of one version: figures, intervals, data, lineage and pictures, in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apps.reports.page import Picture, Section, Table, page
from cluster.storage.files import write_whole
from training.core.panel import Panel
from training.core.splits import Split
from training.evaluation.backtest import Backtest
from training.evaluation.coverage import StepCoverage
from training.evaluation.scorecard import Figures, Scorecard

MOST_TARGETS = 6
"""Targets that get pictures of their own."""


@dataclass(frozen=True, kw_only=True)
class VersionReport:
    """What is told of a judged model.

    Parameters
    ----------
    name
        In the registry.
    panel
        The data it was made from.
    split
        Its parts.
    test
        Its forecasts of the test part, with the ends of the 90 % and the 95 % interval.
    card, baseline
        Its figures and those of the seasonal naive forecast on the same origins.
    verdict
        The gate's decision in words.
    lineage
        Fact -> value: parameters, seed, code, digests.
    made_at
        ISO time.
    why
        Reasons for the choice of its members.
    shares
        Title -> driver -> signed share: what moved a forecast.
    """

    name: str
    panel: Panel
    split: Split
    test: Backtest
    card: Scorecard
    baseline: Scorecard
    verdict: str
    lineage: Mapping[str, Any]
    made_at: str
    why: Sequence[str] = ()
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Write the report, whole or not at all."""
        write_whole(path, self.html().encode())
        return path

    def html(self) -> str:
        """Return the document."""
        lead = f"{self.card.model} forecasts {', '.join(self.test.targets)}, {self.card.horizon} steps ahead."
        sections = [
            Section(title="Verdict", parts=[self.verdict, *self.why]),
            Section(title="Figures on the held-out end", parts=self._figures()),
            Section(title="Forecasts", parts=self._pictures()),
            Section(title="Intervals", parts=self._intervals()),
            *([Section(title="Key factors", parts=self._factors())] if self.shares else []),
            Section(title="Data", parts=self._data()),
            Section(title="Lineage", parts=[Table.of("What it takes to make it again", self.lineage)]),
        ]
        return page(f"Report of {self.name}", f"{lead} Made {self.made_at}.", sections)

    def _figures(self) -> list[Table]:
        return [
            Table(caption=f"{target}, over all steps", rows=_compared(mine, self.baseline.targets[target]))
            for target, mine in self.card.targets.items()
        ]

    def _pictures(self) -> list[Picture]:
        from apps.reports.plots import errors_by_origin, forecast_fans

        out = []
        for target in self.test.targets[:MOST_TARGETS]:
            fans = forecast_fans(self.test, self.panel, target)
            naive = self.baseline.targets[target].mae
            errors = errors_by_origin(self.test, target, unit=self._unit(target), naive_mae=naive)
            out.append(
                Picture(png=fans, caption=f"Three forecasts of {target} of the test part, by rank of error.")
            )
            out.append(
                Picture(png=errors, caption=f"Error and coverage of {target} over the test part's cut-offs.")
            )
        return out

    def _intervals(self) -> list[Table | Picture]:
        from apps.reports.plots import coverage_by_step

        out: list[Table | Picture] = []
        for target in self.test.targets[:MOST_TARGETS]:
            drawn = coverage_by_step(self.test, target, unit=self._unit(target))
            out.append(Picture(png=drawn, caption=f"Share of {target} inside its intervals, and their width."))
        rows = [row for target in self.test.targets for row in _steps(self.test, target)]
        return [*out, Table(caption="The 95 % interval by step", rows=rows)]

    def _factors(self) -> list[Picture]:
        from apps.reports.plots import factor_bars

        caption = "Signed shares of what moved one forecast of this model; none of it proves a cause."
        return [Picture(png=factor_bars(bars, title=title), caption=caption) for title, bars in self.shares.items()]

    def _data(self) -> list[Table]:
        times, split = self.panel.table.times, self.split
        parts = {
            "train": (times[0], split.validation_start),
            "validation": (split.validation_start, split.calibration_start),
            "calibration": (split.calibration_start, split.test_start),
            "test": (split.test_start, times.max()),
        }
        facts = {"schema": self.panel.schema.name, "rows": len(self.panel), "series": len(self.panel.series)}
        facts |= {"step": self.panel.schema.frequency, "origins tested": len(self.test)}
        facts |= {"first time": str(times.min())[:19], "last time": str(times.max())[:19]}
        spans = [
            {"part": part, "from": str(begin)[:19].replace("T", " "), "to": str(end)[:19].replace("T", " ")}
            for part, (begin, end) in parts.items()
        ]
        columns = [
            {"column": each.name, "role": role, "unit": each.unit, "range": each.range_text()}
            for role, group in (("target", self.panel.schema.targets), ("covariate", self.panel.schema.covariates))
            for each in group
        ]
        return [
            Table.of("The table", facts),
            Table(caption="Its parts", rows=spans),
            Table(caption="Its columns", rows=columns),
        ]

    def _unit(self, target: str) -> str:
        return self.panel.schema.column(target).unit


def _compared(mine: Figures, naive: Figures) -> list[dict[str, Any]]:
    theirs = asdict(naive)
    return [
        {"figure": name.replace("_", " "), "model": _known(value), "seasonal naive": _known(theirs[name])}
        for name, value in asdict(mine).items()
    ]


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _steps(test: Backtest, target: str) -> list[dict[str, Any]]:
    found, t = StepCoverage.of(test, 0.95), test.targets.index(target)
    return [
        {
            "target": target,
            "step": step + 1,
            "coverage": float(found.coverage[step, t]),
            "width": float(found.width[step, t]),
            "interval score": float(found.score[step, t]),
        }
        for step in range(len(found.coverage))
    ]
