"""Who was shown what, and what came of it: an append-only log in SQLite, summed by unit when somebody asks.

The unit of analysis is the unit of assignment: what a user's or series' requests brought is summed first, so that
units that come often do not count as many. Writing twice the same exposure or outcome changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cluster.errors import TransientError
from serve_deployments.experiments.moments import Floats

BUSY_S = 5.0
TABLES: Mapping[str, int] = {"exposures": 6, "outcomes": 3, "covariates": 3}
"""Table -> columns. Rows are numbered as they come (SQLite's rowid), so that what is new can be told."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS exposures (
    request_id TEXT PRIMARY KEY, experiment TEXT NOT NULL, arm TEXT NOT NULL, unit TEXT NOT NULL,
    phase INTEGER NOT NULL, at_s REAL NOT NULL);
CREATE INDEX IF NOT EXISTS exposed ON exposures (experiment, unit);
CREATE TABLE IF NOT EXISTS outcomes (
    request_id TEXT NOT NULL, metric TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (request_id, metric));
CREATE TABLE IF NOT EXISTS covariates (
    experiment TEXT NOT NULL, unit TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (experiment, unit));
CREATE TABLE IF NOT EXISTS shipped (name TEXT PRIMARY KEY, upto INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS objects (name TEXT PRIMARY KEY);
"""
BY_UNIT = """
SELECT e.arm, MIN(e.phase) AS phase, COUNT(*) AS requests, COALESCE(SUM(o.value), 0.0), COALESCE(SUM(d.value), 0.0),
       c.value
FROM exposures e
LEFT JOIN outcomes o ON o.request_id = e.request_id AND o.metric = :metric
LEFT JOIN outcomes d ON d.request_id = e.request_id AND d.metric = :denominator
LEFT JOIN covariates c ON c.experiment = e.experiment AND c.unit = e.unit
WHERE e.experiment = :experiment AND (:only_known = 0 OR o.value IS NOT NULL)
GROUP BY e.arm, e.unit ORDER BY phase, MIN(e.at_s), e.unit
"""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """One request of an experiment.

    Parameters
    ----------
    request_id
        Of the request; outcomes refer to it.
    experiment, arm, unit
        What the request took part in, and as whom.
    phase
        Revision of the shares under which it was assigned.
    at_s
        Seconds since the epoch.
    """

    request_id: str
    experiment: str
    arm: str
    unit: str
    phase: int
    at_s: float


@dataclass(frozen=True, kw_only=True)
class Units:
    """What the units of one arm brought, in the order of their first exposure.

    Parameters
    ----------
    phases, requests, values, denominators
        Of each unit (N,): the revision it came in, its requests, its sums.
    covariates
        Known of it before, NaN where nothing was.
    """

    phases: Floats
    requests: Floats
    values: Floats
    denominators: Floats
    covariates: Floats


class ExposureLog:
    """The log in one file; one call at a time, from any thread.

    Parameters
    ----------
    path
        The file; made when it is not there.

    Raises
    ------
    TransientError
        The file is locked or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
        with self._writing() as database:
            # A crash of the machine may cost the newest lines, never the file: each is one observation of many.
            database.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {SCHEMA}")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def expose(self, exposures: Iterable[Exposure]) -> int:
        """Note exposures; return how many were new."""
        rows = [(e.request_id, e.experiment, e.arm, e.unit, e.phase, e.at_s) for e in exposures]
        return self._write("INSERT OR IGNORE INTO exposures VALUES (?, ?, ?, ?, ?, ?)", rows)

    def record_outcomes(self, outcomes: Mapping[str, Mapping[str, float]]) -> int:
        """Note what came of requests, at any time: request id -> metric -> value; return how many were new."""
        rows = [(request, metric, value) for request, each in outcomes.items() for metric, value in each.items()]
        return self._write("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?)", rows)

    def describe_units(self, experiment: str, covariates: Mapping[str, float]) -> int:
        """Note what was known of units before the experiment, for CUPED; return how many were new."""
        rows = [(experiment, unit, value) for unit, value in covariates.items()]
        return self._write("INSERT OR IGNORE INTO covariates VALUES (?, ?, ?)", rows)

    def unit_counts(self, experiment: str) -> dict[str, int]:
        """Return arm -> units seen."""
        asked = "SELECT arm, COUNT(DISTINCT unit) FROM exposures WHERE experiment = ? GROUP BY arm"
        return dict(self._database.execute(asked, (experiment,)).fetchall())

    def units(self, experiment: str, metric: str, *, denominator: str = "", only_known: bool) -> dict[str, Units]:
        """Return arm -> its units' sums of a metric.

        Parameters
        ----------
        metric, denominator
            Names of outcomes; an empty denominator sums to 0.
        only_known
            Leave out units without any outcome yet; else they count as 0 (not converted).
        """
        asked = {
            "experiment": experiment,
            "metric": metric,
            "denominator": denominator,
            "only_known": int(only_known),
        }
        rows = self._database.execute(BY_UNIT, asked).fetchall()
        found = {}
        for arm in sorted({row[0] for row in rows}):
            table = np.array([row[1:] for row in rows if row[0] == arm], dtype=np.float64)
            found[arm] = Units(
                phases=table[:, 0],
                requests=table[:, 1],
                values=table[:, 2],
                denominators=table[:, 3],
                covariates=table[:, 4],
            )
        return found

    def unshipped(self, most: int) -> tuple[dict[str, list[Any]], dict[str, int]]:
        """Return each table's rows that `shipped` was not told of, at most so many, and up to where they go."""
        known = dict(self._database.execute("SELECT name, upto FROM shipped").fetchall())
        rows, upto = dict[str, list[Any]](), dict[str, int]()
        for table in TABLES:
            asked = f"SELECT rowid, * FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608 - own names
            if found := self._database.execute(asked, (known.get(table, 0), most)).fetchall():
                rows[table], upto[table] = [list(row[1:]) for row in found], found[-1][0]
        return rows, upto

    def shipped(self, name: str, upto: Mapping[str, int]) -> None:
        """Note that rows up to there lie in the object of this name."""
        with self._writing() as database:
            database.executemany("INSERT OR REPLACE INTO shipped VALUES (?, ?)", list(upto.items()))
            database.execute("INSERT OR IGNORE INTO objects VALUES (?)", (name,))

    def knows(self, name: str) -> bool:
        """Say whether the rows of an object are here."""
        return bool(self._database.execute("SELECT 1 FROM objects WHERE name = ?", (name,)).fetchall())

    def take_in(self, name: str, rows: Mapping[str, Sequence[Sequence[object]]]) -> None:
        """Note the rows of an object, which count as shipped where nothing else is unshipped."""
        with self._writing() as database:
            database.execute("BEGIN IMMEDIATE")  # what others write meanwhile must not count as shipped
            fresh = not self.unshipped(1)[0]
            for table, more in rows.items():
                marks = ", ".join("?" * TABLES[table])
                statement = f"INSERT OR IGNORE INTO {table} VALUES ({marks})"  # noqa: S608 - own names
                database.executemany(statement, [tuple(row) for row in more])
            tops = [(table, self._top(table)) for table in TABLES] if fresh else []
            database.executemany("INSERT OR REPLACE INTO shipped VALUES (?, ?)", tops)
            database.execute("INSERT OR IGNORE INTO objects VALUES (?)", (name,))

    def _top(self, table: str) -> int:
        found: int = self._database.execute(f"SELECT COALESCE(MAX(rowid), 0) FROM {table}").fetchone()[0]  # noqa: S608
        return found

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> int:
        with self._writing() as database:
            before = database.total_changes
            database.executemany(statement, rows)
            return database.total_changes - before

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._database as database:
                yield database
        except sqlite3.OperationalError as error:
            raise TransientError(
                f"the log of experiments cannot be written now: {error}", retry_after_s=1.0
            ) from error
