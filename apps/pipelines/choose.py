"""Choose families on backtests, and make of a choice a recipe and a judged model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from apps.pipelines.progress import Progress
from apps.pipelines.recipe import Recipe, part, recipe_name
from apps.pipelines.train import Judged, judge
from cluster.errors import InsufficientHistoryError, UnknownNameError
from training.core.panel import Panel
from training.core.runner import Runner
from training.core.splits import chronological_split
from training.distributed.fanout import Fanout, LocalFanout, RayFanout, Results
from training.evaluation.chosen import fit_choice, panel_of
from training.evaluation.groups import groups_by_look
from training.evaluation.rolling import Family, RollingPlan, rolling_backtest
from training.evaluation.selection import Measure, Selection, select
from training.models import MODELS

COMPLEXITY = (
    "seasonal_naive",
    "seasonal_mean",
    "theta",
    "auto_ets",
    "auto_arima",
    "ridge",
    "channel_ridge",
    "driver_ridge",
    "prophet",
    "lightgbm",
    "xgboost",
    "lstm",
)
"""The simplest first: by what is learned, what a forecast costs, and what can go wrong with it."""
DEFAULT_FAMILIES = ("seasonal_naive", "seasonal_mean", "theta", "ridge", "xgboost")
LOCAL = ("theta", "auto_ets", "auto_arima")
"""Families that fit each window alone, and so need few windows to learn from, but long ones."""
SEASONAL = ("seasonal_naive", "seasonal_mean")
"""Families that repeat seasons."""
WINDOW_SEASONS = 7
"""Seasons that a family looks back on: a week of days."""
SEASONS = 4
"""Seasons that a mean is taken of."""
LEAST_WINDOW = 8
WINDOW_SHARE, LOCAL_SHARE = 0.25, 0.6
"""Share of a series' rows before the first cut-off that a window may take: the rest gives windows to learn from."""
SHORTEST = 0.1
"""Share of the series that may be too short for a family: as many may be missing where families are compared."""

REFIT_SHARE = 0.05
"""Where the cut-offs together span less than this share of a series, the last teaches little that the first did
not: one fit serves all. On five years of hours that saves nine fits of ten."""

Grouping = Literal["one", "look"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What shall be compared, and on what.

    Parameters
    ----------
    families
        Catalog names.
    horizon
        Steps ahead.
    cutoffs, stride, train_rows
        As in RollingPlan.
    refit
        As in RollingPlan; None refits where the cut-offs span a good part of the rows: see REFIT_SHARE.
    grouping
        `one` group of all series, or groups by what their past `look`s like.
    measure
        As in `select`.
    """

    families: Sequence[str] = DEFAULT_FAMILIES
    horizon: int
    cutoffs: int = 10
    stride: int | None = None
    train_rows: int | None = None
    refit: bool | None = None
    grouping: Grouping = "look"
    measure: Measure = "mase"

    def plan(self, panel: Panel) -> RollingPlan:
        """Return the cut-offs in a panel."""
        refit = self.refit
        if refit is None:
            span = self.cutoffs * (self.stride or self.horizon)
            refit = span > REFIT_SHARE * float(np.median(np.diff(panel.table.segments)))
        return RollingPlan(
            horizon=self.horizon,
            cutoffs=self.cutoffs,
            stride=self.stride,
            train_rows=self.train_rows,
            refit=refit,
        )


def families_for(names: Sequence[str], panel: Panel, plan: RollingPlan) -> tuple[Family, ...]:
    """Return the families in order of complexity, with the panel's season and windows that its series fill.

    Raises
    ------
    UnknownNameError
        A name is none of a single family.
    InsufficientHistoryError
        The series are too short for any window.
    """
    for name in names:
        if name not in COMPLEXITY:
            raise UnknownNameError.of("family", name, COMPLEXITY)
    season = max(panel.schema.season_length, 1)
    rows = int(np.quantile(np.diff(panel.table.segments), SHORTEST, method="lower")) - plan.horizon * 2
    rows -= (plan.cutoffs - 1) * (plan.stride or plan.horizon)
    least = int(LEAST_WINDOW / WINDOW_SHARE)
    if rows < least:
        raise InsufficientHistoryError(
            f"the series are too short to choose on {plan.cutoffs} cut-offs: the shorter tenth has {max(rows, 0)} "
            f"rows or fewer before the first, expected {least} or more; take fewer cut-offs, a smaller stride or a "
            "shorter horizon",
            got=rows,
            expected=least,
        )
    return tuple(_family(name, season, rows) for name in COMPLEXITY if name in names)


def _family(name: str, season: int, rows: int) -> Family:
    """Return a family that looks back on a week of seasons, or on what series of so many rows can give it."""
    if name == "prophet":
        return Family.of(name)  # it reads its seasons off the calendar, and the rows that there are
    wanted = WINDOW_SEASONS * season
    window = max(LEAST_WINDOW, min(wanted, int(rows * WINDOW_SHARE)))
    if name in LOCAL:
        window = max(2 * LEAST_WINDOW, min(max(wanted, 2 * LEAST_WINDOW), int(rows * LOCAL_SHARE)))
        season = season if 2 * season <= window else 1  # fewer than two seasons show none
    params = {"window": window} if "window" in MODELS.load(name).parameter_names() else {}
    if name in (*LOCAL, *SEASONAL):
        params["season"] = season
    if name == "seasonal_mean":
        params["seasons"] = max(1, min(SEASONS, window // season))
    return Family(label=name, model=name, params=params)


def choose(panel: Panel, asked: Asked, *, folder: Path, workers: int, progress: Progress) -> Selection:
    """Backtest the families before the test part, and choose.

    Parameters
    ----------
    panel
        Validated, with the target alone.
    folder
        Finished tasks are kept there: a run that was cut off goes on where it was.
    workers
        Tasks at a time on the connected Ray; 0 does one after another in this process.
    """
    split = chronological_split(panel)
    seen = panel.before(split.test_start)
    groups = groups_by_look(seen) if asked.grouping == "look" else dict.fromkeys(seen.series, "all")
    counts = Counter(groups.values())
    progress.update("look at the series", 1, 1, ", ".join(f"{count} {name}" for name, count in counts.items()))
    plan = asked.plan(seen)
    families = families_for(asked.families, seen, plan)
    results = Results(folder)
    fanout: Fanout = RayFanout(results, in_flight=workers) if workers else LocalFanout(results)

    def tell(done: int, total: int, kept: int) -> None:
        note = f"{done} of {total} tasks" + (f", {kept} kept from before" if kept else "")
        progress.update("backtests", done, total, note)

    rolling = rolling_backtest(seen, families, plan, groups=groups, fanout=fanout, on_task=tell)
    return select(rolling, groups=groups, measure=asked.measure)


def recipe_of(panel: Panel, selection: Selection, group: str) -> Recipe:
    """Return a group's choice as a recipe; its name has the group's where there are several."""
    target = panel.schema.target_names[0]
    name = recipe_name(panel.schema, target) + (f"-{group}" if len(selection.choices) > 1 else "")
    return Recipe(
        name=name,
        target=target,
        horizon=selection.horizon,
        season=max(panel.schema.season_length, 1),
        members=tuple(part(family.model, **family.params) for family, _ in selection.members(group)),
    )


def fit_and_judge_choice(panel: Panel, selection: Selection, group: str, runner: Runner) -> Judged:
    """Fit a group's choice on its series, in the chosen shares, and judge it on their test part.

    The parts are those of the whole panel, so that the choice was made before the test part of every group.
    """
    recipe, choice = recipe_of(panel, selection, group), selection.choice(group)
    data = panel_of(panel, choice.series)
    model = fit_choice(selection, group, panel, chronological_split(panel), runner=runner)
    return judge(model, data, recipe, split=chronological_split(panel), why=choice.reasons)
