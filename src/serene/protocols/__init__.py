"""Who trains, who validates and who tests: named, versioned protocols, each `name(manifest, *, settings)` -> splits.

Splits depend on the utterances, the settings and the protocol's version only: not on the manifest's order, nor on any
library's random generator.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from serene.corpora.manifest import Manifest
from serene.errors import SereneError, unknown
from serene.protocols.partition import VERSIONS, FoldsRefused
from serene.protocols.split import Split
from serene.registry import load
from serene.trust import authored

PROTOCOLS = {
    "leave_one_session_out": "serene.protocols.leave_one_group_out:leave_one_session_out",
    "tu2019": "serene.protocols.leave_one_group_out:tu2019",
    "speaker_folds": "serene.protocols.leave_one_group_out:speaker_folds",
    "leave_one_speaker_out": "serene.protocols.leave_one_group_out:leave_one_speaker_out",
    "speaker_holdout": "serene.protocols.holdout:speaker_holdout",
    "official": "serene.protocols.holdout:official",
    "random_speaker_dependent": "serene.protocols.holdout:random_speaker_dependent",
    "speaker_lists": "serene.protocols.speaker_lists:speaker_lists",
    "low_resource": "serene.protocols.leave_one_group_out:low_resource",
}
FOREIGN = ("speaker", "official")  # validations of other speakers than training's, where random20 may serve instead
MANY_NAMES = 4  # above which a title counts the names of a list and does not spell them out
MANY_CLIPS = 20_000_000  # folds x clips above which a protocol is not tried merely to be named in a message


def make_splits(name: str, manifest: Manifest, settings: Mapping[str, Any] | None = None) -> list[Split]:
    """Split a manifest by a protocol's name.

    Args:
        name: an entry of `PROTOCOLS`, or `package.module:function` for one of your own.
        manifest: utterances that have the label they are to be scored by.
        settings: the protocol's keyword settings, where they differ from its defaults.

    Raises:
        SereneError: no such protocol or setting, or a corpus that it cannot serve; the message names those that can.
    """
    return make_some_splits(name, manifest, settings)[0]


def make_some_splits(
    name: str, manifest: Manifest, settings: Mapping[str, Any] | None = None, run: Collection[str] | None = None
) -> tuple[list[Split], int]:
    """Split a manifest as `make_splits` does, though folds that nobody asks for may be impossible.

    Args:
        name: as for `make_splits`.
        manifest: as for `make_splits`.
        settings: as for `make_splits`.
        run: the folds that are asked for; all without it.

    Returns:
        The folds that can be made, and how many the protocol has.
    """
    with authored():
        protocol = load(name, PROTOCOLS, "protocol")
    settings = dict(settings or {})
    for key in settings:
        if key not in (known := _settings(protocol)):
            raise SereneError(unknown(f"setting of the protocol {name},", key, known))
    try:
        splits = protocol(manifest, **settings)
    except SereneError as error:
        advice = ""
        if isinstance(error, FoldsRefused) and error.made:
            if run is not None and error.refused.keys().isdisjoint(run):
                return list(error.made), len(error.made) + len(error.refused)
            advice = f" Folds that can be made: {', '.join(split.fold for split in error.made)} (protocol.run)."
        servable = ", ".join(_servable(manifest, name, settings)) or "no protocol"
        raise SereneError(f"{error}{advice} This corpus can serve: {servable}.") from error
    return splits, len(splits)


def title(name: str, settings: Mapping[str, Any] | None = None) -> str:
    """Describe a protocol with all its settings: `speaker_folds v1 (folds 5, validation speaker, seed 0)`."""
    defaults = _settings(load(name, PROTOCOLS, "protocol"))
    text = ", ".join(f"{key} {_short(value)}" for key, value in (defaults | dict(settings or {})).items())
    version = f" v{VERSIONS[name]}" if name in VERSIONS else ""
    return f"{name}{version} ({text})" if text else f"{name}{version}"


def _short(value: Any) -> Any:
    """Count the names of a long list, and tell it from others by a hash; anything else stays as it is."""
    if not isinstance(value, tuple | list) or len(value) <= MANY_NAMES:
        return value
    return f"{len(value)} names {hashlib.blake2b(json.dumps(list(value)).encode(), digest_size=4).hexdigest()}"


def _servable(manifest: Manifest, asked: str, given: dict[str, Any]) -> list[str]:
    """Name the protocols that do split the manifest, by splitting it, each with the settings that it needs for that.

    That of the protocol that was asked for are changes of what was given.
    """
    found = []
    for name in PROTOCOLS:
        if name == "leave_one_speaker_out" and len(manifest.speakers) * len(manifest) > MANY_CLIPS:
            continue
        protocol = load(name, PROTOCOLS, "protocol")
        for changes in _ways(_settings(protocol), len(manifest.speakers)):
            with contextlib.suppress(SereneError):
                protocol(manifest, **((given if name == asked else {}) | changes))
                told = ", ".join(f"{key} {value}" for key, value in changes.items())
                found.append(f"{name} (with {told})" if told else name)
                break
    return found


def _ways(settings: Mapping[str, Any], speakers: int) -> Iterator[dict[str, Any]]:
    """Give the changes of a protocol's settings that are tried, the smallest first: none at all."""
    fewer: list[dict[str, Any]] = [{}]
    if "folds" in settings:
        fewer += [{"folds": speakers}] if "of" not in settings else []
        fewer += [{"of": "speaker_folds"}] if "of" in settings else []
    if "balance" in settings:  # one speaker each for validation and test
        fewer += [{"train": max(1, speakers - 2), "validation": min(1, max(0, speakers - 2)), "test": 1}]
    yield from fewer
    if settings.get("validation") in FOREIGN:
        yield from (change | {"validation": "random20"} for change in fewer)


def _settings(protocol: Callable[..., Any]) -> dict[str, Any]:
    """Return the names of a protocol's settings with their defaults."""
    parameters = inspect.signature(protocol).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
