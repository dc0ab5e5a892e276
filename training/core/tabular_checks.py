"""The exam that every regressor and classifier of a catalog sits: what the contracts promise, tried."""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np

from cluster.errors import ArtifactCorrupt, ConfigError, DataError, NotFittedError, SignatureMismatch
from training.core.artifact import from_bytes, load_artifact, save_artifact, to_bytes
from training.core.component import build
from training.core.exam import Check, expect, refused
from training.core.space import Choice
from training.core.tabular import log_loss, priors
from training.core.tabular_candidate import LATER, SCHEMA, TabularCandidate

CLOSE = 1e-6
REACHED_R2 = 0.6
"""Share of the variance that every regressor explains on rows whose noise is a hundredth of it."""
REACHED_LOSS = 0.75
"""Log loss of every classifier on later rows, as a share of the loss of the classes' shares."""


def params_round_trip(candidate: TabularCandidate) -> None:
    """Parameters build the same member again, also after a trip through JSON; misspelt ones are refused."""
    params = candidate.make().params()
    for given in (params, from_bytes(to_bytes(params))):
        rebuilt = build(candidate.catalog, candidate.name, given).params()
        expect(json.dumps(rebuilt) == json.dumps(params), f"not rebuilt from {given}")
    refused(ConfigError, lambda: candidate.make(no_such_parameter=1), names="no_such_parameter")


def search_space_is_buildable(candidate: TabularCandidate) -> None:
    """Both ends of every dimension are accepted by the constructor."""
    for name, dimension in candidate.kind.search_space().items():
        ends = dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
        for end in ends:
            candidate.make(**{name: end})


def not_fitted_is_an_error(candidate: TabularCandidate) -> None:
    """Before `fit` there are no answers and no state."""
    fresh = candidate.make()
    refused(NotFittedError, lambda: candidate.answers(fresh), names=candidate.name)
    expect(fresh.state() == {}, "it has a state before it is fitted")


def learns_what_there_is(candidate: TabularCandidate) -> None:
    """On later rows it is far better than answering the same for all."""
    inputs, truth = candidate.later
    answers = candidate.answers(candidate.model)
    if candidate.classes:
        loss = log_loss(truth, answers) / log_loss(truth, np.tile(priors(truth, candidate.classes), (LATER, 1)))
        expect(loss < REACHED_LOSS, f"its log loss is {loss:.2f} of that of the classes' shares")
        return
    explained = 1 - np.square(answers[:, 0] - truth).mean() / truth.var()
    expect(bool(explained > REACHED_R2), f"it explains {explained:.2f} of the variance of {len(inputs)} rows")


def answers_have_their_shape(candidate: TabularCandidate) -> None:
    """One finite answer a row, probabilities add up to 1, also for one row and for none."""
    for rows in (LATER, 1, 0):
        answers = candidate.answers(candidate.model, candidate.later[0][:rows])
        expect(answers.shape == (rows, candidate.classes or 1), f"{rows} rows have answers {answers.shape}")
        expect(bool(np.isfinite(answers).all()), "an answer is not finite")
        if candidate.classes:
            fine = np.allclose(answers.sum(axis=1), 1) and (answers >= 0).all()
            expect(bool(fine), "probabilities are negative or do not add up to 1")


def rows_keep_to_themselves(candidate: TabularCandidate) -> None:
    """Answer a row as it is, whatever rows stand beside it."""
    together = candidate.answers(candidate.model)
    alone = candidate.answers(candidate.model, candidate.later[0][7:8])
    expect(bool(np.allclose(alone, together[7:8], rtol=CLOSE)), "a row's answer differs when it is alone")


def other_columns_are_refused(candidate: TabularCandidate) -> None:
    """Rows with another number of columns are named, as are targets that cannot be learned."""
    inputs, target = candidate.train
    refused(SignatureMismatch, lambda: candidate.answers(candidate.model, inputs[:, 1:]), names="columns")
    refused(DataError, lambda: candidate.fit((inputs[:-1], target)))
    refused(DataError, lambda: candidate.fit((inputs[:1], target[:1])))
    bad = target.copy()
    bad[0] = candidate.classes if candidate.classes else np.nan
    refused(DataError, lambda: candidate.fit((inputs, bad)))


def constant_targets_are_learned(candidate: TabularCandidate) -> None:
    """Where all targets are the same, so are the answers; a class that was not seen keeps a chance."""
    inputs, target = candidate.train
    if not candidate.classes:
        answers = candidate.answers(candidate.fit((inputs, np.full(len(target), 5.0))))
        expect(bool(np.allclose(answers, 5.0)), "it does not answer the only target that there is")
        return
    two = np.minimum(target, 1)
    answers = candidate.answers(candidate.fit((inputs, two)))
    expect(bool((answers[:, 2] < answers[:, :2].max(axis=1)).all()), "it prefers a class that it never saw")


def fits_are_reproducible(candidate: TabularCandidate) -> None:
    """Fitted twice, it is the same to the last bit; global random numbers are left alone."""
    before = pickle.dumps(np.random.get_state())
    again = candidate.fit()
    expect(pickle.dumps(np.random.get_state()) == before, "fitting draws numpy's global numbers")
    expect(candidate.digest(again) == candidate.digest(candidate.model), "a second fit differs")


def seed_is_used(candidate: TabularCandidate) -> None:
    """Another seed gives another model where the tag says so; where it does not there is no seed."""
    seeded = "seed" in candidate.kind.parameter_names()
    expect(seeded == candidate.tags.seeded, f"the tag is {candidate.tags.seeded}, a parameter 'seed': {seeded}")
    if seeded:
        other = candidate.fit(seed=7)
        expect(candidate.digest(other) != candidate.digest(candidate.model), "another seed gives the same model")


def artifact_gives_the_same_bits(candidate: TabularCandidate) -> None:
    """Out of its artifact and out of a pickle it answers the same to the last bit; a changed byte is found."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "artifact"
        save_artifact(candidate.model, SCHEMA, folder)
        loaded, _ = load_artifact(folder, candidate.catalog)
        expect(candidate.digest(loaded) == candidate.digest(candidate.model), "the loaded model differs")
        copy = pickle.loads(pickle.dumps(candidate.model))  # noqa: S301 - our own, just written
        expect(candidate.digest(copy) == candidate.digest(candidate.model), "the pickled model differs")
        path = folder / "arrays.npz"
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 0xFF]) + whole[-8:])
        refused(ArtifactCorrupt, lambda: load_artifact(folder, candidate.catalog), names=path.name)


def stages_are_what_they_say(candidate: TabularCandidate) -> None:
    """With held-out rows a staged family stops at its best round, and answers as of others; time can end it."""
    if not candidate.tags.staged:
        expect(candidate.model.stage == 0, "it has a stage and no tag for it")
        return
    model = candidate.fit(held_out=candidate.later, rounds=400, patience=10)
    best = model.stage
    expect(0 < best < 400, f"it stopped at round {best} of 400 on noisy rows")
    early = candidate.answers(model.at_stage(1)).copy()
    expect(not np.allclose(early, candidate.answers(model.at_stage(best))), "rounds make no difference")
    expect(model.at_stage(10_000).stage >= best, "it forgot rounds that it has grown")
    asked = count()
    short = candidate.fit(until=lambda: next(asked) >= 3)
    expect(short.stage <= 5, f"told to end after 3 rounds it grew {short.stage}")


_ALL: tuple[Callable[[TabularCandidate], None], ...] = (
    params_round_trip,
    search_space_is_buildable,
    not_fitted_is_an_error,
    learns_what_there_is,
    answers_have_their_shape,
    rows_keep_to_themselves,
    other_columns_are_refused,
    constant_targets_are_learned,
    fits_are_reproducible,
    seed_is_used,
    artifact_gives_the_same_bits,
    stages_are_what_they_say,
)
TABULAR_CHECKS: tuple[Check[TabularCandidate], ...] = tuple(Check.of(each) for each in _ALL)
