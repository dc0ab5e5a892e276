"""What a file is: told by its first bytes, not by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cluster.errors import DataError, PayloadTooLargeError

Format = Literal["csv", "parquet", "arrow_file", "arrow_stream"]

PROBED_BYTES = 4096
READABLE: dict[bytes, Format] = {b"PAR1": "parquet", b"ARROW1": "arrow_file", b"\xff\xff\xff\xff": "arrow_stream"}
SUFFIXES: dict[str, tuple[Format, ...]] = {
    ".parquet": ("parquet",),
    ".pq": ("parquet",),
    ".arrow": ("arrow_file", "arrow_stream"),
    ".arrows": ("arrow_file", "arrow_stream"),
    ".feather": ("arrow_file", "arrow_stream"),
    ".ipc": ("arrow_file", "arrow_stream"),
}
FOREIGN = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "gzip data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"SQLite format 3": "an SQLite database",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"<": "HTML or XML",
    b"{": "JSON",
    b"[": "JSON",
}
EXPECTED = "CSV in UTF-8 with a header line, Parquet or Arrow"


def format_of(path: Path, *, maximum_bytes: int) -> Format:
    """Return what `path` holds.

    Raises
    ------
    DataError
        It is not there, empty, or something else; the message says what.
    PayloadTooLargeError
        It is larger than `maximum_bytes`.
    """
    start = _first_bytes(path, maximum_bytes)
    for magic, readable in READABLE.items():
        if start.startswith(magic):
            return readable
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, what in FOREIGN.items():
        if start.startswith(magic) or text.startswith(magic):
            raise DataError.at(f"'{path.name}' is not a table", got=what, expected=EXPECTED)
    if b"\0" in start:
        raise DataError.at(f"'{path.name}' is not a table", got="binary data", expected=EXPECTED)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        expected = " or ".join(SUFFIXES[suffix])
        raise DataError.at(
            f"'{path.name}' is not what its name says", got="text", expected=f"{expected} by its suffix"
        )
    return "csv"


def _first_bytes(path: Path, maximum_bytes: int) -> bytes:
    try:
        if not path.is_file():
            got = f"the folder {path}" if path.is_dir() else f"nothing at {path}"
            raise DataError.at("there is no such file", got=got, expected=EXPECTED)
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(PROBED_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DataError.at("the file cannot be read", got=str(error), expected="a readable file") from error
    if size > maximum_bytes:
        raise PayloadTooLargeError(
            f"'{path.name}' is too large: got {size} bytes, expected at most {maximum_bytes}; "
            "send fewer rows or raise maximum_bytes",
            got=size,
            expected=maximum_bytes,
        )
    if not start.strip():
        raise DataError.at(f"'{path.name}' is empty", got=f"{size} bytes of nothing", expected=EXPECTED)
    return start
