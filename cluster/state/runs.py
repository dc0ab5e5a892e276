"""Runs and who works on them: work handed to one owner at a time, for as long as it shows signs of life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from cluster.errors import ConfigError, UnknownNameError
from cluster.state.machine import Json, Machine, plain

KEEP_ENDED = 1_000
"""Ended runs that are remembered; the oldest are forgotten first."""


@dataclass(frozen=True, kw_only=True)
class CreateRun:
    """Put a run on the list; an equal one already there stays as it is.

    Parameters
    ----------
    run
        Its name.
    payload
        JSON handed to whoever claims it.
    max_attempts
        Claims after which a run that did not finish has failed.
    """

    run: str
    payload: Any = None
    max_attempts: int = 3


@dataclass(frozen=True, kw_only=True)
class ClaimRun:
    """Take the oldest run that waits, or whose owner has gone silent.

    Parameters
    ----------
    owner
        Who takes it.
    lease_s
        Seconds without a heartbeat after which another may take it.
    """

    owner: str
    lease_s: float


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """Show a sign of life; `attempt` is what the claim answered."""

    run: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class FinishRun:
    """End a run well, with a JSON result."""

    run: str
    attempt: int
    result: Any = None


@dataclass(frozen=True, kw_only=True)
class FailRun:
    """Give a run back; it waits again unless its attempts are used up or `retry` is False."""

    run: str
    attempt: int
    reason: str
    retry: bool = True


RunCommand = CreateRun | ClaimRun | Heartbeat | FinishRun | FailRun


class RunLedger(Machine[RunCommand]):
    """Name -> run: waiting -> running -> finished or failed.

    A run is held by one attempt at a time. Heartbeat, FinishRun and FailRun of an attempt that no longer holds it
    are answered `accepted: False`, and change nothing: its owner stops working.
    """

    kind = "run-ledger"

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}

    def apply(self, command: RunCommand, now_s: float) -> Json:
        """Answer CreateRun `created`, ClaimRun `claimed` (run, attempt, payload; or None), others `accepted`."""
        match command:
            case CreateRun():
                return {"created": self._create(command)}
            case ClaimRun():
                return {"claimed": self._claim(command, now_s)}
            case Heartbeat():
                return {"accepted": self._beat(command, now_s)}
            case FinishRun():
                return {"accepted": self._end(command, state="finished", result=plain(command.result))}
            case FailRun():
                return {"accepted": self._fail(command)}

    def _create(self, command: CreateRun) -> bool:
        if command.max_attempts < 1:
            raise ConfigError(f"run '{command.run}': max_attempts: got {command.max_attempts}, expected 1 or more")
        known, payload = self.runs.get(command.run), plain(command.payload)
        if known is None:
            self.runs[command.run] = {
                "payload": payload,
                "max_attempts": command.max_attempts,
                "state": "waiting",
                "attempt": 0,
                "owner": None,
                "lease_s": 0.0,
                "lease_until_s": 0.0,
                "result": None,
                "reason": None,
            }
        elif known["payload"] != payload:
            raise ConfigError(f"run '{command.run}' is there already with another payload; choose another name")
        return known is None

    def _claim(self, command: ClaimRun, now_s: float) -> dict[str, Any] | None:
        if not 0.0 < command.lease_s < float("inf"):
            raise ConfigError(f"lease_s: got {command.lease_s}, expected seconds above 0")
        self._give_up_silent(now_s)
        for name, run in self.runs.items():
            if run["state"] == "waiting" or _silent(run, now_s):
                run.update(
                    state="running",
                    attempt=run["attempt"] + 1,
                    owner=command.owner,
                    lease_s=command.lease_s,
                    lease_until_s=now_s + command.lease_s,
                )
                return {"run": name, "attempt": run["attempt"], "payload": run["payload"]}
        return None

    def _give_up_silent(self, now_s: float) -> None:
        for run in list(self.runs.values()):
            if _silent(run, now_s) and run["attempt"] >= run["max_attempts"]:
                self._close(run, state="failed", reason=f"no sign of life from '{run['owner']}'")

    def _beat(self, command: Heartbeat, now_s: float) -> bool:
        run = self._held(command)
        if run is not None:
            run["lease_until_s"] = now_s + run["lease_s"]
        return run is not None

    def _end(self, command: FinishRun | FailRun, **changes: Any) -> bool:
        run = self._held(command)
        if run is not None:
            self._close(run, **changes)
        return run is not None

    def _fail(self, command: FailRun) -> bool:
        run = self._held(command)
        if run is None:
            return False
        if command.retry and run["attempt"] < run["max_attempts"]:
            run.update(state="waiting", owner=None, reason=command.reason)
        else:
            self._close(run, state="failed", reason=command.reason)
        return True

    def _held(self, command: Heartbeat | FinishRun | FailRun) -> dict[str, Any] | None:
        """Return the run where this attempt still holds it."""
        if command.run not in self.runs:
            raise UnknownNameError.of("run", command.run, self.runs)
        run = self.runs[command.run]
        return run if run["state"] == "running" and run["attempt"] == command.attempt else None

    def _close(self, run: dict[str, Any], **changes: Any) -> None:
        run.update(owner=None, **changes)
        ended = [name for name, each in self.runs.items() if each["state"] in ("finished", "failed")]
        for name in ended[: max(0, len(ended) - KEEP_ENDED)]:
            del self.runs[name]

    def to_json(self) -> Json:
        """Return the whole state."""
        return self.runs

    @classmethod
    def from_json(cls, state: Json) -> Self:
        """Rebuild what `to_json` gave."""
        self = cls()
        self.runs = state
        return self


def _silent(run: dict[str, Any], now_s: float) -> bool:
    return bool(run["state"] == "running" and run["lease_until_s"] <= now_s)
