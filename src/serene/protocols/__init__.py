"""Who trains, who validates and who tests: named, versioned protocols, each `name(manifest, *, settings)` -> splits.

Splits depend on the utterances, the settings and the protocol's version only: not on the manifest's order, nor on any
library's random generator.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from serene.corpora.manifest import Manifest
from serene.errors import SereneError, unknown
from serene.protocols.partition import VERSIONS
from serene.protocols.split import Split
from serene.registry import load

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
    protocol = load(name, PROTOCOLS, "protocol")
    settings = dict(settings or {})
    for key in settings:
        if key not in (known := _settings(protocol)):
            raise SereneError(unknown(f"setting of the protocol {name},", key, known))
    try:
        return protocol(manifest, **settings)
    except SereneError as error:
        servable = ", ".join(_servable(manifest)) or "no protocol"
        raise SereneError(f"{error} This corpus can serve: {servable}.") from error


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


def _servable(manifest: Manifest) -> list[str]:
    """Name the protocols that do split the manifest, by splitting it."""
    found = []
    for name, target in PROTOCOLS.items():
        if name == "leave_one_speaker_out" and len(manifest.speakers) * len(manifest) > MANY_CLIPS:
            continue
        protocol = load(target, {}, "protocol")
        ways = {name: {}}
        if _settings(protocol).get("validation") in FOREIGN:
            ways[f"{name} (with validation random20)"] = {"validation": "random20"}
        for way, settings in ways.items():
            with contextlib.suppress(SereneError):
                protocol(manifest, **settings)
                found.append(way)
                break
    return found


def _settings(protocol: Callable[..., Any]) -> dict[str, Any]:
    """Return the names of a protocol's settings with their defaults."""
    parameters = inspect.signature(protocol).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
