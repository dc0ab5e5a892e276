"""State machines in named actors: callers on any node share one state, which survives its process and its node."""

from __future__ import annotations

import os
import time
from typing import Any, Generic, TypeVar
from uuid import uuid4

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayTaskError

from cluster.clock import SystemClock
from cluster.errors import HeliotropeError, TransientError
from cluster.state.durable import Durable
from cluster.state.machine import Json, Machine
from cluster.storage.files import Storage

K = TypeVar("K")
PAUSE_S = 0.1


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class StateActor:
    """A `Durable` in a process of its own.

    Ray starts it anew after a death, where it reloads, and sends the unanswered commands again, which their ids
    make harmless.
    """

    def __init__(self, machine: type[Machine[Any]], storage_url: str, path: str) -> None:
        self._durable = Durable(machine, Storage(storage_url), path, SystemClock())

    def do(self, command: Any, command_id: str) -> Json:
        """Run a command."""
        return self._durable.do(command, command_id)

    def state(self) -> Json:
        """Return the whole state."""
        return self._durable.state()

    def pid(self) -> int:
        """Return the id of the process."""
        return os.getpid()


class SharedState(Generic[K]):
    """A caller's handle on the one actor of a name, which is made at first use.

    Parameters
    ----------
    machine
        The class of the state.
    storage_url
        Where it is kept; on more than one machine a place all of them reach.
    name
        The actor's name and the state's file; the machine's kind where None.
    namespace
        Ray namespace of the name; the connection's own where None.
    detached
        Let the actor outlive the program that made it.
    timeout_s
        How long a call waits for an actor that is being restarted.

    Raises
    ------
    TransientError
        From every method: no answer came in time. Ask again with the same `command_id`.
    """

    def __init__(
        self,
        machine: type[Machine[K]],
        storage_url: str,
        *,
        name: str | None = None,
        namespace: str | None = None,
        detached: bool = False,
        timeout_s: float = 60.0,
    ) -> None:
        self.name = name or machine.kind
        self._arguments = (machine, storage_url, f"state/{self.name}.json")
        self._options = {
            "name": self.name,
            "namespace": namespace,
            "lifetime": "detached" if detached else None,
            "get_if_exists": True,
        }
        self._timeout_s = timeout_s
        self._handle: Any = None

    def do(self, command: K, command_id: str | None = None) -> Json:
        """Run a command and return its answer; a command id that was answered before gets that answer again."""
        return self._call("do", command, command_id or uuid4().hex)

    def state(self) -> Json:
        """Return the whole state."""
        return self._call("state")

    def pid(self) -> int:
        """Return the id of the actor's process."""
        return int(self._call("pid"))

    def actor(self) -> Any:
        """Return Ray's handle of the actor."""
        # Kept: an actor that is not detached ends with the last handle its maker holds.
        if self._handle is None:
            kind: Any = StateActor  # what @ray.remote makes of the class has no types
            self._handle = kind.options(**self._options).remote(*self._arguments)
        return self._handle

    def close(self) -> None:
        """End the actor; its state stays in storage."""
        ray.kill(self.actor(), no_restart=True)
        self._handle = None

    def _call(self, method: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + self._timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            try:
                return ray.get(getattr(self.actor(), method).remote(*arguments), timeout=left_s)
            except RayTaskError as error:
                raise _cause(error) from error
            except (ActorDiedError, ActorUnavailableError, GetTimeoutError) as error:
                self._handle = None if isinstance(error, ActorDiedError) else self._handle
                if left_s <= PAUSE_S:
                    raise TransientError(
                        f"state '{self.name}' does not answer within {self._timeout_s:g} s: {error}", name=self.name
                    ) from error
            # A dead actor's name is free only a moment later.
            time.sleep(PAUSE_S)


def _cause(error: Any) -> Exception:
    return error.cause if isinstance(error.cause, HeliotropeError) else error
