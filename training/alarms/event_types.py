"""Which type of anomaly an event is: one small rule each, over its evidence.

security
    Its main column is about access: a word of ACCESS in its name.
content
    A whole-number column (a code, a state, a category) has a value that the history never had.
structural
    A column is missing in half of the rows, or stands still though it usually moves, or moved alone: the others
    are as usual at that time, and make it stranger by half than it is by itself, 6 deviations or more.
performance
    Its main column is about how well a service runs: a word of SERVICE in its name, or one of its units.
behavioural
    It lasts half a season, twice the gap and six rows; no value is 6 deviations out; and the level is shifted by
    1.5 deviations, or the unrest doubled or halved.
temporal
    A value within its history is 4 deviations or more away from what is usual at that time of season.
statistical
    A value lies beyond its history, or nothing else applies.

Beyond its history is outside of all but two in a thousand of the values that the column had.

An event may have several; the first of this order names it, since it says most about what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, get_args

from training.alarms.evidence import Evidence

EventType = Literal["security", "content", "structural", "performance", "behavioural", "temporal", "statistical"]
TYPES: tuple[EventType, ...] = get_args(EventType)
"""In the order in which they name an event."""

ACCESS = frozenset(
    (
        "access",
        "auth",
        "authentication",
        "denied",
        "firewall",
        "intrusion",
        "login",
        "logins",
        "password",
        "permission",
        "token",
    )
)
SERVICE = frozenset(
    (
        "availability",
        "cpu",
        "disk",
        "error",
        "errors",
        "latency",
        "memory",
        "queue",
        "response",
        "throughput",
        "timeout",
        "utilization",
    )
)
SERVICE_UNITS = frozenset(("ms", "us", "req/s", "1/s", "Mbit/s", "Gbit/s", "B/s", "MB/s"))
FAR, VERY_FAR = 4.0, 6.0
SHIFT, UNREST, TIED = 1.5, 2.0, 1.5


def security(evidence: Evidence) -> str | None:
    """Say whether the main column is about access."""
    word = _word(evidence.main.column, ACCESS)
    return word and f"column '{evidence.main.column}' is about access ('{word}')"


def content(evidence: Evidence) -> str | None:
    """Say which code was never seen."""
    return f"'{evidence.unseen[0]}' has a value that the history never had" if evidence.unseen else None


def structural(evidence: Evidence) -> str | None:
    """Say what is missing, stands still, or fell out of step."""
    for name, share in evidence.missing.items():
        if share >= 0.5:
            return f"'{name}' is missing in {share:.0%} of the rows"
    if evidence.still:
        return f"'{evidence.still[0]}' stands still over {evidence.rows} rows"
    for name, far in evidence.conditional.items():
        others = [evidence.seasonal[each] for each in evidence.conditional if each != name]
        tied = far >= TIED * evidence.seasonal[name]
        if others and tied and far >= VERY_FAR and max(others) < FAR:
            return f"'{name}' moved alone, {far:.1f} deviations out of step with the other columns"
    return None


def temporal(evidence: Evidence) -> str | None:
    """Say which usual value came at an unusual time."""
    for name, far in evidence.seasonal.items():
        if evidence.season > 1 and far >= FAR and not evidence.beyond:
            return f"'{name}' is {far:.1f} deviations from what is usual at that time, and within its history"
    return None


def performance(evidence: Evidence) -> str | None:
    """Say whether the main column is about how well a service runs."""
    main = evidence.main
    word = _word(main.column, SERVICE)
    if word:
        return f"column '{main.column}' is about how well a service runs ('{word}')"
    return f"column '{main.column}' is measured in {main.unit}" if main.unit in SERVICE_UNITS else None


def behavioural(evidence: Evidence) -> str | None:
    """Say what was otherwise for long without being far out."""
    lasting = max(evidence.season / 2, 2 * evidence.gap, 6)
    if evidence.rows < lasting or max(evidence.plain.values()) >= VERY_FAR:
        return None
    for name, shift in evidence.shift.items():
        if abs(shift) >= SHIFT:
            return f"'{name}' is shifted by {shift:+.1f} deviations over {evidence.rows} rows"
    for name, ratio in evidence.spread.items():
        if ratio >= UNREST or ratio <= 1 / UNREST:
            return f"'{name}' is {ratio:.1f} times as restless as usual over {evidence.rows} rows"
    return None


def statistical(evidence: Evidence) -> str | None:
    """Say which value is far out."""
    if not evidence.beyond:
        return None
    name = max(evidence.beyond, key=lambda each: evidence.plain[each])
    return f"'{name}' is beyond its history, {evidence.plain[name]:.1f} deviations from its median"


RULES: dict[EventType, Callable[[Evidence], str | None]] = {
    "security": security,
    "content": content,
    "structural": structural,
    "performance": performance,
    "behavioural": behavioural,
    "temporal": temporal,
    "statistical": statistical,
}


def types_of(evidence: Evidence) -> dict[EventType, str]:
    """Return type -> reason, the naming one first; at least `statistical`."""
    found = {name: reason for name in TYPES if (reason := RULES[name](evidence))}
    return found or {"statistical": "its score alone is out of the ordinary"}


def _word(column: str, words: frozenset[str]) -> str | None:
    parts = re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", column).lower())
    return next((part for part in parts if part in words), None)
