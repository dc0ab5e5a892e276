"""The report of one version: figures, intervals, data, lineage and pictures, in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apps.reports.figures import compared
from apps.reports.findings import coverage_finding, error_finding, fan_finding
from apps.reports.page import Picture, Section, Share, Table, page
from apps.reports.words import step_in_words, steps_in_words
from cluster.storage.files import write_whole
from training.core.panel import Panel
from training.core.splits import Split
from training.evaluation.backtest import Backtest
from training.evaluation.coverage import StepCoverage
from training.evaluation.scorecard import Scorecard

ROLES = {"past": "past", "known": "known ahead", "static": "static"}
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
        schema = self.panel.schema
        ahead = steps_in_words(self.card.horizon, schema.frequency)
        lead = f"Forecasts {', '.join(self.test.targets)}, {ahead} ahead; {self.card.model}. Made {self.made_at}."
        sections = [
            Section(title="Verdict", parts=[_sentence(self.verdict), *self.why]),
            Section(title="Figures on the held-out end", parts=self._figures()),
            Section(title="Forecasts", parts=self._pictures()),
            Section(title="Intervals", parts=self._intervals()),
            *([Section(title="Key factors", parts=self._factors())] if self.shares else []),
            Section(title="Data", parts=self._data()),
            Section(title="Lineage", parts=[Table.of("What it takes to make it again", self.lineage)]),
        ]
        return page(f"Report of {self.name}", lead, sections)

    def _figures(self) -> list[Table]:
        return [
            Table(
                caption=f"{target}, over all steps",
                rows=compared(mine, self.baseline.targets[target], unit=self._unit(target)),
            )
            for target, mine in self.card.targets.items()
        ]

    def _pictures(self) -> list[Picture]:
        from apps.reports.plots import errors_by_origin, forecast_fans

        out = []
        for target in self.test.targets[:MOST_TARGETS]:
            unit, naive = self._unit(target), self.baseline.targets[target].mae
            fans = forecast_fans(self.test, self.panel, target)
            says = fan_finding(self.test, target, unit=unit, frequency=self.panel.schema.frequency)
            caption = f"Three forecasts of {target} from the test part, by rank of their error."
            out.append(Picture(png=fans, caption=caption, says=f"{says}. {caption}"))
            errors = errors_by_origin(self.test, target, unit=unit, naive_mae=naive)
            says = error_finding(self.test, target, unit=unit, naive_mae=naive)
            caption = f"Error of {target} and coverage of its 95 % interval over the test part's cut-offs."
            out.append(Picture(png=errors, caption=caption, says=f"{says}. {caption}"))
        return out

    def _intervals(self) -> list[Table | Picture]:
        from apps.reports.plots import coverage_by_step

        out: list[Table | Picture] = []
        step = step_in_words(self.panel.schema.frequency)
        for target in self.test.targets[:MOST_TARGETS]:
            drawn = coverage_by_step(self.test, target, unit=self._unit(target), step=step)
            caption = f"Share of {target} inside its intervals, and their width, by step."
            says = f"{coverage_finding(self.test, target)}. {caption}"
            out.append(Picture(png=drawn, caption=caption, says=says))
        return [
            *out,
            *(
                Table(
                    caption=f"{target}: the 95 % interval by step ({self._unit(target)})",
                    rows=_steps(self.test, target),
                    folded=True,
                )
                for target in self.test.targets
            ),
        ]

    def _factors(self) -> list[Picture]:
        from apps.reports.bars import factor_bars

        caption = "Signed shares of what moved one forecast of this model; none of it proves a cause."
        return [
            Picture(png=factor_bars(bars, title=title), caption=caption, says=f"{title}. {caption}")
            for title, bars in self.shares.items()
        ]

    def _data(self) -> list[Table]:
        times, split = np.unique(self.panel.table.times), self.split
        marks = (split.validation_start, split.calibration_start, split.test_start)
        borders = [0, *np.searchsorted(times, [np.datetime64(mark) for mark in marks]), len(times)]
        parts = ("train", "validation", "calibration", "test")
        facts = {"schema": self.panel.schema.name, "rows": len(self.panel), "series": len(self.panel.series)}
        facts |= {"step": step_in_words(self.panel.schema.frequency), "forecasts tested": len(self.test)}
        facts |= {"first time": _shown(times[0]), "last time": _shown(times[-1])}
        spans = [
            {"part": part, "from": _shown(times[begin]), "to": _shown(times[max(stop - 1, begin)])}
            for part, begin, stop in zip(parts, borders[:-1], borders[1:], strict=True)
            if begin < stop
        ]
        columns = [
            {"column": each.name, "role": role, "range": each.range_text()}
            for role, each in (
                *(("target", each) for each in self.panel.schema.targets),
                *((ROLES[each.role], each) for each in self.panel.schema.covariates),
            )
        ]
        return [
            Table.of("The table", facts),
            Table(caption="Its parts", rows=spans),
            Table(caption="Its columns", rows=columns),
        ]

    def _unit(self, target: str) -> str:
        return self.panel.schema.column(target).unit


def _shown(time: Any) -> str:
    return str(time)[:16].replace("T", " ")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _steps(test: Backtest, target: str) -> list[dict[str, Any]]:
    found, t = StepCoverage.of(test, 0.95), test.targets.index(target)
    return [
        {
            "step": step + 1,
            "covered": Share(found.coverage[step, t]),
            "width": float(found.width[step, t]),
            "interval score": float(found.score[step, t]),
        }
        for step in range(len(found.coverage))
    ]
