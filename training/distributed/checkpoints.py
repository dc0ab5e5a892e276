"""Checkpoints in a folder on shared storage: written whole or not at all, read with their digest checked."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cluster.errors import ArtifactCorrupt, ConfigError
from training.core.artifact import from_bytes, to_bytes
from training.core.component import State
from training.core.runner import Loop

MAGIC = b"HELIOCKPT1"
NAME = re.compile(r"step-(\d{8})\.ckpt")
DIGEST_BYTES = hashlib.sha256().digest_size

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A state and the step after which it was taken."""

    step: int
    state: State


class CheckpointFolder:
    """The last few checkpoints of one run.

    A file is a magic word, the sha256 of what follows, and the state without pickles. It appears under its name
    by one rename, so a writer that is killed leaves at most a file nobody looks at; a file that storage has
    damaged fails its digest, and the one before it is taken.

    Parameters
    ----------
    path
        The run's own folder; on several machines, one that all of them see. Made at the first save.
    keep
        How many of the newest stay, at least 2: the older is the way back where the newer one is damaged.
    """

    def __init__(self, path: Path | str, *, keep: int = 2) -> None:
        if keep < 2:
            raise ConfigError(f"checkpoints to keep: got {keep}, expected 2 or more", field="keep", got=keep)
        self.path = Path(path)
        self.keep = keep

    def of_job(self, loop: Loop, job: Mapping[str, Any]) -> CheckpointFolder:
        """Return the folder below this one that belongs to `loop` on `job`: nobody resumes another's work."""
        digest = hashlib.sha256(f"{loop.__module__}:{loop.__qualname__}".encode())
        _digest(job, digest)
        return CheckpointFolder(self.path / digest.hexdigest()[:16], keep=self.keep)

    def save(self, step: int, state: State) -> Path:
        """Write the state of a finished step; it is on storage when this returns."""
        self.path.mkdir(parents=True, exist_ok=True)
        payload = to_bytes(state)
        target = self._file(step)
        aside = target.with_suffix(f".{os.getpid()}.tmp")
        with aside.open("wb") as file:
            file.write(MAGIC + hashlib.sha256(payload).digest() + payload)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
        _sync_folder(self.path)
        self._prune()
        return target

    def steps(self) -> list[int]:
        """Return the steps that have a file, newest first; a file may still prove damaged."""
        if not self.path.is_dir():
            return []
        names = (NAME.fullmatch(entry.name) for entry in self.path.iterdir())
        return sorted((int(name[1]) for name in names if name), reverse=True)

    def load(self, step: int) -> Checkpoint:
        """Return the checkpoint of `step`; raise ArtifactCorrupt where it is missing or damaged."""
        file = self._file(step)
        try:
            data = file.read_bytes()
        except OSError as error:
            raise ArtifactCorrupt(f"checkpoint '{file}' cannot be read ({error})", file=file.name) from error
        head = len(MAGIC) + DIGEST_BYTES
        payload = data[head:]
        if data[:head] != MAGIC + hashlib.sha256(payload).digest():
            raise ArtifactCorrupt(
                f"checkpoint '{file}' is torn or damaged: its sha256 differs from the one in its head",
                file=file.name,
            )
        return Checkpoint(step=step, state=from_bytes(payload))

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint, or None; a damaged one is passed over with a warning in the log."""
        for step in self.steps():
            try:
                return self.load(step)
            except ArtifactCorrupt as error:
                log.warning("%s; taking the one before it", error)
        return None

    def _file(self, step: int) -> Path:
        return self.path / f"step-{step:08d}.ckpt"

    def _prune(self) -> None:
        for step in self.steps()[self.keep :]:
            self._file(step).unlink(missing_ok=True)


def _digest(value: Any, digest: hashlib._Hash) -> None:
    """Feed names, settings and arrays, without a second copy of these."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            digest.update(f"{key}=".encode())
            _digest(value[key], digest)
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)}]".encode())
        for item in value:
            _digest(item, digest)
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    else:
        digest.update(pickle.dumps(value))


def _sync_folder(path: Path) -> None:
    """Make the rename durable."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
