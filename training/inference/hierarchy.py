"""Which series add up to which: leaves, their sums, and the table of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
import pandas as pd

from cluster.errors import ConfigError, DataError, UnknownNameError
from training.core.panel import Panel
from training.core.prediction import Prediction
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.core.windows import Floats

TOTAL = "total"
"""The one target of an aggregated panel: what a node's leaves add up to."""

Leaf = tuple[str, str]
"""(series id, target): what is measured."""
Level = Literal["root", "target", "group", "series", "leaf"]
Rule = Literal["sum", "mean"]


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """A tree over series, whose leaves are a series' targets, and where asked the targets' sums across the tree.

    Sites with three scopes under an organisation: the leaves are (site, scope); a site is the sum of its scopes,
    the organisation that of all; scopes summed over the sites cross the tree: a grouped hierarchy.

    Parameters
    ----------
    leaves
        (L,) what is measured.
    nodes
        (M,) names, sums first; the last L are the leaves, `site/scope`, or `site` where there is one target.
    levels
        (M,) what kind each node is: `root`, `target` (one target over all series), `group` (a branch of the tree),
        `series`, `leaf`.
    summing
        (M, L) node m is `summing[m] @ leaves`; the last L rows are the identity.
    """

    leaves: tuple[Leaf, ...]
    nodes: tuple[str, ...]
    levels: tuple[Level, ...]
    summing: Floats

    @classmethod
    def of(
        cls,
        series: Sequence[str],
        targets: Sequence[str],
        *,
        parents: Mapping[str, str] | None = None,
        root: str = "organisation",
        target_totals: bool = True,
    ) -> Self:
        """Build the hierarchy of some series.

        Parameters
        ----------
        series, targets
            S series, each measured in T targets of one unit.
        parents
            Series or group -> the group it belongs to; what has no parent belongs to the root. Any depth.
        root
            Name of the sum of everything.
        target_totals
            Whether each target's sum over all series is a node too.

        Raises
        ------
        ConfigError
            There is nothing to sum, a name is used twice, a group holds no series, or parents go in a circle.
        """
        parents = dict(parents or {})
        leaves = tuple((each, target) for each in series for target in targets)
        lines = {each: _line(each, parents, root) for each in series}
        groups = sorted(
            {group for line in lines.values() for group in line},
            key=lambda name: (_depth(name, parents, root), name),
        )
        empty = sorted((set(parents) | set(parents.values())) - set(groups) - set(series) - {root})
        if empty:
            raise ConfigError(
                f"hierarchy: '{empty[0]}' holds no series, expected one of {', '.join(series)} below it"
            )
        rows: list[tuple[str, Level, list[bool]]] = [(root, "root", [True] * len(leaves))]
        if target_totals and len(targets) > 1:
            rows += [(f"{root}/{target}", "target", [of == target for _, of in leaves]) for target in targets]
        rows += [(group, "group", [group in lines[each] for each, _ in leaves]) for group in groups]
        if len(targets) > 1:
            rows += [(each, "series", [owner == each for owner, _ in leaves]) for each in series]
        names = [f"{each}/{target}" if len(targets) > 1 else each for each, target in leaves]
        nodes = tuple(name for name, _, _ in rows) + tuple(names)
        doubled = sorted({name for name in nodes if nodes.count(name) > 1})
        if doubled or len(leaves) < 2:
            raise ConfigError(
                f"hierarchy: got {f'the name {doubled[0]!r} twice' if doubled else f'{len(leaves)} leaf'}, "
                "expected two leaves or more, and every series, group and target under a name of its own"
            )
        sums = np.array([members for _, _, members in rows], dtype=np.float64)
        levels: list[Level] = [level for _, level, _ in rows]
        levels += ["leaf"] * len(leaves)
        return cls(leaves=leaves, nodes=nodes, levels=tuple(levels), summing=np.vstack([sums, np.eye(len(leaves))]))

    def __len__(self) -> int:
        return len(self.nodes)

    def at(self, level: Level) -> list[int]:
        """Return the positions of a level's nodes."""
        return [position for position, each in enumerate(self.levels) if each == level]

    def incoherence(self, values: Floats) -> float:
        """Return the largest difference between a node and the sum of its leaves, relative to the largest value.

        Parameters
        ----------
        values
            (..., M).
        """
        gap = np.abs(values - values[..., -len(self.leaves) :] @ self.summing.T).max(initial=0.0)
        return float(gap / max(np.abs(values).max(initial=0.0), 1.0))

    def panel(self, panel: Panel, *, covariates: Mapping[str, Rule] | None = None) -> Panel:
        """Return the panel of all nodes: a series a node, its target `total`, at the times all its leaves have.

        Parameters
        ----------
        panel
            The measured series, with the hierarchy's targets.
        covariates
            Covariate -> how a node's is made of its series': `sum` (production, energy) or `mean` (temperature,
            calendar). Others are left out; roles stay.

        Raises
        ------
        ConfigError
            The targets have different units.
        UnknownNameError
            The panel lacks a series, a target or a covariate.
        DataError
            The series below a node have no time in common.
        """
        rules = dict(covariates or {})
        unit = self._unit(panel.schema)
        found = set(panel.series)
        for each in self.series:
            if each not in found:
                raise UnknownNameError.of("series", each, found)
        columns = tuple(panel.schema.column(name) for name in rules)
        by_series = {
            str(name): rows.set_index(TIME)
            for name, rows in panel.frame.groupby(panel.frame[ID].astype(str), sort=False)
        }
        frames = [self._node_frame(position, by_series, rules) for position in range(len(self))]
        schema = Schema(
            name=panel.schema.name,
            frequency=panel.schema.frequency,
            targets=(Column(name=TOTAL, unit=unit),),
            covariates=tuple(_widened(column, rules[column.name]) for column in columns),
            season_length=panel.schema.season_length,
        )
        return Panel(pd.concat(frames, ignore_index=True), schema).validate()

    def _node_frame(
        self, position: int, by_series: Mapping[str, pd.DataFrame], rules: Mapping[str, Rule]
    ) -> pd.DataFrame:
        below = [leaf for leaf, inside in zip(self.leaves, self.summing[position], strict=True) if inside]
        names = list(dict.fromkeys(each for each, _ in below))
        times = by_series[names[0]].index
        for name in names[1:]:
            times = times.intersection(by_series[name].index)
        if not len(times):
            raise DataError.at(
                f"hierarchy: the series below '{self.nodes[position]}' have no time in common",
                column=TIME,
                got=", ".join(
                    f"{name} {by_series[name].index[0]} .. {by_series[name].index[-1]}" for name in names
                ),
                expected="spans that overlap",
            )
        made = {TOTAL: sum(by_series[each].loc[times, target].to_numpy(dtype=np.float64) for each, target in below)}
        for column, rule in rules.items():
            values = np.stack([by_series[name].loc[times, column].to_numpy(dtype=np.float64) for name in names])
            made[column] = values.sum(axis=0) if rule == "sum" else values.mean(axis=0)
        return pd.DataFrame({ID: self.nodes[position], TIME: times, **made})

    def gather(self, *predictions: Prediction) -> Floats:
        """Return (M, H) the nodes' points, picked from forecasts of nodes and of the measured series.

        Parameters
        ----------
        predictions
            Forecasts of aggregated series (target `total`) or of the leaves (their own targets); the first that has
            a node counts. All from the same origin.

        Raises
        ------
        UnknownNameError
            A node is in none of them.
        DataError
            They start from different origins, or have different horizons.
        """
        spans = {tuple(times) for each in predictions for times in each.timestamps.tolist()}
        if len(spans) != 1:
            raise DataError.at(
                "hierarchy: the forecasts are not of the same times", got=f"{len(spans)} spans", expected="one span"
            )
        found: dict[Leaf, Floats] = {}
        for each in predictions:
            for n, name in enumerate(each.ids):
                for t, target in enumerate(each.targets):
                    found.setdefault((name, target), each.point[n, :, t])
        rows = []
        for key, node in zip(self.keys, self.nodes, strict=True):
            point = found.get((node, TOTAL), found.get(key))
            if point is None:
                raise UnknownNameError.of("forecast of the node", node, {name for name, _ in found})
            rows.append(point)
        return np.stack(rows)

    @property
    def series(self) -> tuple[str, ...]:
        """(S,) the measured series."""
        return tuple(dict.fromkeys(each for each, _ in self.leaves))

    @property
    def targets(self) -> tuple[str, ...]:
        """(T,) what is measured of each."""
        return tuple(dict.fromkeys(target for _, target in self.leaves))

    @cached_property
    def keys(self) -> tuple[Leaf, ...]:
        """(M,) where a node stands in data: (node, total), a leaf as (series, target)."""
        sums = len(self.nodes) - len(self.leaves)
        return tuple((node, TOTAL) for node in self.nodes[:sums]) + self.leaves

    def _unit(self, schema: Schema) -> str:
        units = {schema.column(target).unit for target in self.targets}
        if len(units) > 1:
            raise ConfigError(
                f"hierarchy: targets {', '.join(self.targets)} have units {', '.join(sorted(units))}, "
                "expected one unit: what has different units does not add up"
            )
        return units.pop()


def _line(name: str, parents: Mapping[str, str], root: str) -> tuple[str, ...]:
    """Return the groups above `name`, the root left out."""
    line: list[str] = []
    while (name := parents.get(name, root)) != root:
        if name in line:
            raise ConfigError(f"hierarchy: parents go in a circle: {' -> '.join([*line, name])}")
        line.append(name)
    return tuple(line)


def _depth(name: str, parents: Mapping[str, str], root: str) -> int:
    return len(_line(name, parents, root))


def _widened(column: Column, rule: Rule) -> Column:
    """Return a node's column: a sum may exceed a series' range, a mean of whole numbers need not be whole."""
    high = column.high if rule == "mean" else None
    low = column.low if rule == "mean" or column.low == 0 else None
    return Column(name=column.name, unit=column.unit, low=low, high=high, role=column.role)
