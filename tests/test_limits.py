"""Sizes that hold: short files, short functions, and an amount of code that grows knowingly."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "serene"
FILES = sorted(SOURCE.rglob("*.py"))
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, LINES_IN_ALL = 300, 50, 30_100


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_and_its_functions_are_short(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = {(node.name, node.lineno): (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: size for name, size in sizes.items() if size > LINES_OF_A_FUNCTION} == {}
    assert lines(path) <= LINES_OF_A_FILE


def test_the_code_grows_knowingly() -> None:
    assert sum(map(lines, FILES)) < LINES_IN_ALL
