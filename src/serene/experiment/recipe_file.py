"""A recipe file: found by its address, read as YAML, its rows told apart, settings overridden; nothing is checked."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serene.errors import SereneError, unknown
from serene.files import regular
from serene.settings import parse, section

RECIPES = next(
    (p for p in (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes") if p.is_dir()),
    Path("recipes"),
)  # inside an installed package, or beside the sources
SUFFIXES = (".yaml", ".yml")
# the key that names a choice, and with it the other settings of its section
NAMED = {"corpus": "name", "speakers": "name", "protocol": "name", "method": "name", "model": "encoder"}
RENAMES = {f"{where}.{key}" for where, key in NAMED.items()}
SHARED = ("corpus", "labels", "protocol", "rows")  # by all rows of a table
Tree = dict[str, Any]  # a recipe as YAML has it, its scalars still words
ROW = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class RecipeFile:
    """What a recipe file says.

    Attributes:
        path: the file.
        head: its sections, which all rows share.
        rows: name -> the sections that override the head's, key by key; none where the file is a single recipe.
        remarks: row -> the comment beside its name, where it has one.
    """

    path: Path
    head: Tree
    rows: dict[str, Tree]
    remarks: dict[str, str]

    def name(self, row: str | None = None) -> str:
        """Name a recipe by its place below the nearest `recipes` folder, and its row: `tu2019-emodb-dat`."""
        *folders, own = self.path.resolve().with_suffix("").parts
        below = folders[len(folders) - folders[::-1].index("recipes") :] if "recipes" in folders else []
        return "-".join([*below, own, *([row] if row else [])])

    def about(self, row: str) -> str:
        """Say of a row what its comment says or, without one, what it overrides."""
        overrides = yaml.safe_dump(self.rows[row], default_flow_style=True, sort_keys=False, width=float("inf"))
        return self.remarks.get(row) or overrides.strip()

    def tree(self, row: str | None, overrides: Sequence[str] = ()) -> Tree:
        """Give the sections of one row, or of the single recipe, with `key.sub=value` overrides applied last.

        Raises:
            SereneError: a table without a row, no such row, or an override that reaches nowhere.
        """
        tree = copy.deepcopy(self.head)
        if row is not None:
            merge(tree, self.rows[self._known(row)])
        elif self.rows:
            first = next(iter(self.rows))
            raise SereneError(f"{self.path} is a table: name one of its rows, such as {self.path}:{first}.")
        for override in sorted(overrides, key=lambda text: text.partition("=")[0] not in RENAMES):
            _apply(tree, override)
        return tree

    def _known(self, row: str) -> str:
        if not self.rows:
            raise SereneError(f"{self.path} has no rows; it is a single recipe. Leave ':{row}' out.")
        if row not in self.rows:
            raise SereneError(unknown(f"row of {self.path}", row, self.rows))
        return row


def find(address: str | Path) -> tuple[RecipeFile, str | None]:
    """Read the file of an address, `FILE.yaml` or `FILE.yaml:ROW`, and give the row it names.

    Raises:
        SereneError: no such file, not YAML, no mapping, or rows that a table cannot have.
    """
    path, row = _parted(str(address))
    if row == "":
        raise SereneError(f"'{address}' names no row behind the colon; `serene train {path} --rows` lists them.")
    try:
        text = regular(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SereneError(f"Cannot read the recipe {path}: {error}{_former(path)}") from error
    tree = parse(text, str(path))
    if not isinstance(tree, dict):
        raise SereneError(f"The recipe {path} is empty or no mapping; see recipes/ for examples.")
    if "rows" not in tree:
        return RecipeFile(path, tree, {}, {}), row
    rows = _rows(tree.pop("rows"), path)
    return RecipeFile(path, tree, rows, _remarks(text)), row


def merge(tree: Tree, other: Mapping[str, Any], inside: str = "") -> None:
    """Override a tree in place, key by key; another name in a section drops the settings of the former one."""
    name = NAMED.get(inside)
    if name is not None and name in other and tree.get(name) != other[name]:
        tree.clear()  # what the section held were the former one's settings
    for key, value in other.items():
        if isinstance(value, Mapping):
            kept = tree.get(key)
            tree[key] = dict(kept) if isinstance(kept, Mapping) else {}
            merge(tree[key], value, f"{inside}.{key}" if inside else key)
        else:
            tree[key] = copy.deepcopy(value)


def _parted(address: str) -> tuple[Path, str | None]:
    """Part an address at its last colon, unless the colon belongs to the file's name or to a drive."""
    whole = _shipped(Path(address))
    before, colon, row = address.rpartition(":")
    if not colon or whole.exists() or not before.endswith(SUFFIXES):
        return whole, None
    return _shipped(Path(before)), row


def _shipped(path: Path) -> Path:
    """Give a file below `recipes` from the installed package, which brings them along, where it is not at hand."""
    return path if path.exists() or path.parts[:1] != ("recipes",) else RECIPES.joinpath(*path.parts[1:])


def _former(path: Path) -> str:
    """Say where the recipe of a file has gone that has become a row of a table."""
    table = Path(f"{path.parent}{SUFFIXES[0]}")
    return f". Did you mean {table}:{path.stem}?" if table.is_file() else ""


def _rows(given: Any, path: Path) -> dict[str, Tree]:
    if not isinstance(given, dict) or not given:
        raise SereneError(
            f"'rows' in {path} is {given!r}; a mapping of names to the sections that each row overrides was expected, "
            "such as {baseline: {method: {name: baseline}}}."
        )
    rows = {}
    for name, sections in given.items():
        if not ROW.fullmatch(str(name)):
            raise SereneError(f"'{name}' is no name of a row in {path}; letters, digits, '_', '-' and '.' make one.")
        if not isinstance(sections, dict | None):
            raise SereneError(f"Row '{name}' of {path} is {sections!r}; a mapping of sections was expected.")
        for key in SHARED:
            if key in (sections or {}):
                raise SereneError(
                    f"Row '{name}' of {path} sets '{key}', and the rows of a table share corpus, labels and protocol, "
                    "or they could not be compared. Set it above the rows, or give the row a recipe file of its own."
                )
        rows[str(name)] = sections or {}
    return rows


def _remarks(text: str) -> dict[str, str]:
    """Read the comments that stand on the lines of rows' names."""
    nodes = {key.value: value for key, value in yaml.compose(text).value}
    lines = text.splitlines()
    found = {key.value: re.search(r"\s#\s*(.*)", lines[key.start_mark.line]) for key, _ in nodes["rows"].value}
    return {row: remark[1] for row, remark in found.items() if remark}


def _apply(tree: Tree, override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise SereneError(f"The override '{override}' is not of the form key.sub=value.")
    value = parse(text, f"the override '{override}'")
    if len(keys) == 2 and path in RENAMES and section(tree, keys[0]).get(keys[1]) != value:
        tree[keys[0]] = {}  # another name: what the section held were the former one's settings
    place: Any = tree
    for key in keys[:-1]:
        inner = _item(place, key, override) if isinstance(place, list) else place.setdefault(key, {})
        if not isinstance(inner, dict | list):
            raise SereneError(f"The override '{override}' reaches into '{key}', which is {inner!r} and no mapping.")
        place = inner
    if isinstance(place, list):
        _item(place, keys[-1], override)
        place[int(keys[-1])] = value
    else:
        place[keys[-1]] = value


def _item(place: list[Any], key: str, override: str) -> Any:
    """Give an item of a list in a recipe, such as a stage, by its place from 0."""
    if not key.isdecimal() or int(key) >= len(place):
        raise SereneError(
            f"The override '{override}' says '{key}' where a place from 0 to {len(place) - 1} is expected."
        )
    return place[int(key)]
