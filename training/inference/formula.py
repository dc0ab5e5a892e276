"""Arithmetic on columns, written as text: `0.6 * energy_kwh`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

import numpy as np

from cluster.errors import ConfigError, UnknownNameError
from training.core.windows import Floats

LONGEST = 500
"""Characters of a formula; nobody writes a longer one by hand."""
_BINARY: Mapping[type[ast.operator], Callable[[Floats, Floats], Floats]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_CALLS: Mapping[str, Callable[[Floats, Floats], Floats]] = {"min": np.minimum, "max": np.maximum}


def evaluate(text: str, columns: Mapping[str, Floats]) -> Floats:
    """Return what a formula gives for columns of one shape.

    Parameters
    ----------
    text
        Numbers and column names with `+ - * /`, brackets, `min(a, b)` and `max(a, b)`. Nothing else is run.
    columns
        Name -> values.

    Raises
    ------
    ConfigError
        It is not such a formula.
    UnknownNameError
        It names another column.
    """
    try:
        if len(text) > LONGEST:
            raise ValueError(f"{len(text)} characters, at most {LONGEST}")
        return _value(ast.parse(text.strip(), mode="eval").body, columns)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"formula '{text[:60]}' cannot be read ({error}), expected numbers and column names with + - * /, "
            "min(a, b) or max(a, b)",
            formula=text,
        ) from error


def _value(node: ast.expr, columns: Mapping[str, Floats]) -> Floats:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return np.float64(number) + np.zeros_like(next(iter(columns.values())))
        case ast.Name(id=name):
            if name not in columns:
                raise UnknownNameError.of("column known ahead", name, columns)
            return columns[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, columns)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # judged as values, with their row
                return _BINARY[type(op)](_value(left, columns), _value(right, columns))
        case ast.Call(func=ast.Name(id=name), args=[left, right], keywords=[]) if name in _CALLS:
            return _CALLS[name](_value(left, columns), _value(right, columns))
    raise ValueError(f"'{ast.unparse(node)}' is not allowed")
