"""Lets the replicas of a served application exchange versions, and waits until all have."""

from __future__ import annotations

import time
from dataclasses import asdict

from cluster.errors import PermanentError, TransientError
from serve_deployments.graph import GraphSpec
from serve_deployments.versions.stock import key_of

TIMEOUT_S, POLL_S = 120.0, 0.5
INGRESS = "Ingress"


def exchange_versions(spec: GraphSpec, timeout_s: float = TIMEOUT_S) -> None:
    """Tell the board what is wanted, and return when every replica serves it.

    Raises
    ------
    PermanentError
        A version cannot be loaded; replicas go on with what they had.
    TransientError
        Not all replicas were there in time.
    """
    from serve_deployments.rollout import board_actor

    assert spec.traffic is not None  # noqa: S101 - asked for by `GraphSpec.exchanges_versions`
    board = board_actor.RayBoard(board_actor.get_or_create(spec.application, spec.traffic))
    models = [asdict(model) for model in spec.models]
    key, held, running = key_of(models), 0, 0
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        board.want(models)
        held, faults = board.holders(key)
        running = _running(spec.application)
        if faults:
            raise PermanentError(f"a version cannot be served: {'; '.join(faults)}")
        if held >= running > 0:
            return
        time.sleep(POLL_S)
    raise TransientError(
        f"versions were not exchanged within {timeout_s:g} s: got {held} replicas with them, expected {running}"
    )


def _running(application: str) -> int:
    from ray import serve
    from ray.serve.schema import ReplicaState

    found = serve.status().applications.get(application)
    return found.deployments[INGRESS].replica_states.get(ReplicaState.RUNNING, 0) if found else 0
