"""Spans of time in words, and names that fit."""

from __future__ import annotations

import pandas as pd

NAME_LETTERS = 40
"""Letters of a name that may stand in a title or beside an axis."""
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
TICKS = {"hour": pd.Timedelta(hours=1), "minute": pd.Timedelta(minutes=1), "second": pd.Timedelta(seconds=1)}


def cut(name: str, letters: int = NAME_LETTERS) -> str:
    """Return a name of so many letters at most, cut in its middle: names that begin alike still differ."""
    if len(name) <= letters:
        return name
    half = (letters - 1) // 2
    return f"{name[:half]}\u2026{name[-half:]}"


def step_in_words(frequency: str) -> str:
    """Return a step as a noun: `hour`, `15 minutes`, `month`."""
    offset = pd.tseries.frequencies.to_offset(frequency)
    name = offset.name.split("-")[0]
    word = WORDS.get(name, name)
    return word if offset.n == 1 else f"{offset.n} {word}s"


def steps_in_words(count: int, frequency: str) -> str:
    """Return so many steps: `24 hours`, for 96 of a quarter of an hour too, `1 day`, `12 months`."""
    offset = pd.tseries.frequencies.to_offset(frequency)
    if isinstance(offset, pd.offsets.Tick) and offset.n > 1:
        span = count * pd.Timedelta(offset)
        for name, unit in TICKS.items():
            if span % unit == pd.Timedelta(0):
                return _counted(span // unit, name)
    word = step_in_words(frequency)
    return f"{count} times {word}" if word[0].isdigit() else _counted(count, word)


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
