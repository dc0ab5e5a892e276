"""Which versions stay in memory: the least lately used go first, none that is in use, never too many."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from cluster.errors import ConfigError


@dataclass(slots=True)
class _Place:
    size_bytes: int
    inside: int = 0


class Residents:
    """Versions in memory by `name@version`, bounded in bytes.

    Who does not fit beside what is in use is not let in, so that the bound holds at every moment. Only what is set
    aside later for who never leaves can bring them over it, until the next one comes.

    Parameters
    ----------
    budget_bytes
        Most that all of them take; 1 or more.
    """

    def __init__(self, budget_bytes: int) -> None:
        if budget_bytes < 1:
            raise ConfigError(f"budget of models: got {budget_bytes} bytes, expected 1 or more")
        self.budget_bytes = budget_bytes
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._total_bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    @property
    def total_bytes(self) -> int:
        """What they take, and what is set aside."""
        return self._total_bytes

    @property
    def keys(self) -> tuple[str, ...]:
        """Who they are, the least lately used first."""
        return tuple(self._places)

    def fits(self, size_bytes: int) -> bool:
        """Return whether there is room without anybody going."""
        return self._total_bytes + size_bytes <= self.budget_bytes

    def set_aside(self, size_bytes: int) -> None:
        """Count what comes and is not theirs; negative where it goes."""
        self._total_bytes += size_bytes

    def admit(self, key: str, size_bytes: int) -> tuple[str, ...] | None:
        """Let a version in that is not there; return who goes for it, or None where it cannot be: nothing changes.

        Those that go are the least lately used that nobody is inside of, as few as make room.
        """
        going, free_bytes = list[str](), self.budget_bytes - self._total_bytes
        idle = (name for name, place in self._places.items() if not place.inside)
        while free_bytes < size_bytes:
            name = next(idle, None)
            if name is None:
                return None
            going.append(name)
            free_bytes += self._places[name].size_bytes
        for name in going:
            self.drop(name)
        self._places[key] = _Place(size_bytes)
        self._total_bytes += size_bytes
        return tuple(going)

    def enter(self, key: str) -> None:
        """Count a request that goes inside: the version is now the last that was used, and stays."""
        self._places[key].inside += 1
        self._places.move_to_end(key)

    def look_in(self, key: str) -> None:
        """Count who keeps a version from going without using it: a probe, or its loading."""
        self._places[key].inside += 1

    def leave(self, key: str) -> bool:
        """Count one who has come out; return whether it was the last one inside."""
        place = self._places[key]
        place.inside -= 1
        return not place.inside

    def drop(self, key: str) -> None:
        """Forget a version."""
        self._total_bytes -= self._places.pop(key).size_bytes
