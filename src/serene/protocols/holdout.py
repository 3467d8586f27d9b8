"""Protocols that partition the corpus once: speakers, the corpus's own parts, or utterances at random."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Literal, get_args

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.manifest import Manifest
from serene.corpora.rows import PARTS
from serene.corpora.utterance import DECISIVE
from serene.corpora.utterances import Utterances
from serene.errors import SereneError, unknown
from serene.protocols.partition import (
    check_choice,
    evenly,
    grouped_by,
    hold_back,
    make_folds,
    make_split,
    need_two_speakers,
    sizes,
    stratified,
)
from serene.protocols.split import SpeakerDependentSplit, Split, in_order, shuffled, some, speakers_of

OfficialValidation = Literal["official", "random20", "random10", "none"]


def speaker_holdout(
    manifest: Manifest,
    *,
    train: int | float = 0.8,
    validation: int | float = 0.1,
    test: int | float = 0.1,
    balance: tuple[str, ...] = (),
    seed: int = 0,
) -> list[Split]:
    """Partition the speakers once, as in the 200/25/25 of Tu et al. 2019, section 4.1; one split.

    Args:
        manifest: any.
        train: number of training speakers; or a fraction, if all three are fractions that sum to 1.
        validation: the same of validation speakers; 0 takes none.
        test: the same of test speakers; all speakers belong to one of the three parts.
        balance: columns, such as gender and ethnicity, whose mix each part should share; the first counts most.
        seed: of the partition.
    """
    for column in balance:
        if column not in DECISIVE:
            raise SereneError(unknown("column to balance", column, DECISIVE))
    need_two_speakers(manifest)
    n_test, n_validation = sizes((train, validation, test), len(manifest.speakers), "speakers")
    ordered, strata = in_order(manifest.utterances), dict[str, tuple[str, ...]]()
    for speaker, *stratum in zip(*(ordered.values(name) for name in ("speaker", *balance)), strict=True):
        strata.setdefault(speaker, tuple(map(str, stratum)))
    speakers = sorted(shuffled(strata, seed, ""), key=strata.__getitem__)
    testing = evenly(speakers, n_test)
    validating = evenly([s for s in speakers if s not in testing], n_validation)
    part = {s: "test" if s in testing else "validation" if s in validating else "train" for s in speakers}
    parts = (ordered.where("speaker", lambda s, p=p: part[s] == p) for p in ("train", "validation", "test"))
    learnt, held, tested = parts
    return [make_split("speaker_holdout", "1", learnt, held, tested, "speaker" if n_validation else "none")]


def official(manifest: Manifest, *, validation: OfficialValidation = "official", seed: int = 0) -> list[Split]:
    """Take the corpus's own parts from the manifest's column `split`; each test part is a fold of its own.

    Where the corpus's parts share speakers, or hold unknown ones, the splits are `SpeakerDependentSplit`.

    Args:
        manifest: `split` is train, validation (or dev, ...), or a name that begins with test.
        validation: `official` takes the corpus's own part; `random20` and `random10` that share of the training part,
            stratified by emotion; `none` nothing. The corpus's own part is then in none.
        seed: of the random validation.
    """
    check_choice(validation, get_args(OfficialValidation))
    found: defaultdict[str, list[Utterances]] = defaultdict(list)
    for name, clips in grouped_by("split", manifest).items():
        found[PARTS.get(name.lower(), name.lower())].append(clips)
    parts = {name: Utterances.joined(clips) for name, clips in found.items()}
    tests = sorted(name for name in parts if name.startswith("test"))
    strange = sorted(set(parts) - {"train", "validation", *tests})
    if strange or not tests or "train" not in parts:
        raise SereneError(
            f"Protocol official needs a column `split` with train, test and perhaps validation; found {some(parts)}."
        )
    if validation == "official" and not parts.get("validation"):
        raise SereneError("The corpus has no official validation part; set validation to random20, random10 or none.")

    def of(name: str) -> Split:
        train, held = parts["train"], parts.get("validation", ())
        if validation != "official":
            train, held = hold_back(train, validation, seed, "official")
        shared = speakers_of(parts[name]) & (speakers_of(train) | speakers_of(held))
        if validation == "official":
            shared |= speakers_of(train) & speakers_of(held)
        unknown_too = any(UNKNOWN_SPEAKER in speakers_of(part) for part in (train, held, parts[name]))
        kind = SpeakerDependentSplit if shared or unknown_too else Split
        return make_split("official", name, train, held, parts[name], validation, kind)

    return make_folds({name: partial(of, name) for name in tests})


def random_speaker_dependent(
    manifest: Manifest,
    *,
    train: float = 0.8,
    validation: float = 0.1,
    test: float = 0.1,
    repeats: int = 1,
    seed: int = 0,
) -> list[Split]:
    """Partition the utterances at random, stratified by emotion: speakers are on both sides, as every report says.

    Args:
        manifest: any.
        train: fraction of each emotion's utterances; the three sum to 1.
        validation: the same for validation; 0 takes none.
        test: the same for the test.
        repeats: number of independent partitions; the folds are named 1, 2, ...
        seed: of the partitions.
    """
    n_test, n_validation = sizes((train, validation, test), len(manifest), "utterances")
    if repeats < 1:
        raise SereneError(f"Protocol random_speaker_dependent was asked for {repeats} repeats; at least 1 is needed.")
    splits = []
    for fold in map(str, range(1, repeats + 1)):
        rest, testing = stratified(manifest.utterances, n_test / len(manifest), seed, f"test {fold}")
        rest, held = stratified(rest, n_validation / (len(manifest) - n_test), seed, f"validation {fold}")
        rule = "random" if held else "none"
        splits.append(make_split("random_speaker_dependent", fold, rest, held, testing, rule, SpeakerDependentSplit))
    return splits
