"""The tree of `src/serene` with each file's first docstring line; nothing stands before what it imports.

python tests/docs/tree.py  writes it and the contract into docs/architecture.md, and its folders alone into README.md
"""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "serene"
CONTRACT = re.compile(r"^```text\ncli\n.*?^```$", re.MULTILINE | re.DOTALL)
TREE = re.compile(r"^```text\nsrc/serene/\n.*?^```$", re.MULTILINE | re.DOTALL)


def layers() -> list[str]:
    """Give the layers of the import contract, the lowest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = project["tool"]["importlinter"]["contracts"][0]
    return [layer.replace("serene.", "") for layer in reversed(contract["layers"])]


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def caption(file: Path) -> str:
    """Give the first docstring line of a file; of a folder, that of its `__init__.py`."""
    module = file / "__init__.py" if file.is_dir() else file
    return (ast.get_docstring(parsed(module)) or "").partition("\n")[0]


def entries() -> list[Path]:
    """Give the folders and files directly in `src/serene`, the lowest layer first."""
    names = [name for layer in layers() for name in layer.split(" | ")]
    return [SOURCE / name if (SOURCE / name).is_dir() else SOURCE / f"{name}.py" for name in names]


def imported(file: Path) -> list[Path]:
    """Give the files of the same folder that a file imports when it is imported itself."""
    names = set()
    package = f"serene.{file.parent.name}"
    for node in parsed(file).body:
        if isinstance(node, ast.ImportFrom) and node.module == package:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{package}."):
            names.add(node.module.removeprefix(f"{package}."))
    return [file.parent / f"{name}.py" for name in sorted(names) if (file.parent / f"{name}.py").exists()]


def in_reading_order(folder: Path) -> list[Path]:
    """Sort the files of a folder so that each follows what it imports, and otherwise by name."""
    order: dict[Path, None] = {}

    def read(file: Path, under_way: tuple[Path, ...] = ()) -> None:
        for other in imported(file):
            if other not in (*under_way, file) and other not in order:
                read(other, (*under_way, file))
        order.setdefault(file)

    for file in sorted(folder.glob("*.py")):
        if file.name != "__init__.py":
            read(file)
    return list(order)


def of_files() -> str:
    """Write the tree of all files, as docs/architecture.md shows it."""
    lines = [f"  {'__init__.py':<28}{caption(SOURCE)}"]
    for entry in entries():
        lines.append(f"  {entry.name + '/' * entry.is_dir():<28}{caption(entry)}")
        if entry.is_dir():
            lines += [f"    {file.name:<26}{caption(file)}" for file in in_reading_order(entry)]
    lines.append(f"  {'__main__.py':<28}{caption(SOURCE / '__main__.py')}")
    return fence(lines)


def of_folders() -> str:
    """Write the tree of the folders alone, as README.md shows it."""
    return fence([f"  {entry.name + '/':<14}{caption(entry)}" for entry in entries() if entry.is_dir()])


def fence(lines: list[str]) -> str:
    return "\n".join(["```text", "src/serene/", *lines, "```"])


PAGES = {ROOT / "docs" / "architecture.md": of_files, ROOT / "README.md": of_folders}

if __name__ == "__main__":
    contract = "\n".join(["```text", *layers()[::-1], "```"])
    for page, tree in PAGES.items():
        text = TREE.sub(lambda _, tree=tree: tree(), page.read_text())
        page.write_text(CONTRACT.sub(contract, text))
