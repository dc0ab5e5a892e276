"""Modules and functions stay small enough to read in one go."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("cluster", "training", "tuning", "serve_deployments", "apps")
FILES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.stat().st_size]


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def functions() -> list[tuple[str, int]]:
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                size = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                found.append((f"{path.relative_to(ROOT)}:{node.name}", size))
    return found


def test_module_sizes() -> None:
    assert statistics.median(map(lines, FILES)) <= 150
    assert [f"{path.relative_to(ROOT)} {lines(path)}" for path in FILES if lines(path) > 400] == []


def test_function_sizes() -> None:
    sizes = functions()
    assert statistics.median(size for _, size in sizes) <= 10
    assert [f"{name} {size}" for name, size in sizes if size > 50] == []


def test_package_files_are_empty_or_lists() -> None:
    allowed = {f"training/{room}/__init__.py" for room in ("models", "features", "detectors", "tabular")}
    written = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
        if path.read_text().strip()
    }
    assert written == allowed
