"""A state machine that survives the death of its process: every change is in storage before it is answered."""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar

from cluster.clock import Clock
from cluster.errors import ArtifactCorrupt, UnknownNameError
from cluster.state.machine import Json, Machine, dump, plain
from cluster.storage.files import Storage

FORMAT = 1
REMEMBERED = 1_000
"""Answers kept for retries; a client that retries after this many later commands is too late."""

K = TypeVar("K")


class Durable(Generic[K]):
    """Runs a machine's commands, each exactly once, over restarts.

    A command is applied to a copy; the copy is written, with the answer under the command's id, in one file that is
    replaced as a whole; only then does it become the state. So a crash or a failing storage at any point leaves the
    state before the command or the state after it. A caller that got no answer asks again with the same id: it is
    applied if it was not, and answered from memory if it was.

    Parameters
    ----------
    machine
        The class of the state.
    storage, path
        Where the state lives; one Durable at a time writes there.
    clock
        Source of the time that commands see.

    Raises
    ------
    ArtifactCorrupt
        What is stored cannot be read.
    TransientError
        The storage does not answer.
    """

    def __init__(self, machine: type[Machine[K]], storage: Storage, path: str, clock: Clock) -> None:
        self._machine_type = machine
        self._storage = storage
        self._path = path
        self._clock = clock
        self._answers: dict[str, Json] = {}
        self._state: str = dump(machine().to_json())
        self._reload()

    def do(self, command: K, command_id: str) -> Json:
        """Apply a command and return the answer, which is the stored one where this id was answered before."""
        if command_id in self._answers:
            return self._answers[command_id]
        machine = self._machine()
        # Through JSON, so that the first answer and a repeated one are the same.
        answer = plain(machine.apply(command, self._clock.now_s()))
        state = dump(machine.to_json())
        if state == self._state:
            # Nothing to lose: asked again, the command finds the same state.
            return answer
        answers = dict(list(self._answers.items())[1 - REMEMBERED :]) | {command_id: answer}
        self._storage.write_bytes(self._path, self._pack(state, answers))
        self._state, self._answers = state, answers
        return answer

    def state(self) -> Json:
        """Return the machine's whole state."""
        return json.loads(self._state)

    def _machine(self) -> Machine[K]:
        return self._machine_type.from_json(self.state())

    def _pack(self, state: str, answers: dict[str, Json]) -> bytes:
        head = {"format": FORMAT, "kind": self._machine_type.kind, "answers": answers}
        return dump(head | {"state": json.loads(state)}).encode()

    def _reload(self) -> None:
        try:
            stored = self._storage.read_bytes(self._path)
        except UnknownNameError:
            return
        try:
            found: dict[str, Any] = json.loads(stored)
            if (found["format"], found["kind"]) != (FORMAT, self._machine_type.kind):
                raise ValueError(f"layout {found['format']} of a {found['kind']}")
            self._state, self._answers = dump(found["state"]), found["answers"]
            self._machine()
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactCorrupt(
                f"state file {self._path}: got {error!r}, expected layout {FORMAT} of a {self._machine_type.kind}; "
                "restore it from a backup, or move it away to begin anew",
                file=self._path,
            ) from error
