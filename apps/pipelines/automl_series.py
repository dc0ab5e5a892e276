"""AutoML on series: forecasters by rolling backtests as far as the time goes, detectors as an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.anomaly.train import fit_and_judge
from apps.anomaly.train import register as register_alarms
from apps.pipelines.choose import Asked
from apps.pipelines.line import Line
from apps.pipelines.progress import Progress
from apps.pipelines.search import energy_model
from apps.pipelines.source import load_source
from apps.pipelines.watching import load_watched
from cluster.clock import Clock, SystemClock
from cluster.errors import GateRefused
from cluster.settings import Settings
from training.alarms.alarm_model import AlarmModel
from training.core.panel import Panel
from training.core.schema import Schema
from training.evaluation.selection import Choice, Selection
from tuning.automl.families import FamilyQueue
from tuning.energy import EnergyModel

FORECASTERS = ("seasonal_naive", "seasonal_mean", "ridge", "theta", "lightgbm", "xgboost")
"""The quickest first."""
CUTOFFS = 6
DETECTOR = "ensemble"
"""Without labels nothing shows which detector is best on these rows."""


def find_forecaster(
    data: str,
    target: str,
    *,
    time: str,
    series: str | None,
    budget_s: float,
    settings: Settings,
    owner: str,
    progress: Progress,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Choose families by backtests before the held-out end, fit, judge and register the choice of each group.

    Returns
    -------
    dict
        `leaderboard`, `figures`, `why`, `took`, `model` and `version`, for people and scripts.

    Raises
    ------
    GateRefused
        No group's model passed.
    """
    clock = clock or SystemClock()
    started_s = clock.now_s()
    panel = load_source(data, target=target, timestamp=time, series=series).for_target(target)
    line = Line(settings, workers=0, progress=progress)
    queue = FamilyQueue(waiting=list(FORECASTERS), budget_s=budget_s)
    selection = _chosen(line, panel, queue, clock, started_s)
    figures, versions, refusals = [], [], []
    for choice in selection.choices:
        judged = line.judge_choice(panel, selection, choice.group)
        figures += judged.figures()
        try:
            versions.append(line.register(judged, owner=owner))
        except GateRefused as refusal:
            refusals.append(refusal)
    if not versions:
        raise refusals[0]
    return {
        "leaderboard": [
            row for choice in selection.choices for row in _rows(choice, queue.took_s, energy_model(settings))
        ],
        "figures": figures,
        "why": "; ".join([*(reason for choice in selection.choices for reason in choice.reasons), queue.reason()]),
        "took": f"{clock.now_s() - started_s:.1f} s of {budget_s:g} s, {len(queue.took_s)} families",
        "model": ", ".join(version.name for version in versions),
        "version": ", ".join(str(version.version) for version in versions),
    }


def find_alarms(
    data: str,
    target: str | None,
    *,
    time: str,
    series: str | None,
    settings: Settings,
    owner: str,
    progress: Progress,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Fit the ensemble of detectors on earlier rows, judge its alarms on later ones, register it.

    Without labels no detector can be shown to be better than another on these data, so there is nothing to search:
    the ensemble is fitted once, and the gate asks whether the budget of false alarms is kept.

    Raises
    ------
    GateRefused
        It is not.
    """
    from cluster.registry.mlflow_registry import open_registry

    clock = clock or SystemClock()
    started_s = clock.now_s()
    panel = load_watched(data, targets=(target,) if target else (), timestamp=time, series=series)
    judged = fit_and_judge(AlarmModel(detector=DETECTOR), panel, progress=progress)
    name = _name(panel.schema, target)
    version = register_alarms(judged, open_registry(settings), name=name, owner=owner)
    took_s = clock.now_s() - started_s
    energy = energy_model(settings)
    kwh = energy.energy_kwh(cpu_s=took_s, gpu_s=0.0)
    says = {key: judged.model.of(key).scorer.says for key in judged.model.series}
    return {
        "leaderboard": [{"series": key, **say} for key, told in says.items() for say in told],
        "figures": [{"figure": key, "value": value} for key, value in judged.evidence().items()],
        "why": "without labels no detector is shown to be better: each member's weight has its reason above",
        "took": f"{took_s:.1f} s, about {energy.co2e_kg(kwh):.2g} kg CO2e",
        "model": version.name,
        "version": str(version.version),
    }


def _chosen(line: Line, panel: Panel, queue: FamilyQueue, clock: Clock, started_s: float) -> Selection:
    """Return the choice among the families that there was time for; finished backtests are not done again."""
    tried: list[str] = []
    while (family := queue.next(clock.now_s() - started_s)) is not None:
        tried.append(family)
        before_s = clock.now_s()
        asked = Asked(
            families=tuple(tried), horizon=max(panel.schema.season_length, 1), cutoffs=CUTOFFS, grouping="one"
        )
        selection = line.choose(panel, asked)
        queue.tell(family, clock.now_s() - before_s)
    return selection


def _rows(choice: Choice, took_s: Mapping[str, float], energy: EnergyModel) -> list[dict[str, Any]]:
    rows = []
    for row in choice.rows():
        seconds = took_s.get(row["family"], 0.0)
        kwh = energy.energy_kwh(cpu_s=seconds, gpu_s=0.0)
        rows.append({**row, "backtest_s": seconds, "energy_kwh": kwh, "co2e_kg": energy.co2e_kg(kwh)})
    return rows


def _name(schema: Schema, target: str | None) -> str:
    return f"{schema.name}-{target or 'all'}-alarms".lower().replace("_", "-").replace(" ", "-")
