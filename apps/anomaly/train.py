"""Fit an alarm model, judge it on rows it has not seen, register it as a version that may be served."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apps.pipelines.progress import Progress
from cluster.errors import GateRefused
from cluster.registry.registry import Registry
from cluster.registry.revision import code_revision
from cluster.registry.version import Lineage, ModelVersion, Stage
from serve_deployments.anomalies.servable import AlarmServable
from training.alarms.alarm_model import AlarmModel
from training.alarms.judged import JudgedSeries
from training.alarms.series_alarms import Telling, panel_of
from training.core.artifact import save_artifact
from training.core.panel import Panel
from training.core.parameters import real
from training.core.validation import ID

MOST_STRANGE = 0.01
"""Share of rows; the budget's own bound, see `Budget.most_points`."""
CHANCE = 0.05
"""Of a model being refused that keeps its budget exactly."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A fitted alarm model, and what it did on the later rows.

    Parameters
    ----------
    model
        Fitted on the earlier rows.
    panel
        All rows.
    series
        What was judged of each series.
    """

    model: AlarmModel
    panel: Panel
    series: tuple[JudgedSeries, ...]

    @property
    def alarms(self) -> int:
        """Events that somebody would have been told of."""
        return sum(len(each.alarms) for each in self.series)

    @property
    def allowed(self) -> float:
        """False alarms that the budget allows in as much time."""
        return sum(each.months for each in self.series) * self.model.alarms_per_month

    @property
    def strange_ratio(self) -> float:
        """Share of the later rows that are strange."""
        strange = sum(reading.strange for each in self.series for reading in each.readings.values())
        return strange / max(sum(len(each.times) for each in self.series), 1)

    @property
    def most_alarms(self) -> int:
        """Alarms that a model which keeps its budget exactly exceeds with a chance of 5 %."""
        from scipy.stats import poisson

        return int(poisson.ppf(1 - CHANCE, self.allowed))

    def evidence(self) -> dict[str, Any]:
        """Return what was measured, as JSON."""
        return {
            "series": len(self.series),
            "series_refused": len(self.model.errors),
            "judged_rows": sum(len(each.times) for each in self.series),
            "judged_months": sum(each.months for each in self.series),
            "alarms": self.alarms,
            "alarms_allowed": self.allowed,
            "alarms_at_most": self.most_alarms,
            "strange_ratio": self.strange_ratio,
            "strange_ratio_at_most": MOST_STRANGE,
        }

    def require(self, because: str = "") -> dict[str, Any]:
        """Return the approval, or raise GateRefused that says by how much the budget was missed."""
        missed = []
        if self.alarms > self.most_alarms:
            missed.append(f"{self.alarms} alarms on later rows, expected at most {self.most_alarms}")
        if self.strange_ratio > MOST_STRANGE:
            missed.append(f"{self.strange_ratio:.2%} of later rows strange, expected at most {MOST_STRANGE:.0%}")
        if missed and not because:
            raise GateRefused(
                f"the alarm model does not keep its budget of {self.model.alarms_per_month:g} a month: got "
                f"{'; '.join(missed)}. Were they real? Say so with --because, or choose another detector, a larger "
                "--learn or --budget",
                **self.evidence(),
            )
        return {"because": because or "kept its budget on later rows", "missed": missed}


def fit_and_judge(
    model: AlarmModel, panel: Panel, *, learn: float = 0.7, progress: Progress | None = None
) -> Judged:
    """Fit on the first rows of each series, and judge the others.

    Parameters
    ----------
    model
        Not fitted.
    panel
        Its targets are watched.
    learn
        Share of each series that teaches, within (0, 1).
    progress
        Is told of each series.

    Raises
    ------
    DataError, InsufficientHistoryError
        No series can be learned.
    """
    real("learn", learn, low=0, high=0.95, above=True)
    groups = panel.frame.groupby(ID, sort=False)
    early = groups.cumcount() < (groups[ID].transform("size") * learn).astype(np.int64)
    learned = Panel(panel.frame[early].reset_index(drop=True), panel.schema)

    def told(place: int, count: int, name: str) -> None:
        if progress:
            progress.update("learn", place, count, name)

    model.fit(learned, told=told)
    judged = [
        _judged(model, str(name), Panel(frame, panel.schema)) for name, frame in groups if name in model.series
    ]
    if progress:
        progress.update("learn", len(groups), len(groups))
    return Judged(model=model, panel=panel, series=tuple(judged))


def _judged(model: AlarmModel, name: str, rows: Panel) -> JudgedSeries:
    fitted = model.of(name)
    return fitted.judge(panel_of(rows, slice(0, len(rows))), Telling(book=model.book), late=fitted.learned_rows)


def register(judged: Judged, registry: Registry, *, name: str, owner: str, because: str = "") -> ModelVersion:
    """Register the model as a production version, if it keeps its budget.

    Parameters
    ----------
    judged
        With what was measured.
    registry, name, owner
        Where, as what, and who answers for it.
    because
        Why alarms beyond the budget were right: the version carries it.

    Raises
    ------
    GateRefused
        The budget was missed, and nobody says why that is right.
    """
    approval, evaluation = judged.require(because), judged.evidence()
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "artifact"
        manifest = save_artifact(judged.model, judged.model.schema, artifact)
        version = registry.register(
            name,
            artifact,
            lineage=Lineage(
                data_digest=judged.panel.digest(),
                schema_digest=manifest.schema_digest,
                parameters=judged.model.params(),
                seed=int((judged.model.detector_params or {}).get("seed", 0)),
                code_revision=code_revision(),
                libraries=manifest.libraries,
            ),
            metrics={key: float(value) for key, value in evaluation.items()},
            owner=owner,
            evidence={"evaluation": evaluation, "kind": AlarmServable.kind},
        )
    evidence = {"evaluation": evaluation, "approval": {"by": owner} | approval}
    return registry.promote(version.name, version.version, Stage.PRODUCTION, evidence)
