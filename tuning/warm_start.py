"""Points that worked on similar data, to be tried early."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from cluster.errors import ArtifactCorrupt
from cluster.storage.files import Storage
from training.core.space import Space
from tuning.fingerprint import ALIKE, Fingerprint
from tuning.history import History, space_facts, studies
from tuning.proposer import Family, Start
from tuning.records import TrialRecord

MOST_STARTS = 4
"""Trials that a search spends at most on what worked elsewhere: were it all useless, so many are lost."""


def earlier_studies(storage: Storage) -> Iterable[History]:
    """Yield the studies on storage that can be read and say what data they were about."""
    for name in studies(storage):
        try:
            history = History.read(storage, name)
        except ArtifactCorrupt:  # it is named where it is asked for; here it only cannot help
            continue
        if "fingerprint" in history.about:
            yield history


def warm_starts(
    earlier: Iterable[History],
    own: Fingerprint,
    families: Mapping[str, Family],
    *,
    name: str = "",
    most: int = MOST_STARTS,
) -> list[Start]:
    """Return the best points of earlier studies on similar data, the most similar study first, one a study in turn.

    Parameters
    ----------
    earlier
        Studies that were made before.
    own
        Of this study's data.
    families
        What is searched now; a point of a space that is another one by now is left out.
    name
        Of this study, which is no earlier one.
    most
        How many points.

    References
    ----------
    Feurer, Springenberg and Hutter (2015), Initializing Bayesian Hyperparameter Optimization via Meta-Learning.
    """
    near = sorted(
        (
            (own.distance(Fingerprint.from_json(history.about["fingerprint"])), history.name, history)
            for history in earlier
            if history.name != name
        ),
        key=lambda each: each[:2],
    )
    queues = [_best_first(history, families) for distance, _, history in near if distance <= ALIKE]
    starts: list[Start] = []
    for rank in range(most):
        for queue in queues:
            if rank < len(queue) and queue[rank] not in starts and len(starts) < most:
                starts.append(queue[rank])
    return starts


def _best_first(history: History, families: Mapping[str, Family]) -> list[Start]:
    """Return a study's points, the best first, as far as their space is still the same."""
    same = {
        model
        for model, space in history.spaces.items()
        if model in families and _plain(space) == _plain(families[model].space)
    }
    kept = [each for each in history.finished() if each.feasible and each.model in same and each.draw]
    ordered = sorted(kept, key=_score)
    return [Start(model=each.model, draw=dict(each.draw)) for each in ordered[:MOST_STARTS]]


def _score(record: TrialRecord) -> tuple[float, int]:
    return (float("inf") if record.score is None else record.score, record.number)


def _plain(space: Space) -> str:
    return json.dumps(space_facts(space))
