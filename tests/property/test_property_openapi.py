"""Whatever the OpenAPI document allows, or nearly, is answered as the document says: schemathesis, in process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.schemas import APIOperation
from schemathesis.transport.requests import REQUESTS_TRANSPORT

if TYPE_CHECKING:
    from schemathesis.core.result import Ok

BASE = "http://in-process"
TOO_LARGE = 413
NEGATIVE = "negative_data_rejection"
HELD = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    NEGATIVE,
)
BOUNDS = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer("application/x-ndjson")
def a_line(_: Any, value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


@schemathesis.serializer("application/vnd.apache.arrow.stream")
def as_it_is(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, default=str).encode()


def prepared(case: Case[Any]) -> requests.PreparedRequest:
    """Return the bytes of a case as they would travel."""
    return requests.Request(**REQUESTS_TRANSPORT.serialize_case(case, base_url=BASE)).prepare()


NAMES: dict[str, list[str]] = {
    "model": ["nox", "goods", "meters"],
    "version": ["1.0.0", "2.0.0"],
    "control": ["1.0.0"],
    "policy": ["canary", "blue_green", "rolling", "immediate"],
    "id": ["a1", "a2"],
    "name": ["nox", "a1", "a2"],
    "reason": ["drift", "features", "version"],
    "word": ["approve", "promote", "rollback", "pause", "resume"],
}
"""What there is, so that requests get past the names."""


def steered(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document narrowed to names that exist: its answers are still those of the whole one."""
    for schema in document["components"]["schemas"].values():
        if schema.get("title", "").endswith(("Request", "Row")):
            for name, known in NAMES.items():
                if name in schema.get("properties", {}):
                    schema["properties"][name] = {"enum": known}
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in NAMES:
                    parameter["schema"] = {"type": "string", "enum": NAMES[parameter["name"]]}
    return document


def operations(document: dict[str, Any]) -> Iterator[APIOperation[Any, Any, Any, Any]]:
    schema = schemathesis.openapi.from_dict(document)
    for found in schema.get_all_operations():
        yield cast("Ok[APIOperation[Any, Any, Any, Any]]", found).ok()


def test_the_document_is_whole_and_every_answer_is_as_it_says(
    whole: Any, tmp_path: Path, connect: Callable[[Any], Any]
) -> None:
    load_all_checks()
    checks: list[Any] = [check for check in CHECKS.get_all() if check.__name__ in HELD]
    assert len(checks) == len(HELD)
    caller = connect(whole.build(tmp_path))
    document = caller.get("/openapi.json").json()
    tried = 0
    nearly = [(operation, tuple(GenerationMode)) for operation in operations(document)]
    known = [(operation, (GenerationMode.POSITIVE,)) for operation in operations(steered(deepcopy(document)))]
    for operation, modes in (*nearly, *known):

        @BOUNDS
        @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes)))
        def run(case: Case[Any]) -> None:
            nonlocal tried
            sent = prepared(case)
            answer = caller.request(sent.method, sent.url, content=sent.body, headers=dict(sent.headers))
            tried += 1
            answer.request.headers = sent.headers
            # What is too large is refused before it is read, however wrong it is.
            held = [each for each in checks if answer.status_code != TOO_LARGE or each.__name__ != NEGATIVE]
            case.validate_response(schemathesis.Response.from_any(answer), checks=held)

        run()
    assert tried > 100
