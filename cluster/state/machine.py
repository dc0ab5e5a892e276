"""What a state machine of the platform is: a state that changes by commands alone."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, Self, TypeVar

from cluster.errors import ConfigError

Json = Any
"""Nested: str -> number | string | bool | None | list | Json."""

K = TypeVar("K")


class Machine(ABC, Generic[K]):
    """Long-lived state, changed by commands (frozen dataclasses) and by nothing else.

    `apply` is a function of state, command and time: it reads no clock and no file, so that a command can be
    applied again to the state as it was before.
    """

    kind: ClassVar[str]

    @abstractmethod
    def apply(self, command: K, now_s: float) -> Json:
        """Change the state and return the answer; a refused command raises a UserError.

        Parameters
        ----------
        command
            One of the machine's commands.
        now_s
            The time, seconds since the epoch.
        """

    @abstractmethod
    def to_json(self) -> Json:
        """Return the whole state."""

    @classmethod
    @abstractmethod
    def from_json(cls, state: Json) -> Self:
        """Rebuild what `to_json` gave."""


def dump(value: Json) -> str:
    """Return a value as JSON text; raise ConfigError where it is none."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"got {value!r}, expected JSON without NaN and infinities: {error}") from error


def plain(value: Json) -> Json:
    """Return a value as it is after a trip through JSON: tuples become lists, keys strings."""
    return json.loads(dump(value))
