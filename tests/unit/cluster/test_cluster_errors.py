"""The error tree: it survives pickling, says its HTTP status, and builds its messages."""

from __future__ import annotations

import pickle

import pytest

from cluster import errors
from cluster.errors import DataError, HeliotropeError, TransientError, UnknownNameError

STATUS = {
    "HeliotropeError": 500,
    "UserError": 400,
    "ConfigError": 400,
    "DataError": 422,
    "SchemaError": 422,
    "InsufficientHistoryError": 422,
    "LookAheadError": 422,
    "NotFittedError": 409,
    "UnknownNameError": 404,
    "PayloadTooLargeError": 413,
    "UnauthenticatedError": 401,
    "ForbiddenError": 403,
    "GateRefused": 409,
    "TransientError": 503,
    "RateLimitedError": 429,
    "PermanentError": 500,
    "ArtifactCorrupt": 500,
    "SignatureMismatch": 500,
    "TrainingDiverged": 500,
}
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, HeliotropeError)
}


def test_each_class_has_a_status_here() -> None:
    assert {name: kind.http_status for name, kind in CLASSES.items()} == STATUS
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in CLASSES)


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_each_class_survives_pickling_with_its_context(kind: type[HeliotropeError]) -> None:
    error = kind("it broke", column="x", row=3, expected="a number")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == again.message == "it broke"
    assert again.context == error.context
    assert again.context["row"] == 3


def test_a_transient_error_says_when_to_come_back() -> None:
    assert TransientError("busy").retry_after_s == 1.0
    assert pickle.loads(pickle.dumps(TransientError("busy", retry_after_s=7))).retry_after_s == 7.0


def test_a_data_error_names_place_got_and_expected() -> None:
    error = DataError.at("bad value", got=-1, expected="at least 0", column="CO", row=5, unit="mg/m3")
    assert str(error) == "bad value: column 'CO', row 5: got -1, expected at least 0"
    assert error.context == {"column": "CO", "row": 5, "got": "-1", "expected": "at least 0", "unit": "mg/m3"}
    assert str(DataError.at("empty file", got="0 rows", expected="some")) == "empty file: got 0 rows, expected some"
    assert "row 0" in str(DataError.at("bad", got=1, expected="2", row=0))


def test_an_unknown_name_lists_the_known_ones() -> None:
    error = UnknownNameError.of("model", "ridg", ["ridge", "lstm"])
    assert str(error) == "unknown model 'ridg'. Did you mean 'ridge'? Known: lstm, ridge"
    assert error.context == {"kind": "model", "name": "ridg", "known": ["lstm", "ridge"]}
    assert str(UnknownNameError.of("model", "x", [])) == "unknown model 'x'. Known: none yet"
