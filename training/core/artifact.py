"""A learned thing on disk: JSON and arrays, each file with its digest, loaded by catalog name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cluster.errors import ArtifactCorrupt, SignatureMismatch
from training.core.catalog import Catalog
from training.core.component import C, Component, State, pack, unpack

FORMAT = 1
MANIFEST, STATE, ARRAYS = "manifest.json", "state.json", "arrays.npz"
LIBRARIES = ("heliotrope", "lightgbm", "numpy", "pandas", "ray", "statsforecast", "torch", "xgboost")


class Described(Protocol):
    """What a component was fitted on, in words: the schema of a panel or of a table."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        ...

    def digest(self) -> str:
        """Return the sha256 of its canonical JSON."""
        ...


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an artifact folder says about itself.

    Parameters
    ----------
    format
        Version of the folder's layout.
    model
        Catalog name.
    schema
        The data it was fitted on, as JSON.
    schema_digest
        sha256 of that schema.
    libraries
        Versions it was written with.
    files
        File name -> sha256.
    """

    format: int
    model: str
    schema: dict[str, Any]
    schema_digest: str
    libraries: dict[str, str]
    files: dict[str, str]


def save_artifact(component: Component, schema: Described, folder: Path) -> Manifest:
    """Write `component` into the new `folder`; the manifest last, so that a torn write has none.

    Raises
    ------
    FileExistsError
        The folder is there already: artifacts are never changed.
    """
    folder.mkdir(parents=True)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    packed = _split(pack(component), arrays, "")
    _write(folder / STATE, json.dumps(packed, allow_nan=False).encode())
    with (folder / ARRAYS).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    manifest = Manifest(
        format=FORMAT,
        model=component.name,
        schema=schema.to_json(),
        schema_digest=schema.digest(),
        libraries={"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        files={name: file_digest(folder / name) for name in (STATE, ARRAYS)},
    )
    _write(folder / MANIFEST, json.dumps(asdict(manifest), indent=2).encode())
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest; raise ArtifactCorrupt where it is missing or unreadable."""
    try:
        return Manifest(**json.loads((folder / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactCorrupt(
            f"artifact '{folder.name}': {MANIFEST} cannot be read ({error})", file=MANIFEST
        ) from error


def verify(folder: Path) -> Manifest:
    """Return the manifest after comparing each file's sha256; raise ArtifactCorrupt that names the file."""
    manifest = read_manifest(folder)
    if manifest.format != FORMAT:
        raise SignatureMismatch(
            f"artifact '{folder.name}' has layout {manifest.format}; this code reads layout {FORMAT}"
        )
    for name, expected in manifest.files.items():
        path = folder / name
        got = file_digest(path) if path.is_file() else "no file"
        if got != expected:
            raise ArtifactCorrupt(
                f"artifact '{folder.name}': file {name} is corrupt: got sha256 {got}, expected {expected}; "
                "restore it from a backup or register the version again",
                file=name,
                got=got,
                expected=expected,
            )
    return manifest


def load_artifact(folder: Path, catalog: Catalog[C]) -> tuple[C, Manifest]:
    """Verify the folder and rebuild its component."""
    manifest = verify(folder)
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        packed = _join(json.loads((folder / STATE).read_text()), dict(arrays))
    return unpack(packed, catalog), manifest


def file_digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _split(value: Any, arrays: dict[str, np.ndarray[Any, Any]], path: str) -> Any:
    """Return `value` with each array replaced by a reference, and the arrays gathered in `arrays`."""
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"array": path}
    if isinstance(value, dict):
        return {key: _split(item, arrays, f"{path}/{key}" if path else key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_split(item, arrays, f"{path}/{i}") for i, item in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _join(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"array"}:
            return arrays[value["array"]]
        return {key: _join(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_join(item, arrays) for item in value]
    return value


def to_bytes(state: State) -> bytes:
    """Return a state as one npz, for checkpoints."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    packed = json.dumps(_split(state, arrays, ""), allow_nan=False)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, __state__=np.array(packed), **arrays)
    return buffer.getvalue()


def from_bytes(data: bytes) -> State:
    """Return what `to_bytes` was given."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = dict(file)
    state: State = _join(json.loads(str(arrays.pop("__state__"))), arrays)
    return state
