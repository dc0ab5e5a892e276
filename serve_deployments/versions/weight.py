"""What a version takes in memory, measured while it is loaded."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cluster.errors import ConfigError

T = TypeVar("T")
KNOB = "ML_MODEL_MEMORY_BYTES"


@dataclass(frozen=True, kw_only=True)
class Weight:
    """What a version takes.

    Parameters
    ----------
    key
        `name@version`.
    size_bytes
        Of its weights and all that is loaded with them.
    stays
        Whether its kind never leaves memory.
    """

    key: str
    size_bytes: int
    stays: bool = False


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def heap_bytes() -> int:
    """Return what this process has from malloc and not given back: arrays, tensors, and what boosters hold in C++.

    Resident memory does not tell it: what others have given back is used again before the process grows.

    Raises
    ------
    ConfigError
        The C library does not tell (it is no glibc from 2.33 on).
    """
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        raise ConfigError(f"{KNOB}: got a C library that does not tell its heap, expected glibc from 2.33 on")
    ask.restype = _MallInfo
    found = ask()
    return int(found.uordblks + found.hblkhd)


def give_back() -> None:
    """Return to the machine what malloc holds of memory that was freed: 2 ms for a hundred megabytes.

    Loads in other threads than those that freed it would grow the process by as much again.
    """
    ctypes.CDLL(None).malloc_trim(0)


def weigh(load: Callable[[], T], folder: Path) -> tuple[T, int]:
    """Return what `load` gives, and by how many bytes the heap grew; at least the size of the files.

    Where a load brings libraries along, which stay, the version is loaded once more and that is what counts. What
    other threads take or give back meanwhile counts too, so weigh where little else goes on. Files are the floor:
    boosters take 1.9 (LightGBM) to 2.3 (XGBoost) times theirs, an LSTM 1.9, a ridge 0.95.

    Parameters
    ----------
    load
        Returns a version, used once so that it has all that its first call makes.
    folder
        Its artifact.
    """
    imported = len(sys.modules)
    loaded, grown_bytes = _grown(load)
    if len(sys.modules) > imported:
        del loaded
        loaded, grown_bytes = _grown(load)
    return loaded, max(grown_bytes, sum(file.stat().st_size for file in folder.iterdir()))


def _grown(load: Callable[[], T]) -> tuple[T, int]:
    gc.collect(1)  # what loading leaves behind is young
    before_bytes = heap_bytes()
    loaded = load()
    gc.collect(1)
    return loaded, heap_bytes() - before_bytes


def check_fit(weights: Iterable[Weight], budget_bytes: int) -> None:
    """Raise ConfigError unless each version fits the budget beside those that never leave memory."""
    every = list(weights)
    staying_bytes = sum(each.size_bytes for each in every if each.stays)
    for each in every:
        beside_bytes = staying_bytes - each.size_bytes * each.stays
        if each.size_bytes + beside_bytes > budget_bytes:
            beside = f" beside {beside_bytes} bytes of models that never leave it" if beside_bytes else ""
            raise ConfigError(
                f"model '{each.key}' does not fit into the memory for models: got {each.size_bytes} bytes{beside}, "
                f"expected at most {budget_bytes}; raise {KNOB} or serve fewer models",
                model=each.key,
                got=each.size_bytes + beside_bytes,
                expected=budget_bytes,
            )
