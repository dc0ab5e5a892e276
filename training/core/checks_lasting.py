"""Checks of what must last: seeds, artifacts, pickles, interrupted training."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cluster.errors import ArtifactCorrupt
from training.core.artifact import MANIFEST, load_artifact, save_artifact
from training.core.candidate import SCHEMA, Candidate, WatchedRunner, alike, digest_elsewhere
from training.core.component import build
from training.core.exam import expect, refused

RESUMED = 1e-5
"""Share of the largest value that an interrupted fit may differ by: its sums may be rounded differently."""
OTHER_PROCESS_S = 120.0
"""Enough for an interpreter, the model's library and a fit of the example's size on a busy machine."""


def fits_are_reproducible(candidate: Candidate) -> None:
    """Fitted twice, a model is the same to the last bit; global random numbers are left alone."""
    before = pickle.dumps(np.random.get_state())
    again = candidate.fit(candidate.panel)
    expect(pickle.dumps(np.random.get_state()) == before, "fitting draws numpy's global numbers")
    expect(candidate.digest(again) == candidate.digest(candidate.model), "a second fit gives another model")


def another_process_fits_the_same(candidate: Candidate) -> None:
    """Fitted in a fresh process, a model forecasts the same to the last bit."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        theirs = pool.submit(digest_elsewhere, candidate.kind).result(timeout=OTHER_PROCESS_S)
    expect(theirs == candidate.digest(candidate.model), "another process gives another model")


def seed_is_used(candidate: Candidate) -> None:
    """Another seed gives another model where the tag says so; where it does not there is no seed."""
    seeded = "seed" in candidate.kind.parameter_names()
    expect(
        seeded == candidate.kind.tags.seeded,
        f"the tag is {candidate.kind.tags.seeded}, a parameter 'seed': {seeded}",
    )
    if seeded:
        seed = int(candidate.make().params()["seed"]) + 1
        other = candidate.fit(candidate.panel, seed=seed)
        expect(candidate.digest(other) != candidate.digest(candidate.model), "another seed gives the same model")


def artifact_gives_the_same_bits(candidate: Candidate) -> None:
    """Out of its artifact, a model forecasts the same to the last bit, intervals included."""
    with _saved(candidate) as folder:
        loaded, manifest = load_artifact(folder, candidate.catalog)
    expect(manifest.model == candidate.name, f"the manifest names '{manifest.model}'")
    expect(candidate.digest(loaded) == candidate.digest(candidate.model), "the loaded model forecasts differently")
    got, expected = candidate.forecast(loaded), candidate.forecast()
    expect(np.array_equal(got.values, expected.values), "the loaded intervals differ")
    rebuilt = build(candidate.catalog, candidate.name, loaded.params())
    expect(rebuilt.context == candidate.model.context, "the loaded parameters build another model")


def corrupted_artifact_refused(candidate: Candidate) -> None:
    """One changed byte in any file of the artifact is found at load, by the file's name."""
    with _saved(candidate) as folder:
        for path in sorted(folder.iterdir()):
            whole = path.read_bytes()
            place = len(whole) // 2
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            refused(ArtifactCorrupt, lambda: load_artifact(folder, candidate.catalog), names=path.name)
            path.write_bytes(whole)
        (folder / MANIFEST).unlink()
        refused(ArtifactCorrupt, lambda: load_artifact(folder, candidate.catalog), names=MANIFEST)


@contextmanager
def _saved(candidate: Candidate) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "artifact"
        save_artifact(candidate.model, SCHEMA, folder)
        yield folder


def pickles_give_the_same_bits(candidate: Candidate) -> None:
    """Pickled on its way to a worker, a model forecasts there what it does here."""
    copy = pickle.loads(pickle.dumps(candidate.model))  # noqa: S301 - our own, just written
    expect(candidate.digest(copy) == candidate.digest(candidate.model), "the copy forecasts differently")


def loop_runs_where_it_is_told(candidate: Candidate) -> None:
    """Training runs on the given runner, with the tagged backend, and as it does without one."""
    runner = WatchedRunner()
    model = candidate.fit(candidate.panel, runner)
    backend = candidate.kind.tags.backend
    expect(set(runner.backends) == ({backend} if backend else set()), f"ran {runner.backends}, tagged {backend}")
    expect(candidate.digest(model) == candidate.digest(candidate.model), "the runner changes the model")


def training_resumes(candidate: Candidate) -> None:
    """From its first checkpoint, a loop goes on to where the uninterrupted one ends."""
    if candidate.kind.tags.backend is None:
        return
    whole = WatchedRunner()
    candidate.fit(candidate.panel, whole)
    expect(bool(whole.checkpoints), f"it reported the steps {whole.steps} and no checkpoint")
    expect(whole.steps == sorted(set(whole.steps)), f"steps do not increase: {whole.steps}")
    rest = WatchedRunner(start=whole.checkpoints[0])
    resumed = candidate.fit(candidate.panel, rest)
    expect(rest.steps == whole.steps[1:], f"after a restart it did the steps {rest.steps} of {whole.steps}")
    windows = candidate.origins()
    got, expected = resumed.predict(windows), candidate.model.predict(windows)
    expect(alike(got, expected, RESUMED), f"interrupted, it forecasts up to {np.abs(got - expected).max()} off")
