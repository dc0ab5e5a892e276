"""What is to come for one or more systems: joint futures of measured columns and of what is computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import pandas as pd

from apps.operations import utilisation
from apps.operations.crossings import Crossings
from apps.operations.error_rate import ERROR_RATIO, ErrorRate
from apps.operations.limits import Limit, check_limits
from apps.operations.performance import LATENCY, THROUGHPUT, Queue, QueuePlan
from apps.operations.system import System, resources
from cluster.errors import ConfigError, UserError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.windows import Floats
from training.inference.paths import Paths


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Sample paths of each series, with units and physical ranges.

    Parameters
    ----------
    paths
        One a series.
    schema
        Of the paths' columns.
    notes
        How they were made, a sentence each.
    errors
        Series -> why there is nothing of it.
    """

    paths: tuple[Paths, ...]
    schema: Schema
    notes: tuple[str, ...]
    errors: Mapping[str, UserError]

    @classmethod
    def of_columns(cls, panel: Panel, columns: Sequence[str], *, horizon: int) -> Self:
        """Forecast columns as they were measured: utilisation, latency, throughput, queue lengths.

        Raises
        ------
        UserError
            A column is not there, or the history is too short for the horizon; see `System.fit`.
        """
        system = System.fit(panel, columns, horizon=horizon)
        paths = system.paths()
        count = min(len(each.values) for each in paths)
        fewest = min(each.independent for each in paths)
        note = (
            f"By {system.candidates[0].told()}, the best of {len(system.candidates)} on five moments of the past; "
            f"probabilities are shares of {count} sample paths, about {fewest:.0f} of which do not overlap."
        )
        return cls(paths=paths, schema=system.panel.schema, notes=(note,), errors=system.apart)

    @classmethod
    def of_queue(cls, panel: Panel, utilisation: str, plan: QueuePlan, *, horizon: int) -> Self:
        """Forecast utilisation, and compute `latency_s` and `throughput_per_s` from it path by path.

        Parameters
        ----------
        panel
            The history.
        utilisation
            A percentage (0 .. 100 %) or a ratio (0 .. 1).
        plan
            What is declared of the queue, and what is fitted on measured columns.
        horizon
            Steps ahead.

        Raises
        ------
        ConfigError
            The column is neither a percentage nor a ratio.
        """
        seen = resources(panel, [utilisation, *plan.measured])
        full = seen.schema.column(utilisation).high
        if full not in (1.0, 100.0):
            got = seen.schema.column(utilisation).range_text()
            raise ConfigError(
                f"utilisation: got '{utilisation}' with range {got}, expected a column of 0 .. 100 % or 0 .. 1, "
                "such as cpu_util_percent; name it ..._percent or ..._ratio",
                column=utilisation,
            )
        columns = (utilisation, *plan.measured)
        queues = {name: plan.queue(rows, columns, full) for name, rows in _series_rows(seen, columns).items()}
        base = cls.of_columns(panel, [utilisation], horizon=horizon)
        paths = tuple(queues[each.series].extend(each, utilisation, full=full) for each in base.paths)
        notes = tuple(_told(each.series, queues[each.series]) for each in paths)
        return replace(
            base, paths=paths, schema=_with(base.schema, LATENCY, THROUGHPUT), notes=(*base.notes, *notes)
        )

    @classmethod
    def of_errors(cls, panel: Panel, errors: str, requests: str, *, horizon: int, seed: int = 0) -> Self:
        """Forecast requests, and draw `error_ratio`, the share of them that fails, path by path.

        Parameters
        ----------
        panel
            The history.
        errors, requests
            Columns of counts a step.
        horizon
            Steps ahead.
        seed
            Of the draws.

        Raises
        ------
        DataError
            More errors than requests, negative counts, or no request at all.
        """
        counted = _counted(panel, (errors, requests))
        rows = _series_rows(resources(counted, [errors, requests]), (errors, requests))
        rates = {name: ErrorRate.fit(counts[:, 0], counts[:, 1]) for name, counts in rows.items()}
        base = cls.of_columns(counted, [requests], horizon=horizon)
        paths = tuple(
            rates[each.series].extend(
                each, requests, errors=rows[each.series][-len(each.recent) :, 0], seed=seed + n
            )
            for n, each in enumerate(base.paths)
        )
        notes = tuple(
            f"{name}: {rates[name].rate:.4g} of requests fail in the long run, now {rates[name].now:.4g}."
            for name in (each.series for each in paths)
        )
        return replace(base, paths=paths, schema=_with(base.schema, ERROR_RATIO), notes=(*base.notes, *notes))

    def crossings(self, limits: Sequence[Limit], *, consecutive: int = 1) -> tuple[Crossings, ...]:
        """Return when the limits are crossed, one answer a series.

        Raises
        ------
        UserError
            A limit is for no column, or outside what its column can be.
        """
        checked = check_limits(limits, self.schema)
        return tuple(Crossings.of(each, checked, consecutive=consecutive) for each in self.paths)

    def summary(self) -> pd.DataFrame:
        """Return a row a series and column: now, mean and peak over the horizon with 90 % intervals."""
        return pd.concat([utilisation.summary(each, self.schema) for each in self.paths], ignore_index=True)

    def steps(self) -> pd.DataFrame:
        """Return a row a series, step and column: the forecast and its quantiles."""
        return pd.concat([utilisation.steps(each) for each in self.paths], ignore_index=True)


def _series_rows(panel: Panel, columns: Sequence[str]) -> dict[str, Floats]:
    """Return series -> (N, C) values."""
    table = panel.table
    rows = table.rows[:, table.positions(columns)]
    borders = zip(table.segments[:-1], table.segments[1:], strict=True)
    return {name: rows[start:stop] for name, (start, stop) in zip(table.series, borders, strict=True)}


def _counted(panel: Panel, names: Sequence[str]) -> Panel:
    """Return the panel with these columns as counts, never below 0."""
    columns = tuple(replace(panel.schema.column(name), low=0.0, unit="requests", role="past") for name in names)
    return Panel(panel.frame, replace(panel.schema, targets=columns, covariates=()))


def _with(schema: Schema, *columns: Column) -> Schema:
    names = {column.name for column in columns}
    return replace(schema, targets=(*(each for each in schema.targets if each.name not in names), *columns))


def _told(name: str, queue: Queue) -> str:
    return (
        f"{name}: {queue.servers} servers, {queue.service_time_s:.4g} s a request, variability "
        f"{queue.variability:.3g}: a queue in steady state within each step (G/G/c by Allen-Cunneen)."
    )
