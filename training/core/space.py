"""What a hyper-parameter may be: the single source for every searcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cluster.errors import ConfigError


@dataclass(frozen=True)
class Real:
    """A number in [low, high]; `log` where the order of magnitude matters."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)


@dataclass(frozen=True)
class Whole:
    """A whole number in [low, high], both ends included."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)


@dataclass(frozen=True)
class Choice:
    """One of some values without an order."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("a choice needs values: got none, expected one or more")


Dimension = Real | Whole | Choice
Space = dict[str, Dimension]


def _check_range(low: float, high: float, log: bool) -> None:
    if low >= high or (log and low <= 0):
        raise ConfigError(
            f"a range is not usable: got low={low}, high={high}, log={log}, "
            "expected low below high, and above 0 where log",
            low=low,
            high=high,
        )
