"""Measures the energy of a trial, in the process that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import Any

from cluster.errors import ConfigError
from training.core.parameters import one_of

METERS = ("auto", "codecarbon", "estimate")


class Meter(ABC):
    """Measures from `start` to `stop`."""

    @abstractmethod
    def start(self, name: str) -> None:
        """Begin."""

    @abstractmethod
    def stop(self, name: str) -> float | None:
        """Return the kilowatt hours since the start; None where nothing measures."""


class NoMeter(Meter):
    """Measures nothing: energy is estimated from processor seconds."""

    def start(self, name: str) -> None:
        """Do nothing."""

    def stop(self, name: str) -> float | None:  # noqa: ARG002 - measures nothing
        """Return None."""
        return None


class CodeCarbonMeter(Meter):
    """codecarbon's tracker of this process, without network and files.

    It reads the machine's counters where it may (RAPL, NVML), and else takes the processor's rated power times its
    load: in most virtual machines that is an estimate too, of another kind than ours. To find out what the machine
    has costs seconds, once a worker. Its carbon is not used: the grid's intensity is a setting of ours.
    """

    def __init__(self) -> None:
        from codecarbon import OfflineEmissionsTracker

        self._tracker: Any = OfflineEmissionsTracker(
            country_iso_code="USA",  # asked for, and without an effect on energy
            measure_power_secs=3600,
            output_methods=[],
            log_level="error",
            allow_multiple_runs=True,
            tracking_mode="process",
        )

    def start(self, name: str) -> None:
        """Begin a task."""
        self._tracker.start_task(name)

    def stop(self, name: str) -> float | None:
        """End the task and return its energy."""
        return float(self._tracker.stop_task(name).energy_consumed)


def meter_named(name: str) -> str:
    """Return which meter is meant: `auto` is codecarbon where it is installed.

    Raises
    ------
    ConfigError
        The name is unknown, or codecarbon is asked for and not installed.
    """
    installed = find_spec("codecarbon") is not None
    if one_of("energy", name, METERS) == "auto":
        return "codecarbon" if installed else "estimate"
    if name == "codecarbon" and not installed:
        raise ConfigError("energy: got 'codecarbon', which is not installed; pip install \"heliotrope[energy]\"")
    return name


def open_meter(name: str) -> Meter:
    """Return a meter for this process."""
    return CodeCarbonMeter() if meter_named(name) == "codecarbon" else NoMeter()
