"""From a table to a registered ensemble: recognise, hold rows out, search in the time, judge, register."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from apps.pipelines.progress import Progress
from apps.pipelines.source import is_file
from apps.running import find_running
from cluster.clock import Clock, SystemClock
from cluster.errors import ConfigError
from cluster.lifecycle import Cluster
from cluster.registry.registry import Registry
from cluster.registry.revision import code_revision
from cluster.registry.version import Lineage, ModelVersion, Stage
from cluster.settings import Settings
from serve_deployments.rows.servable import RowsServable
from training.core.artifact import save_artifact
from training.core.table import Rows, Table, TableSchema, Values
from training.data.bundled import load_sample
from training.data.readers import read_frame
from tuning.automl.automl import AutoML, AutoMLResult, AutoMLSpec, MakeWorkers
from tuning.automl.judge import JudgedTable, judge_table
from tuning.automl.recognise import Recognised
from tuning.energy import EnergyModel

HELD_OUT = 0.15
"""Share of the rows that nothing is fitted or chosen on; as in the training of forecasters."""


def load_table(source: str) -> tuple[str, pd.DataFrame]:
    """Return a file's or a sample's name, and its rows as they are."""
    if is_file(source):
        return Path(source).stem, read_frame(Path(source))
    return source, load_sample(source).frame


@contextmanager
def ray_workers(settings: Settings, count: int) -> Iterator[MakeWorkers | None]:
    """Yield what makes workers on the platform's Ray, or on one of its own; None where there shall be none."""
    if not count:
        yield None
        return
    from tuning.automl.ray_workers import RayWorkers

    running = find_running(settings)
    target = replace(settings, ray_address=running.ray_address) if running else settings
    with Cluster.open(target):
        yield partial(RayWorkers, count=count)


@dataclass(frozen=True, kw_only=True)
class FoundTable:
    """What a run found, and what held-out rows say of it.

    Parameters
    ----------
    recognised, spec
        What was asked for.
    result
        The ensemble, the leaderboard, the blend.
    judged
        On rows held out.
    data_digest
        Of all rows.
    """

    recognised: Recognised
    spec: AutoMLSpec
    result: AutoMLResult
    judged: JudgedTable
    data_digest: str

    @property
    def name(self) -> str:
        """The model's name: the table's and the target's."""
        schema = schema_of(self.recognised)
        return f"{schema.name}-{schema.target}".lower().replace("_", "-").replace(" ", "-")


def find(
    frame: pd.DataFrame,
    recognised: Recognised,
    spec: AutoMLSpec,
    *,
    progress: Progress,
    workers: MakeWorkers | None = None,
    energy: EnergyModel | None = None,
    clock: Clock | None = None,
) -> FoundTable:
    """Search on most rows, and judge on the rest.

    Parameters
    ----------
    frame
        As read; rows without a target are left out.
    recognised
        A task on rows.
    spec
        What the search may take; rows in time are taken as the recognition says.
    progress
        Hears where it is.
    workers
        Who does the fits; this process when None.
    energy
        Turns the fits' seconds into energy and carbon.
    clock
        Keeps the time.

    Raises
    ------
    InsufficientHistoryError
        There are too few rows.
    """
    clock = clock or SystemClock()
    started_s, schema = clock.now_s(), schema_of(recognised)
    known = frame[frame[schema.target].notna()].reset_index(drop=True)
    table, target = schema.read(known), schema.read_target(known)
    spec = replace(spec, ordered=recognised.time is not None)
    learned, held = _held_out(target, ordered=spec.ordered, seed=spec.seed, classes=len(schema.classes))

    def tell(elapsed_s: float, what: str) -> None:
        progress.update("search", min(int(elapsed_s), int(spec.budget_s)), int(spec.budget_s), what)

    left = replace(spec, budget_s=max(spec.budget_s - (clock.now_s() - started_s), 0.1 * spec.budget_s))
    automl = AutoML(left, workers=workers, clock=clock, energy=energy, on_step=tell)
    result = automl.fit(table.take(learned), target[learned], schema)
    judged = judge_table(result.ensemble, table.take(held), target[held], target[learned])
    progress.update("search", int(spec.budget_s), int(spec.budget_s), f"{result.tried} candidates")
    return FoundTable(
        recognised=recognised, spec=spec, result=result, judged=judged, data_digest=_digest(table, target)
    )


def register(found: FoundTable, registry: Registry, *, owner: str) -> ModelVersion:
    """Register the ensemble as a production version, if it is better than a constant answer.

    Raises
    ------
    GateRefused
        It is not; the message says by how much.
    """
    found.judged.verdict.require()
    ensemble, evaluation = found.result.ensemble, found.judged.verdict.to_json()
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "artifact"
        manifest = save_artifact(ensemble, ensemble.schema, artifact)
        lineage = Lineage(
            data_digest=found.data_digest,
            schema_digest=manifest.schema_digest,
            parameters=ensemble.params() | {"budget_s": found.spec.budget_s, "search": found.spec.search},
            seed=found.spec.seed,
            code_revision=code_revision(),
            libraries=manifest.libraries,
        )
        version = registry.register(
            found.name,
            artifact,
            lineage=lineage,
            metrics=found.judged.metrics,
            owner=owner,
            evidence={
                "kind": RowsServable.kind,
                "evaluation": evaluation,
                "automl": {
                    "reasons": list(found.recognised.reasons),
                    "blend": found.result.blending.why,
                    "leaderboard": [row.to_json() for row in found.result.leaderboard],
                },
            },
        )
    approval = {"by": owner, "because": "better than a constant answer on rows held out"}
    return registry.promote(
        version.name, version.version, Stage.PRODUCTION, {"evaluation": evaluation, "approval": approval}
    )


def schema_of(recognised: Recognised) -> TableSchema:
    """Return the schema of a task on rows; raise ConfigError for a task on series."""
    if recognised.schema is None:
        raise ConfigError(f"task '{recognised.task}' is about series, expected regression or classification")
    return recognised.schema


def _held_out(target: Values, *, ordered: bool, seed: int, classes: int) -> tuple[Rows, Rows]:
    """Return the rows to learn from and those held out: the last ones, or some drawn evenly from each class."""
    count = len(target)
    if ordered:
        cut = count - round(count * HELD_OUT)
        return np.arange(cut), np.arange(cut, count)
    order = np.random.default_rng(seed).permutation(count)
    if classes:
        order = order[np.argsort(target[order], kind="stable")]
    step = 1 / HELD_OUT
    held = np.sort(order[np.arange(0, count, step).astype(np.int64)])
    return np.setdiff1d(np.arange(count), held), held


def _digest(table: Table, target: Values) -> str:
    return hashlib.sha256(table.digest().encode() + np.ascontiguousarray(target).tobytes()).hexdigest()
