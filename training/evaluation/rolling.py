"""Rolling-origin backtests of several families over many ragged series, as tasks that are done once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import ConfigError, DataError, HeliotropeError, InsufficientHistoryError, UnknownNameError
from training.core.component import build
from training.core.estimator import Forecaster
from training.core.panel import Panel
from training.core.parameters import real, whole
from training.core.windows import Floats, Ints, Times, Windows
from training.distributed.fanout import Fanout, LocalFanout, Result, Shared, Task, error_of
from training.evaluation.origins import Block, naive_scale, only_series, windows_around
from training.evaluation.rolling_task import forecast_block
from training.models import MODELS

Singles = npt.NDArray[np.float32]
OnTask = Callable[[int, int, int], None]
"""Called with the tasks done, all tasks, and how many of the done ones an earlier run had kept."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A catalog member with its parameters, under a name of its own.

    Parameters
    ----------
    label
        In tables and reasons.
    model
        Catalog name.
    params
        Of its constructor.
    """

    label: str
    model: str
    params: Mapping[str, Any]

    @classmethod
    def of(cls, model: str, label: str | None = None, **params: Any) -> Family:
        """Return the family `model`, called so unless it is given a label."""
        return cls(label=label or model, model=model, params=params)

    def part(self) -> dict[str, Any]:
        """Return it as a member of an ensemble."""
        return {"name": self.model, "params": dict(self.params)}

    def behind(self, features: Sequence[Mapping[str, Any]]) -> Family:
        """Return the family with features before it, as an ensemble of one."""
        if not features:
            return self
        params = {"features": [dict(each) for each in features], "members": [self.part()]}
        return Family(label=self.label, model="ensemble", params=params)

    def build(self) -> Forecaster:
        """Return an unfitted model."""
        return build(MODELS, self.model, self.params)


@dataclass(frozen=True, kw_only=True)
class RollingPlan:
    """Which forecasts are made in the past, and what they may learn from.

    Parameters
    ----------
    horizon
        H, steps of each forecast.
    cutoffs
        K, moments from which all series are forecast; the last leaves one horizon before the end. A moment is the
        same for every series, so that a model of many series sees nobody's future.
    stride
        Steps from one cut-off to the next; the horizon when None, so that no step is forecast twice.
    refit
        Fit anew at each cut-off; else once, before the first.
    train_rows
        The most rows of each series before a cut-off that are learned from; all when None, a growing number.
    validation
        Share of these rows, the newest, that families which stop early are stopped by. The others learn from all.
    block
        The most series that are fitted together, and travel as one. Bounds the memory of a task and makes the
        cost of a series independent of how many there are.
    """

    horizon: int
    cutoffs: int = 5
    stride: int | None = None
    refit: bool = True
    train_rows: int | None = None
    validation: float = 0.15
    block: int = 100

    def __post_init__(self) -> None:
        for name in ("horizon", "cutoffs", "block"):
            whole(name, getattr(self, name), low=1)
        for name, low in (("stride", 1), ("train_rows", self.horizon + 1)):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), low=low)
        real("validation", self.validation, low=0, high=0.5)

    def moments(self, times: Times) -> Times:
        """Return the (K,) first moments that are forecast, earliest first, on a time line.

        Raises
        ------
        InsufficientHistoryError
            The time line is too short.
        """
        line = np.unique(times)
        needed = self.horizon + (self.cutoffs - 1) * (self.stride or self.horizon) + 2
        if len(line) < needed:
            raise InsufficientHistoryError(
                f"too few rows for {self.cutoffs} cut-offs of {self.horizon} steps: got {len(line)} distinct "
                f"times, expected at least {needed}; take fewer cut-offs, a smaller stride or a shorter horizon",
                got=len(line),
                expected=needed,
            )
        back = self.horizon + np.arange(self.cutoffs)[::-1] * (self.stride or self.horizon)
        moments: Times = line[len(line) - back]
        return moments


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A forecast that is missing, and why.

    Parameters
    ----------
    family
        Its label; empty where no family was asked.
    series
        Whose forecasts are missing.
    cutoffs
        Positions of the cut-offs.
    error
        What was said.
    """

    family: str
    series: tuple[str, ...]
    cutoffs: tuple[int, ...]
    error: HeliotropeError


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """Forecasts of F families for S series from K cut-offs, H steps, T targets, beside what happened.

    Parameters
    ----------
    plan
        What was asked.
    families
        (F,) in the order given.
    series
        (S,) ids.
    targets
        (T,) names.
    moments
        (K,) first moments that are forecast.
    actual
        (S, K, H, T); NaN where a series has no rows.
    points
        (F, S, K, H, T); NaN where there is no forecast.
    scale
        (S, T) mean absolute seasonal change before the first cut-off.
    faults
        Why forecasts are missing.
    seconds
        Family -> seconds of fitting and forecasting, all tasks together.
    """

    plan: RollingPlan
    families: tuple[Family, ...]
    series: tuple[str, ...]
    targets: tuple[str, ...]
    moments: Times
    actual: Singles
    points: Singles
    scale: Floats
    faults: tuple[Fault, ...]
    seconds: Mapping[str, float]


def rolling_backtest(
    panel: Panel,
    families: Sequence[Family],
    plan: RollingPlan,
    *,
    groups: Mapping[str, str] | None = None,
    until: Any = None,
    fanout: Fanout | None = None,
    on_task: OnTask | None = None,
) -> Rolling:
    """Forecast every series from every cut-off with every family.

    Parameters
    ----------
    panel
        Many series, as ragged as they are. A series with a fault is left out and reported, the others go on.
    families
        What is compared, each under a label of its own.
    groups
        Series -> group; only series of one group are fitted together. One group when None.
    until
        First moment that nobody may look at: the test part's start.
    fanout
        Where the tasks are done, and whether they are kept; in this process when None.
    on_task
        Hears of progress.

    Raises
    ------
    ConfigError
        There are no families, or two of one label.
    InsufficientHistoryError
        The panel has too few rows for the cut-offs.
    """
    labels = [family.label for family in families]
    if not labels or len(set(labels)) < len(labels):
        raise ConfigError(f"families: got the labels {labels}, expected one or more, each once")
    seen = panel if until is None else panel.before(until)
    table = seen.table
    moments = plan.moments(table.times)
    faults = _unusable(table)
    bad = {fault.series[0] for fault in faults}
    usable = np.array([at for at, name in enumerate(table.series) if name not in bad], dtype=np.int64)
    blocks = _blocks(table.series, usable, groups or {}, plan.block)
    tasks = list(_tasks(seen, blocks, families, plan, moments))
    gathered = _Gathered(
        table.series, families, blocks, (len(moments), plan.horizon, len(seen.schema.target_names))
    )
    kept = 0
    for count, done in enumerate((fanout or LocalFanout()).run(forecast_block, tasks), 1):
        gathered.take(done.result, **done.task.work["place"])
        kept += done.kept
        if on_task:
            on_task(count, len(tasks), kept)
    return Rolling(
        plan=plan,
        families=tuple(families),
        series=table.series,
        targets=seen.schema.target_names,
        moments=moments,
        actual=_actual(table, seen.schema.target_names, moments, plan.horizon),
        points=gathered.points,
        scale=naive_scale(table, seen.schema.target_names, seen.schema.season_length, moments[0]),
        faults=(*faults, *gathered.faults),
        seconds=gathered.seconds,
    )


class _Gathered:
    """Results of the tasks, put in their places."""

    def __init__(
        self,
        series: tuple[str, ...],
        families: Sequence[Family],
        blocks: Sequence[Ints],
        shape: tuple[int, int, int],
    ) -> None:
        self._series, self._families, self._blocks = series, families, blocks
        self.points = np.full((len(families), len(series), *shape), np.nan, dtype=np.float32)
        self.seconds = {family.label: 0.0 for family in families}
        self.faults: list[Fault] = []

    def take(self, result: Result, *, family: int, block: int, cutoffs: Sequence[int]) -> None:
        """Put one task's forecasts and faults where they belong."""
        label, chosen = self._families[family].label, self._blocks[block]
        names = tuple(self._series[at] for at in chosen)
        if isinstance(result, HeliotropeError):
            self.faults.append(Fault(family=label, series=names, cutoffs=tuple(cutoffs), error=result))
            return
        self.points[family, chosen[:, None], np.array(cutoffs)] = result["point"]
        self.seconds[label] += float(result["seconds"])
        for fault in result["faults"]:
            error = error_of(fault["error"])
            at = (cutoffs[fault["cutoff"]],)
            self.faults.append(Fault(family=label, series=(names[fault["series"]],), cutoffs=at, error=error))


def _unusable(table: Windows) -> list[Fault]:
    """Return the series with a value that is not finite: they would spoil the models that others share."""
    wrong = np.argwhere(~np.isfinite(table.rows))
    owners = np.searchsorted(table.segments, wrong[:, 0], side="right") - 1
    faults = []
    for owner, first in zip(*np.unique(owners, return_index=True), strict=True):
        row, column = wrong[first]
        error = DataError.at(
            f"series '{table.series[owner]}': a value is not finite",
            column=table.columns[column],
            row=int(row - table.segments[owner]),
            got=float(table.rows[row, column]),
            expected="a finite number; fill or cut the gap first",
        )
        faults.append(Fault(family="", series=(table.series[owner],), cutoffs=(), error=error))
    return faults


def _blocks(series: tuple[str, ...], usable: Ints, groups: Mapping[str, str], size: int) -> list[Ints]:
    """Return positions of series that are fitted together, of one group each, in equal parts of at most `size`."""
    members: dict[str, list[int]] = {}
    for at in usable.tolist():
        if groups and series[at] not in groups:
            raise UnknownNameError.of("series in the groups", series[at], groups)
        members.setdefault(groups.get(series[at], ""), []).append(at)
    return [
        part.astype(np.int64)
        for positions in members.values()
        for part in np.array_split(np.array(positions), math.ceil(len(positions) / size))
    ]


def _tasks(
    panel: Panel, blocks: Sequence[Ints], families: Sequence[Family], plan: RollingPlan, moments: Times
) -> Iterator[Task]:
    """Yield the tasks, block after block."""
    targets, known = panel.schema.target_names, panel.schema.known_names
    cutoffs = [[at] for at in range(len(moments))] if plan.refit else [list(range(len(moments)))]
    for number, chosen in enumerate(blocks):
        shared = Shared(partial(_block, panel.table, chosen, targets, known))
        digest = shared.make().digest()
        for family, asked in enumerate(families):
            for some in cutoffs:
                work = {
                    "model": asked.model,
                    "params": dict(asked.params),
                    "moments": [str(moments[at]) for at in some],
                    "horizon": plan.horizon,
                    "train_rows": plan.train_rows,
                    "validation": plan.validation,
                }
                place = {"family": family, "block": number, "cutoffs": some}
                yield Task(key=_key(digest, work), shared=shared, work=work | {"place": place})


def _block(table: Windows, chosen: Ints, targets: tuple[str, ...], known: tuple[str, ...]) -> Block:
    return Block(table=only_series(table, chosen), targets=targets, known=known)


def _key(digest: str, work: Mapping[str, Any]) -> str:
    """Return what names this work on this data by this version of the code."""
    facts = json.dumps({"data": digest, "code": version("heliotrope"), **work}, sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def _actual(table: Windows, targets: tuple[str, ...], moments: Times, horizon: int) -> Singles:
    """Return (S, K, H, T) what happened."""
    out = np.full((len(table.series), len(moments), horizon, len(targets)), np.nan, dtype=np.float32)
    for at, moment in enumerate(moments):
        owners, windows = windows_around(table, moment, 0, horizon)
        out[owners, at] = windows.select(targets)
    return out
