"""Faults that requests of every kind share, each with its place in the request."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.errors import DataError, SchemaError


def check_ids(ids: Sequence[str]) -> None:
    """Raise the DataError that names the first series whose id was there before."""
    seen: dict[str, int] = {}
    for at, name in enumerate(ids):
        if name in seen:
            raise DataError.at(
                f"series '{name}' appears more than once",
                got=f"also series[{seen[name]}]",
                expected="each series_id once",
                field=f"body.series[{at}].series_id",
            )
        seen[name] = at


def shape_error(what: str, field: str, got: str, expected: str) -> SchemaError:
    """Return the error for columns that are not those of the schema."""
    return SchemaError(f"{what}: {field}: got {got}, expected {expected}", field=field, got=got, expected=expected)
