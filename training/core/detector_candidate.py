"""Who sits the detectors' exam: a detector, and the series it is tried on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from training.core.catalog import Catalog
from training.core.component import build
from training.core.detector import Detector
from training.core.panel import Panel
from training.core.runner import Runner
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.core.windows import Floats

SEASON = 12
SIZES = (420, 300)
"""Rows of the series it learns from."""
LATER = 240
"""Rows of each series that come after them."""
STRANGE = slice(150, 162)
"""Among the later rows of each series, the strange ones."""

SCHEMA = Schema(
    name="watched",
    frequency="h",
    targets=(Column(name="flow", unit="kg"), Column(name="power", unit="kW")),
    season_length=SEASON,
)


def _wave(number: int, steps: Any, rng: np.random.Generator) -> pd.DataFrame:
    wave = np.sin(2 * np.pi * steps / SEASON)
    columns = {
        ID: f"plant-{number}",
        TIME: pd.Timestamp("2024-03-01") + pd.to_timedelta(steps, unit="h"),
        "flow": 50 + 5 * number + 10 * wave + rng.normal(0, 1, len(steps)),
        "power": 200 + 30 * np.roll(wave, 3) + rng.normal(0, 3, len(steps)),
    }
    return pd.DataFrame(columns)


def usual_panel() -> Panel:
    """Return two ragged series with a season of 12 steps, in which nothing is strange."""
    rng = np.random.default_rng(7)
    frames = [_wave(number, np.arange(size), rng) for number, size in enumerate(SIZES)]
    return Panel(pd.concat(frames, ignore_index=True), SCHEMA)


def later_panel() -> Panel:
    """Return the rows that follow, a few of each series turned about and lifted."""
    rng = np.random.default_rng(8)
    frames = [_wave(number, np.arange(size, size + LATER), rng) for number, size in enumerate(SIZES)]
    for frame in frames:
        strange = frame.index[STRANGE]
        frame.loc[strange, "flow"] = 170.0 - frame.loc[strange, "flow"] + rng.normal(0, 12, len(strange))
    return Panel(pd.concat(frames, ignore_index=True), SCHEMA)


def cut_out(panel: Panel, keep: Any) -> Panel:
    """Return some rows of the panel."""
    return Panel(panel.frame[keep].reset_index(drop=True), panel.schema)


@dataclass(frozen=True)
class DetectorCandidate:
    """A detector of a catalog, and what the checks ask of it again and again.

    Parameters
    ----------
    catalog
        Where it is listed.
    name
        Its name there.
    """

    catalog: Catalog[Detector]
    name: str

    @property
    def kind(self) -> type[Detector]:
        """The class."""
        return self.catalog.load(self.name)

    def make(self, **params: Any) -> Detector:
        """Return an unfitted detector of the example's size; `params` on top."""
        return build(self.catalog, self.name, self.kind.example_params() | params)

    def fit(self, panel: Panel | None = None, runner: Runner | None = None, **params: Any) -> Detector:
        """Return a detector fitted on the panel, the usual one when None."""
        return self.make(**params).fit(self.usual if panel is None else panel, runner=runner)

    @cached_property
    def usual(self) -> Panel:
        """What it learns from."""
        return usual_panel()

    @cached_property
    def later(self) -> Panel:
        """What it is asked about."""
        return later_panel()

    @cached_property
    def detector(self) -> Detector:
        """A fitted detector that no check may change."""
        return self.fit()

    def one(self, series: str) -> tuple[np.ndarray[Any, np.dtype[np.datetime64]], Floats]:
        """Return times and rows of one later series."""
        frame = self.later.frame[self.later.frame[ID] == series]
        return frame[TIME].to_numpy(dtype="datetime64[ns]"), frame[list(SCHEMA.names)].to_numpy(dtype=np.float64)

    def digest(self, detector: Detector) -> str:
        """Return a fingerprint of the detector's scores, to the last bit."""
        return hashlib.sha256(np.ascontiguousarray(detector.score(self.later).values).tobytes()).hexdigest()


def digest_elsewhere(kind: type[Detector]) -> str:
    """Return the digest of a detector fitted here; called in another process."""
    alone = Catalog[Detector]("detector", {kind.name: f"{kind.__module__}:{kind.__qualname__}"})
    candidate = DetectorCandidate(alone, kind.name)
    return candidate.digest(candidate.detector)
