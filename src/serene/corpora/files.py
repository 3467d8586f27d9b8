"""Your own corpus of sound files whose names, or whose folders' names, say who speaks and with which emotion.

A pattern says how: `{speaker}_{text}_{emotion}.wav`, or `{speaker}/{emotion}/*.wav`. It is compared with the end of
each path, with as many folders of it as the pattern has. In it stand

    {speaker}            a field: any column of a manifest that is a word or a rating, and `text` for `text_id`
    {emotion:map.yaml}   a field whose values are the keys of a YAML file, `W: anger`, that says what they mean
    {speaker:2}          a field of two characters
    *                    what says nothing

A field never holds the signs that stand beside it in the pattern: `a_b_c` does not fit `{speaker}_{emotion}`. A field
that stands twice is joined by an underscore. Without an extension any sound fits. Emotion names become whole words as
those of a table do. Names that do not fit are left out, and a remark counts them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from serene.corpora.folder import each_sound, first_of_each_id, not_found, stray
from serene.corpora.left_out import LeftOut
from serene.corpora.manifest import COLUMNS, Manifest, utterance_from
from serene.corpora.spelling import whole_words
from serene.corpora.utterances import Utterances
from serene.errors import SereneError, unknown
from serene.files import regular
from serene.settings import parse
from serene.sound import DECODED, NOT_DECODED

HOME = "The files are your own; --pattern says how they are named."
LICENCE = "your own"
CITATION = "none"

PATTERN = "{speaker}_{text}_{emotion}"
FIELDS = frozenset(COLUMNS) - {"id", "audio", "start", "duration", "sample_rate", "audio_hash", "votes"} | {"text"}
TOKEN = re.compile(r"\{(?P<field>\w+)(?::(?P<form>[^{}]+))?\}|(?P<rest>\*)|(?P<text>[^{}*]+)")
SOUNDS = (*DECODED, *NOT_DECODED)
EXAMPLES = 3

Meanings = Mapping[str, str | None]


def read(folder: Path, pattern: str = PATTERN) -> Manifest:
    """Read the names below a folder; no sound is decoded.

    Raises:
        SereneError: the pattern has no speaker, an unknown field, or two that nothing tells apart; a mapping cannot be
            read; or the pattern fits no file, of which the message shows three.
    """
    pattern = pattern.replace("\\", "/")
    ending = Path(pattern).suffix.lower()
    ending = ending if ending in SOUNDS else ""
    names, fields = _compiled(pattern[: len(pattern) - len(ending)])
    left_out, spelt = list[LeftOut](), list[str]()

    def rows() -> Iterator[dict[str, Any]]:
        # of two with one name the readable one is kept, since it comes first
        for path in itertools.chain(each_sound(folder, DECODED), each_sound(folder, NOT_DECODED)):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if not _is_text(stem):
                left_out.append(LeftOut(stem, str(path), "its name is no text in UTF-8; call it otherwise"))
            elif ending in ("", path.suffix.lower()) and (name := names.fullmatch(stem)):
                yield _row(fields, name) | {"id": stem, "audio": str(path)}
            else:
                left_out.append(stray(path, pattern))

    clips = Utterances.of(utterance_from(row, row["audio"]) for row in whole_words(rows(), spelt))
    fits = f"The pattern '{pattern}' fits {len(clips)} of {len(clips) + len(left_out)} sound files"
    if left_out:
        strange = [str(Path(item.audio).relative_to(folder)) for item in left_out[:EXAMPLES]]
        fits += f"; not, for example, {', '.join(strange)}"
    missing = not_found("sounds that are named so", folder, f"names that fit the pattern. {fits}", HOME, LICENCE)
    return first_of_each_id(clips, left_out, missing, [f"{fits}.", *spelt])


def _compiled(pattern: str) -> tuple[re.Pattern[str], list[tuple[str, Meanings]]]:
    """Make the expression that paths without their extension fit, and its groups: their columns, what values mean."""
    tokens = list(TOKEN.finditer(pattern))
    if "".join(token[0] for token in tokens) != pattern:
        raise SereneError(f"The pattern '{pattern}' has a brace alone; fields are written as {{speaker}}.")
    for one, other in itertools.pairwise(tokens):
        if not any(token["text"] or token["form"] for token in (one, other)):
            raise SereneError(
                f"In the pattern '{pattern}' nothing stands between {one[0]} and {other[0]} that tells where one ends; "
                "say how many characters a field takes, such as {speaker:2}."
            )
    signs = ["", *(token["text"] or "" for token in tokens), ""]
    parts, fields = ["(?:.*/)?"], []
    for token, before, after in zip(tokens, signs, signs[2:], strict=False):
        form, meanings = token["form"], {}
        beside = "".join(sign for sign in (before[-1:], after[:1], "/") if not sign.isalnum())
        part = f"[^{re.escape(beside)}]+"
        if form and form.isdigit():
            part = f"[^/]{{{form}}}"
        elif form:
            meanings = _meanings(form)
            part = "|".join(re.escape(value) for value in sorted(meanings, key=len, reverse=True))
        if field := token["field"]:
            if field not in FIELDS:
                raise SereneError(unknown("field of the pattern", field, FIELDS))
            fields.append(("text_id" if field == "text" else field, meanings))
        parts.append(f"({part})" if field else "[^/]*" if token["rest"] else re.escape(token["text"]))
    if "speaker" not in dict(fields):
        raise SereneError(
            f"The pattern '{pattern}' has no {{speaker}}. Every clip needs one, since splits are made by speaker."
        )
    return re.compile("".join(parts)), fields


def _meanings(path: str) -> Meanings:
    try:
        told = parse(regular(path).read_text(encoding="utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise SereneError(f"Cannot read {path}, which the pattern names as a mapping: {error}.") from error
    if not isinstance(told, dict) or not told or not all(isinstance(v, str | None) for v in (*told, *told.values())):
        raise SereneError(f"{path} is no mapping; lines such as `W: anger` were expected, one for each value.")
    return {str(value): meaning for value, meaning in told.items()}


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:  # of bytes that another system wrote
        return False


def _row(fields: Sequence[tuple[str, Meanings]], name: re.Match[str]) -> dict[str, Any]:
    """Give the columns of a file; a column whose field stands twice is joined."""
    row: dict[str, Any] = {}
    for (column, meanings), value in zip(fields, name.groups(), strict=True):
        meant = meanings.get(value, value)
        row[column] = f"{row[column]}_{meant}" if column in row else meant
    return row
