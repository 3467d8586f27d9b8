"""Protocol over lists of speakers or clips that the user gives: who tests, validates, trains, and which clips enrol."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic

from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.rows import PARTS
from serene.corpora.utterances import Utterances
from serene.errors import SereneError
from serene.protocols.partition import hold_back, make_split
from serene.protocols.split import Split, in_order, some, speakers_of
from serene.protocols.split_files import Entry, find, read_names

VALIDATIONS = ("official", "random20", "random10", "none")
TRAININGS = ("rest", "official")


def names(given: Any, *, rules: Sequence[str] = ()) -> Any:
    """Read a list where a file is given, so that settings hold what it says and not where it lies.

    Args:
        given: names, a file that lists them, or a rule; anything else is returned for others to refuse.
        rules: words that stand for themselves.

    Raises:
        SereneError: a word that is no rule and no file, or a file that cannot be read as a list.
    """
    if isinstance(given, list | tuple):
        return tuple(dict.fromkeys(map(str, given)))
    if not isinstance(given, str | Path) or given in rules:
        return given
    if not Path(given).is_file():
        known = f" and none of {', '.join(rules)}" if rules else ""
        raise SereneError(
            f"'{given}' is no file{known}. Expected: a file that lists speakers or clips, or their names, such as "
            "[1001, 1005]."
        )
    return read_names(given)


Names = Annotated[str | tuple[str, ...], pydantic.BeforeValidator(names)]
ValidationNames = Annotated[str | tuple[str, ...], pydantic.BeforeValidator(partial(names, rules=VALIDATIONS))]
TrainingNames = Annotated[str | tuple[str, ...], pydantic.BeforeValidator(partial(names, rules=TRAININGS))]


def speaker_lists(
    manifest: Manifest,
    *,
    test: Names = (),
    validation: ValidationNames = "random10",
    train: TrainingNames = "rest",
    adaptation: Names = (),
    strict: bool = True,
    seed: int = 0,
) -> list[Split]:
    """Test on the speakers or clips of a list, such as test-b and test-c of Tran et al. 2023; one split.

    A list is a file (one name on a line, or any that `split_files` knows) or names: of clips, or of speakers for all
    of theirs. Whoever is in a list is in no other part: further clips of a speaker whose clips are listed are left out.

    Args:
        manifest: any; `official` needs its column `split`.
        test: list of those who test.
        validation: list of those who validate; or `official`, the corpus's own part less the listed speakers;
            `random20` or `random10`, that share of training, stratified by emotion; `none`.
        train: list of those who train; or `rest`, everybody else; `official`, the corpus's own part less the listed
            speakers.
        adaptation: list of test speakers' clips that are not tested on. Where speakers are enrolled with
            unlabelled clips, test speakers are enrolled with these alone (test-a of Tran et al. 2023).
        strict: whether a name that the manifest does not hold is a mistake. Lists are read after the labels are chosen,
            so those that list every clip of a speaker need `false` where labels leave clips out.
        seed: of a random validation.

    Raises:
        SereneError: no test list, unknown names, lists that share speakers or clips, or no clip left of a part.
    """
    given = _given(test, validation, train, adaptation)
    clips = {part: _listed(part, who, manifest, strict) for part, who in given.items() if isinstance(who, tuple)}
    _need_apart({part: clips[part] for part in ("test", "validation", "train") if part in clips})
    tested = _less(clips["test"], clips["adaptation"], by_speaker=not set(manifest.speakers).isdisjoint(given["test"]))
    taken = speakers_of(Utterances.joined(clips.values()))
    rule = "list" if "validation" in clips else given["validation"]
    held: Sequence[Utterance] = clips.get("validation", ())
    if rule == "official":
        held = _official("validation", manifest, taken)
    learnt: Sequence[Utterance] = clips.get("train", ())
    if given["train"] == "official":
        learnt = _official("train", manifest, taken)
    elif given["train"] == "rest":
        taken |= speakers_of(held)
        learnt = manifest.utterances.where("speaker", lambda speaker: speaker not in taken)
    if rule not in ("list", "official"):
        learnt, held = hold_back(learnt, rule, seed, "speaker_lists")
    split = make_split("speaker_lists", "1", learnt, held, tested, rule)
    return [replace(split, set_aside=in_order(clips["adaptation"]))]


def _given(test: Any, validation: Any, train: Any, adaptation: Any) -> dict[str, Any]:
    """Read the lists, from files where these are given; rules stay as they are."""
    if not (tested := names(test)):
        raise SereneError(
            "Protocol speaker_lists needs `test`: a file that lists test speakers or clips, or their names, such as "
            "[1001, 1005]."
        )
    lists = {"test": tested, "adaptation": names(adaptation)}
    return lists | {"validation": names(validation, rules=VALIDATIONS), "train": names(train, rules=TRAININGS)}


def _listed(part: str, wanted: Sequence[str], manifest: Manifest, strict: bool) -> Utterances:
    """Give the clips that a list stands for: of its speakers, or where more of its names are clips, these."""
    utterances = manifest.utterances
    people = utterances.groups("speaker")
    speakers = {name: people[name] for name in wanted if name in people}
    clips: dict[str, Utterances] = {}
    if len(speakers) < len(wanted):
        entries = [Entry(name, name, part) for name in wanted]
        named = zip(utterances.values("id"), utterances.values("audio"), itertools.count(), strict=False)
        clips = {entry.name: utterances.take(np.array(found)) for entry, found in find(entries, named).items()}
    chosen = max(speakers, clips, key=len)
    missing = [name for name in wanted if name not in chosen]
    if missing and (strict or not chosen):
        kind = "speakers or clips" if not chosen else "clips" if chosen is clips else "speakers"
        raise SereneError(
            f"Protocol speaker_lists: {len(missing)} of the {len(wanted)} names that `{part}` lists are no {kind} of "
            f"the manifest: {some(missing)}. Labels and corpus.only leave clips out before lists are read; set strict "
            "to false to pass such names over."
        )
    if vague := [name for name, found in clips.items() if chosen is clips and len(found.counts("audio")) > 1]:
        raise SereneError(
            f"Protocol speaker_lists: several clips could be meant by names that `{part}` lists: {some(vague)}. "
            "Write the manifest's ids, or more of the paths."
        )
    found = Utterances.joined([utterances[:0], *(chosen[name] for name in wanted if name in chosen)])
    first = np.sort(np.unique(found.keys("id"), return_index=True)[1])
    return found.take(first)


def _need_apart(listed: Mapping[str, Utterances]) -> None:
    for (one, a), (other, b) in itertools.combinations(listed.items(), 2):
        if shared := speakers_of(a) & speakers_of(b):
            raise SereneError(
                f"Protocol speaker_lists: the lists of {one} and {other} share {len(shared)} speakers: {some(shared)}. "
                "A speaker belongs to one of them."
            )


def _less(tested: Utterances, aside: Utterances, *, by_speaker: bool) -> Utterances:
    """Take the clips set aside from the test, where it was listed by speaker; listed clips may not be in both."""
    if untested := speakers_of(aside) - speakers_of(tested):
        raise SereneError(
            f"Protocol speaker_lists: `adaptation` lists clips of speakers who are not tested: {some(untested)}."
        )
    adapting = set(aside.values("id"))
    if not by_speaker and (both := adapting & set(tested.values("id"))):
        raise SereneError(
            f"Protocol speaker_lists: the lists of test and adaptation share {len(both)} clips: {some(both)}."
        )
    left = tested.where("id", lambda name: name not in adapting)
    if silent := speakers_of(tested) - speakers_of(left):
        raise SereneError(
            f"Protocol speaker_lists: `adaptation` lists all clips of {some(silent)}; none is left to test on."
        )
    return left


def _official(part: str, manifest: Manifest, taken: frozenset[str]) -> Utterances:
    own = manifest.utterances.where("split", lambda name: PARTS.get((name or "").lower()) == part)
    clips = own.where("speaker", lambda speaker: speaker not in taken)
    if not clips:
        raise SereneError(
            f"Protocol speaker_lists: no clip of the corpus's own part {part} is left without the listed speakers. "
            f"`{part}: official` needs a manifest whose column `split` names that part."
        )
    return clips
