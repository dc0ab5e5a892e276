"""Spans of time in words."""

from __future__ import annotations

import pandas as pd

WORDS = {
    "s": "second",
    "min": "minute",
    "h": "hour",
    "D": "day",
    "B": "working day",
    "W": "week",
    "MS": "month",
    "ME": "month",
    "QS": "quarter",
    "QE": "quarter",
    "YS": "year",
    "YE": "year",
}
"""pandas offset -> one of it in words."""


def step_in_words(frequency: str) -> str:
    """Return a step as a noun: `hour`, `15 minutes`, `month`."""
    offset = pd.tseries.frequencies.to_offset(frequency)
    name = offset.name.split("-")[0]
    word = WORDS.get(name, name)
    return word if offset.n == 1 else f"{offset.n} {word}s"


def steps_in_words(count: int, frequency: str) -> str:
    """Return so many steps: `24 hours`, `1 day`, `96 steps of 15 minutes`."""
    word = step_in_words(frequency)
    if word[0].isdigit():
        return f"{count} {'step' if count == 1 else 'steps'} of {word}"
    return f"{count} {word}{'' if count == 1 else 's'}"
