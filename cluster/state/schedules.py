"""What is to be done again and again, and when next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from cluster.errors import ConfigError
from cluster.state.machine import Json, Machine, plain

LONGEST_S = 10 * 366 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Do something every `every_s` seconds; a plan of the same name is replaced.

    Parameters
    ----------
    name
        The schedule.
    every_s
        Seconds from one occurrence to the next, 1 s to ten years.
    payload
        JSON handed out with each occurrence.
    first_due_s
        Time of the first occurrence, seconds since the epoch; `every_s` from now where None.
    """

    name: str
    every_s: float
    payload: Any = None
    first_due_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Unplan:
    """Forget a schedule."""

    name: str


@dataclass(frozen=True, kw_only=True)
class ClaimDue:
    """Take the occurrences that are due.

    Parameters
    ----------
    limit
        Most to take at once; the rest stays for the next claim.
    """

    limit: int = 100


class Schedules(Machine[Plan | Unplan | ClaimDue]):
    """Name -> schedule. Each due occurrence is handed out exactly once, missed ones as well, the oldest first."""

    kind = "schedules"

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}

    def apply(self, command: Plan | Unplan | ClaimDue, now_s: float) -> Json:
        """Answer Plan with `next_due_s`, Unplan with `dropped`, ClaimDue with `due`, the list of occurrences."""
        match command:
            case Plan():
                return {"next_due_s": self._plan(command, now_s)}
            case Unplan():
                return {"dropped": self.entries.pop(command.name, None) is not None}
            case ClaimDue():
                return {"due": self._claim(command.limit, now_s)}

    def _plan(self, plan: Plan, now_s: float) -> float:
        if not 1.0 <= plan.every_s <= LONGEST_S:
            raise ConfigError(
                f"schedule '{plan.name}': every_s: got {plan.every_s}, expected seconds in [1, {LONGEST_S:g}]"
            )
        first = now_s + plan.every_s if plan.first_due_s is None else plan.first_due_s
        self.entries[plan.name] = {
            "every_s": plan.every_s,
            "payload": plain(plan.payload),
            "first_due_s": first,
            "handed_out": 0,
        }
        return first

    def _claim(self, limit: int, now_s: float) -> list[dict[str, Any]]:
        due: list[dict[str, Any]] = []
        while len(due) < limit:
            ready = [(_next_due_s(entry), name) for name, entry in self.entries.items()]
            if not ready or min(ready)[0] > now_s:
                break
            due_s, name = min(ready)
            entry = self.entries[name]
            due.append(
                {"name": name, "occurrence": entry["handed_out"], "due_s": due_s, "payload": entry["payload"]}
            )
            entry["handed_out"] += 1
        return due

    def to_json(self) -> Json:
        """Return the whole state."""
        return self.entries

    @classmethod
    def from_json(cls, state: Json) -> Self:
        """Rebuild what `to_json` gave."""
        self = cls()
        self.entries = state
        return self


def _next_due_s(entry: dict[str, Any]) -> float:
    # Multiplied, not added up: the grid does not drift.
    return float(entry["first_due_s"] + entry["handed_out"] * entry["every_s"])
