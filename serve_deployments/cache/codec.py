"""Answers as bytes, for a store outside this process: arrays as they are, the rest as JSON; nothing is executed."""

from __future__ import annotations

import struct
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import orjson

from serve_deployments.servable import Servable
from serve_deployments.steps import Answer

_LENGTH = struct.Struct("<q")
_KINDS = frozenset("fiMb")
"""Of arrays: numbers, times, flags. An object array would be a pickle."""


class AnswerCodec:
    """Writes an answer whose result is a dataclass of arrays, texts and numbers."""

    def encode(self, answer: Answer) -> bytes:
        """Return a header in JSON, then the arrays, then the fields of the answer as they are sent."""
        arrays, rest, pieces = [], {}, []
        for each in fields(answer.result):
            value = getattr(answer.result, each.name)
            if isinstance(value, np.ndarray):
                arrays.append([each.name, value.dtype.str, value.shape])
                pieces.append(np.ascontiguousarray(value).tobytes())
            else:
                rest[each.name] = value
        plain = {name: orjson.dumps(value) for name, value in answer.plain().items()}
        header = {"arrays": arrays, "rest": rest, "plain": [[name, len(text)] for name, text in plain.items()]}
        packed = orjson.dumps(header)
        return b"".join([_LENGTH.pack(len(packed)), packed, *pieces, *plain.values()])

    def decode(self, data: bytes, servable: Servable) -> Answer:
        """Return the answer; its arrays share the bytes."""
        kind = servable.result_type
        if kind is None or not is_dataclass(kind):
            raise ValueError(f"answers of '{servable.kind}' are not stored")
        (length,) = _LENGTH.unpack_from(data)
        start = _LENGTH.size + length
        header = orjson.loads(data[_LENGTH.size : start])
        found: dict[str, Any] = {name: _tuples(value) for name, value in header["rest"].items()}
        for name, text, shape in header["arrays"]:
            dtype = np.dtype(text)
            if dtype.kind not in _KINDS:
                raise ValueError(f"array of {text}, expected one of {sorted(_KINDS)}")
            count = int(np.prod(shape))
            found[name] = np.frombuffer(data, dtype, count, start).reshape(shape)
            start += count * dtype.itemsize
        plain = {}
        for name, size in header["plain"]:
            plain[name] = orjson.Fragment(data[start : start + size])
            start += size
        return Answer(servable=servable, result=kind(**found), written=plain)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def make_own(answer: Answer) -> None:
    """Give an answer that is to be kept arrays of its own: as pieces of its batch's they would keep all of them."""
    pieces = {
        name: value.copy()
        for name, value in vars(answer.result).items()
        if isinstance(value, np.ndarray) and value.base is not None
    }
    if pieces:
        answer.result = replace(answer.result, **pieces)


def answer_bytes(answer: Answer) -> int:
    """Return what a written answer takes: its arrays, its texts, and the objects around them."""
    arrays = sum(value.nbytes for value in vars(answer.result).values() if isinstance(value, np.ndarray))
    return arrays + answer.written_bytes + OBJECTS_BYTES


OBJECTS_BYTES = 6144
"""An answer's objects beside its numbers and texts: the result, some arrays' heads, names, a few dicts."""
