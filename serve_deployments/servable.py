"""What a graph can serve: a version that answers questions of one kind, by members behind shared features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from cluster.errors import PermanentError, UserError


class Servable(ABC):
    """A version in memory, cut into the nodes of a graph.

    The nodes of a question are validate -> prepare (features) -> one a member -> combine (ensemble) -> describe
    (calibrate). The same nodes run after another in one process or spread over deployments; so what passes between
    them, features and outputs, must travel between processes and must not depend on what shares a batch.

    A kind of model becomes servable by one subclass and one line in `handlers/kinds.py`; graph, batches, placement,
    life cycle and HTTP come with it.

    Attributes
    ----------
    kind
        What it answers, such as `forecast`: the word in a spec, and what a route asks the shelf for.
    result_type
        Dataclass of arrays, texts and numbers that `describe` returns; None keeps answers out of stores outside the
        process.
    name, version
        As registered.
    metrics
        As measured before registration.
    even
        Every job takes about as long as the probe; those of uneven kinds never run on the event loop.
    """

    kind: ClassVar[str]
    even: ClassVar[bool] = True
    result_type: ClassVar[type | None] = None
    name: str
    version: str
    metrics: Mapping[str, float]

    @property
    def key(self) -> str:
        """Name and version in one word."""
        return f"{self.name}@{self.version}"

    @property
    @abstractmethod
    def members(self) -> tuple[str, ...]:
        """Names of its members: a node each."""

    @abstractmethod
    def validate(self, question: Any) -> Any:
        """Return the job of a typed question; raise a UserError that names field, got, expected."""

    def may_be_kept(self, question: Any) -> bool:  # noqa: ARG002 - of kinds whose answers are not kept
        """Return whether the answer to a question may be given to equal ones."""
        return False

    def identity(self, job: Any) -> bytes:
        """Return a digest of all that the answer to a job follows from, where it may be kept."""
        raise NotImplementedError(f"answers of '{self.kind}' are not kept")

    def weight(self, job: Any) -> int:  # noqa: ARG002 - of kinds whose jobs are all one size
        """Return how many rows the job adds to a batch: what a batch's time grows with."""
        return 1

    def alike(self, job: Any) -> Hashable:  # noqa: ARG002 - of kinds whose jobs all fit together
        """Return what jobs must have in common to share a batch."""
        return None

    @abstractmethod
    def prepare(self, jobs: Sequence[Any]) -> Any:
        """Return the features of alike jobs: something with a length, the first axis of each member's output."""

    @abstractmethod
    def join(self, features: Sequence[Any]) -> Any:
        """Return features that were prepared apart, as one."""

    @abstractmethod
    def member(self, index: int, features: Any) -> np.ndarray[Any, Any]:
        """Return (len(features), ...): what one member makes of the features."""

    @abstractmethod
    def combine(self, outputs: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Return the members' outputs, in their order, as one."""

    @abstractmethod
    def describe(self, jobs: Sequence[Any], combined: np.ndarray[Any, Any]) -> Sequence[Any]:
        """Return each job's result; an error in its place where only that job is at fault."""

    @abstractmethod
    def plain(self, result: Any) -> dict[str, Any]:
        """Return a result's fields of the answer, as orjson writes them."""

    def explanation(self, question: Any) -> Callable[[], list[dict[str, Any]]] | None:  # noqa: ARG002
        """Return what computes the explanation that a question asks for; None where it asks for none."""
        return None

    def table(self, result: Any) -> pa.Table:  # noqa: ARG002 - of kinds without tables
        """Return a result as an Arrow table; raise UserError where this kind answers in JSON alone."""
        raise UserError(f"'{self.name}' answers in JSON alone: ask with 'Accept: application/json'")

    @abstractmethod
    def probe(self) -> Any:
        """Return a made-up job in the middle of what is possible, to see whether the version answers."""

    @abstractmethod
    def info(self, *, default: bool) -> dict[str, Any]:
        """Return what GET /api/models tells."""

    def asleep(self) -> Servable | None:
        """Return what stands for the version while its weights are not in memory, see `Asleep`.

        None of kinds that need them for validation: those never leave memory.
        """
        return None


class AsleepError(PermanentError):
    """A node of a version was asked while its weights are not in memory: a fault of ours."""


class Asleep(Servable):
    """The nodes of a version that sleeps: none works. Its kind validates and tells, see `Servable.asleep`.

    It holds nothing of the version in memory, so that whoever keeps it keeps no weights.
    """

    def prepare(self, jobs: Sequence[Any]) -> Any:  # noqa: ARG002
        """Raise AsleepError."""
        raise self._error()

    def join(self, features: Sequence[Any]) -> Any:  # noqa: ARG002
        """Raise AsleepError."""
        raise self._error()

    def member(self, index: int, features: Any) -> np.ndarray[Any, Any]:  # noqa: ARG002
        """Raise AsleepError."""
        raise self._error()

    def combine(self, outputs: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:  # noqa: ARG002
        """Raise AsleepError."""
        raise self._error()

    def describe(self, jobs: Sequence[Any], combined: np.ndarray[Any, Any]) -> Sequence[Any]:  # noqa: ARG002
        """Raise AsleepError."""
        raise self._error()

    def _error(self) -> AsleepError:
        return AsleepError(f"{self.key} sleeps: got a question to a node, expected a lease of the model cache")


def compute(servable: Servable, jobs: Sequence[Any]) -> Sequence[Any]:
    """Run all nodes after another in this process; return a result or an error for each job."""
    features = servable.prepare(jobs)
    outputs = [servable.member(index, features) for index in range(len(servable.members))]
    return servable.describe(jobs, servable.combine(outputs))


def compute_each(servable: Servable, jobs: Sequence[Any]) -> Sequence[Any]:
    """Compute jobs together; where that fails, one by one, so that a bad one fails alone."""
    try:
        return compute(servable, jobs)
    except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to its request
        if len(jobs) == 1:
            return [error]
        return [compute_each(servable, [job])[0] for job in jobs]


def member_each(servable: Servable, index: int, features: Sequence[Any]) -> Sequence[Any]:
    """Run one member once for features that were prepared apart; one by one where that fails."""
    try:
        together = servable.member(index, servable.join(features))
    except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to its request
        if len(features) == 1:
            return [error]
        return [member_each(servable, index, [each])[0] for each in features]
    return np.split(together, np.cumsum([len(each) for each in features])[:-1])
