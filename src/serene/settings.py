"""The constructors' signatures are the schema of recipes: settings checked against them, defaults filled in."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import Any

import pydantic
import yaml

from serene import registry
from serene.errors import SereneError, quoted, unknown

TRAINER = {"trainer": "serene.training.trainer:Trainer"}


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """Which clips: a corpus folder or a manifest, and the columns' patterns that a clip must match."""

    name: str
    path: str | None = None
    only: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """What a section of a recipe names, with its settings, defaults filled in.

    Attributes:
        name: an entry of a table, or `package.module:Name`.
        maker: the class or function of that name.
        settings: its keyword arguments.
    """

    name: str
    maker: Any
    settings: dict[str, Any]

    def __getitem__(self, setting: str) -> Any:
        """Give a setting's value."""
        return self.settings[setting]

    def make(self, *given: Any) -> Any:
        """Call the class or function with its settings, after what it needs beside them."""
        return self.maker(*given, **self.settings)

    def but(self, **changed: Any) -> Choice:
        """Give the same choice with other values of some settings."""
        return replace(self, settings=self.settings | changed)

    def plain(self, key: str) -> dict[str, Any]:
        """Return the section as a recipe file has it, which says the name by a key."""
        return {key: self.name, **self.settings}


def settings_of(
    given: Mapping[str, Any], owners: Callable[..., Any] | tuple[Callable[..., Any], ...], where: str
) -> dict[str, Any]:
    """Check settings against the keyword-only arguments of classes or functions; return them with the defaults.

    Values are text, or already of their type; `where` is the section.

    Raises:
        SereneError: an unknown key, a missing one, or a value of another type; the message names `where.key`.
    """
    owners = owners if isinstance(owners, tuple) else (owners,)
    arguments = {name: argument for owner in owners for name, argument in _arguments(owner).items()}
    for key in given:
        if key not in arguments:
            raise SereneError(unknown(f"setting in {where}", key, arguments))
    checked = {}
    for name, (kind, default) in arguments.items():
        if name in given:
            checked[name] = validated(pydantic.TypeAdapter(kind).validate_python, given[name], f"{where}.{name}")
        elif default is inspect.Parameter.empty:
            raise SereneError(f"{where}.{name} is missing.")
        else:
            checked[name] = default
    return checked


def unlike_defaults(
    settings: Mapping[str, Any], owners: Callable[..., Any] | tuple[Callable[..., Any], ...]
) -> dict[str, Any]:
    """Keep the settings that are not their owners' defaults: what identifies a choice, now and with further settings.

    Should a default change one day, settings that were kept with the former one are unlike it, and are told apart.
    """
    owners = owners if isinstance(owners, tuple) else (owners,)
    defaults = {name: default for owner in owners for name, (_, default) in _arguments(owner).items()}
    return {name: value for name, value in settings.items() if name not in defaults or value != defaults[name]}


def named(given: Mapping[str, Any], key: str, table: Mapping[str, str], kind: str, *more: Callable[..., Any]) -> Choice:
    """Check a section that names a choice from a table by a key, and gives the choice's own settings beside it."""
    if key not in given:
        raise SereneError(f"The recipe's {kind} has no '{key}'. Choices: {', '.join(sorted(table))}.")
    name = str(given[key])
    maker = registry.load(name, table, kind)
    rest = {k: v for k, v in given.items() if k != key}
    return Choice(name, maker, settings_of(rest, (maker, *more), f"{kind} {name}"))


def section(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a section of a recipe, empty where it has none."""
    found = tree.get(key) or {}
    if not isinstance(found, Mapping):
        raise SereneError(
            f"'{key}' in the recipe is {quoted(repr(found))}; a mapping was expected, such as {{name: ...}}."
        )
    return found


def _arguments(owner: Any) -> dict[str, tuple[Any, Any]]:
    """Return the keyword-only arguments: name -> (type, default)."""
    hints = typing.get_type_hints(owner.__init__ if inspect.isclass(owner) else owner, include_extras=True)
    factories = {f.name: f.default_factory for f in fields(owner)} if is_dataclass(owner) else {}
    arguments = {}
    for name, argument in inspect.signature(owner).parameters.items():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            factory = factories.get(name, MISSING)
            arguments[name] = hints.get(name, Any), argument.default if factory is MISSING else factory()
    return arguments


def validated(validate: Callable[[Any], Any], value: Any, where: str) -> Any:
    """Validate a value by a function of pydantic's; what is wrong with it becomes one sentence that says where."""
    try:
        return validate(value)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise SereneError(f"{where} is {quoted(repr(value))}: {problem[0].lower()}{problem[1:]}.") from error


class _Words(yaml.SafeLoader):
    """A YAML reader that leaves every scalar but null as it is written: the signatures say what it means."""


_Words.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str, where: str) -> Any:
    """Read YAML whose scalars stay words, for the signatures to say what they mean."""
    try:
        return yaml.load(text, _Words)
    except yaml.YAMLError as error:
        raise SereneError(f"{where} is not YAML: {error}") from error
    except RecursionError as error:
        raise SereneError(f"{where} is nested too deeply to be read.") from error
