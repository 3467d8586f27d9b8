"""Split: one fold of a protocol, which proves when it is made that its test speakers are unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.utterance import Utterance
from serene.corpora.utterances import Utterances
from serene.errors import SereneError, quoted

RANDOM_SHARES = {"random20": 0.2, "random10": 0.1}  # the only rules whose validation may share training's speakers
PARTS = ("train", "validation", "test", "unlabelled", "set_aside")


def _none() -> Utterances:
    return Utterances.of(())


@dataclass(frozen=True, kw_only=True)
class Split:
    """One fold of a protocol; constructing it proves that test shares no speaker with training or validation.

    Attributes:
        protocol: the protocol's name; version: of its definition.
        fold: the fold's name, unique within the protocol.
        train, validation, test: utterances in the order of their ids, any sequences; validation may be empty.
        validation_rule: how validation was chosen. Only `random20` and `random10` let it share training's speakers.
        unlabelled: clips that speakers are enrolled with, without their labels; exempt from the proof, and stamped.
        set_aside: clips of test speakers that are in no part: where their speakers are enrolled, then with these alone.

    Raises:
        SereneError: speakers are shared or unknown, an utterance is in two parts, train or test is empty, or training
            lacks a class that test has. There is no flag that turns this off.
    """

    protocol: str
    version: int
    fold: str
    train: Utterances
    validation: Utterances
    test: Utterances
    validation_rule: str
    unlabelled: Utterances = field(default_factory=_none)
    set_aside: Utterances = field(default_factory=_none)

    def __post_init__(self) -> None:
        """Prove what the class promises."""
        for part in PARTS:
            object.__setattr__(self, part, Utterances.of(getattr(self, part)))
        self._prove_parts()
        self._prove_speakers()

    def _prove_parts(self) -> None:
        for part in ("train", "test"):
            if not getattr(self, part):
                raise SereneError(f"{self._where}: the {part} part is empty; each fold needs training and test clips.")
        clips = Utterances.joined((self.labelled, self.set_aside))
        if repeated := [clips[int(places[0])].id for places in clips.repeated("id")]:
            raise SereneError(f"{self._where}: {some(repeated)} in more than one place; a clip belongs to one part.")
        lacking = set(filter(None, self.test.counts("emotion"))) - set(self.train.counts("emotion"))
        if lacking:
            raise SereneError(
                f"{self._where}: training holds no clip of {some(lacking)}, which its test has. "
                "Choose a protocol with other folds, or leave the class out in the recipe's `labels`."
            )

    def _prove_speakers(self) -> None:
        if nameless := self.of_unknown_speakers:
            raise SereneError(
                f"{self._where}: {len(nameless)} clips are of the speaker '{UNKNOWN_SPEAKER}', such as "
                f"{nameless[0].id}. That may be anybody, so test speakers cannot be proven to be unseen. Leave such "
                "clips out (on MSP-Podcast with corpus.only: {speaker: '[0-9]*'}), or take protocol official, whose "
                "reports then say that it proves nothing."
            )
        shared = self.test_speakers & (speakers_of(self.train) | speakers_of(self.validation))
        if shared:
            raise SereneError(f"{self._where}: test shares speakers with training or validation: {some(shared)}.")
        if same := self._same_audio():
            raise SereneError(
                f"{self._where}: test shares audio with training or validation under another speaker's name: "
                f"{some(same)}."
            )
        shared = speakers_of(self.validation) & speakers_of(self.train)
        if shared and self.validation_rule not in RANDOM_SHARES:
            raise SereneError(
                f"{self._where}: validation shares speakers with training: {some(shared)}. "
                f"Only the rules {' and '.join(RANDOM_SHARES)} allow that, and '{self.validation_rule}' is neither."
            )

    def _same_audio(self) -> list[str]:
        clips, learnt, same = self.labelled, len(self.train) + len(self.validation), list[str]()
        for places in clips.repeated("audio_hash"):
            before = places[places < learnt]
            if len(before):
                tested = clips.take(places[places >= learnt])
                same += [f"{name} is {clips[int(before[-1])].id}" for name in tested.values("id")]
        return same

    @property
    def _where(self) -> str:
        return f"Protocol {self.protocol}, fold {self.fold}"

    @property
    def labelled(self) -> Utterances:
        """The clips of all three parts."""
        return Utterances.joined((self.train, self.validation, self.test))

    @property
    def of_unknown_speakers(self) -> Utterances:
        """The clips of the three parts whose speaker nobody has identified."""
        return self.labelled.where("speaker", UNKNOWN_SPEAKER.__eq__)

    @property
    def speaker_independent(self) -> bool:
        """Whether test speakers are proven to be unseen in training and validation."""
        return True

    @property
    def test_speakers(self) -> frozenset[str]:
        """All who talk in the test part."""
        return speakers_of(self.test)

    @property
    def saw_unlabelled_test_audio(self) -> bool:
        """Whether a test speaker is enrolled with unlabelled clips of their own."""
        return not self.test_speakers.isdisjoint(speakers_of(self.unlabelled))

    @property
    def stamps(self) -> tuple[str, ...]:
        """What every report of this split has to say, in plain words; empty where nothing needs saying."""
        stamps = []
        trained = speakers_of(self.train)
        seen = trained | speakers_of(self.validation)
        nameless = len(self.of_unknown_speakers)
        if nameless:
            stamps.append(f"speakers not proven to be apart: {nameless} clips are of unknown ones, who may be anybody")
        known = self.test_speakers - {UNKNOWN_SPEAKER}
        count = len(known & seen)
        if count or not (nameless or self.speaker_independent):
            stamps.append(
                f"speaker dependent: {count} of {len(known)} test speakers are also in training or validation"
            )
        if shared := (speakers_of(self.validation) & trained) - {UNKNOWN_SPEAKER}:
            stamps.append(f"validation ({self.validation_rule}) shares {len(shared)} speakers with training")
        if self.saw_unlabelled_test_audio:
            clips = len(self.unlabelled.where("speaker", self.test_speakers.__contains__))
            stamps.append(f"test speakers are enrolled with {clips} unlabelled clips of their own")
        return tuple(stamps)

    def with_unlabelled(self, clips: int | None = None, audio: Iterable[Utterance] | None = None) -> Split:
        """Return a copy whose speakers are enrolled with unlabelled clips of their own.

        Args:
            clips: so many of each speaker, drawn by a hash of their ids; all without it.
            audio: where they are taken from, whatever their labels; the split's own three parts without it. Speakers
                who have clips set aside are enrolled with these alone.

        Raises:
            SereneError: fewer than one clip.
        """
        if clips is not None and clips < 1:
            raise SereneError(f"{clips} unlabelled clips per speaker were asked for; at least 1 is needed, or all.")
        free = speakers_of(self.labelled) - speakers_of(self.set_aside)
        others = Utterances.of(self.labelled if audio is None else audio).where("speaker", free.__contains__)
        own = Utterances.joined((others, self.set_aside)).groups("speaker").values()
        return replace(self, unlabelled=in_order(Utterances.joined(enrolment_clips(said, clips) for said in own)))


@dataclass(frozen=True, kw_only=True)
class SpeakerDependentSplit(Split):
    """One fold of a task that needs shared speakers, or has unknown ones; every report of it is stamped.

    Raises:
        SereneError: an utterance is in two parts, train or test is empty, or training lacks a class that test has.
    """

    def _prove_speakers(self) -> None:
        """Prove nothing about speakers: sharing them is what this class is for, and its name and stamps say so."""

    @property
    def speaker_independent(self) -> bool:
        """False, even where the speakers happen to be apart."""
        return False


def speakers_of(utterances: Iterable[Utterance]) -> frozenset[str]:
    """All who talk in the utterances."""
    return frozenset(Utterances.of(utterances).counts("speaker"))


def enrolment_clips(utterances: Iterable[Utterance], clips: int | None) -> Utterances:
    """Draw so many utterances by a hash of their ids, which tells nothing of what is in them; all for None."""
    said = Utterances.of(utterances)
    return said.take(shuffled_places(said.values("id"), 0, "enrolment")[:clips])


def enrolment_ids(ids: Iterable[str], clips: int | None) -> list[str]:
    """Draw so many ids by their hashes, as `enrolment_clips` does; all for None."""
    return shuffled(ids, 0, "enrolment")[:clips]


def in_order(utterances: Iterable[Utterance]) -> Utterances:
    """Sort utterances by id."""
    return Utterances.of(utterances).in_order()


def shuffled(names: Iterable[str], seed: int, salt: str) -> list[str]:
    """Order names by a salted hash: random, yet the same for any input order and any version of any library."""
    names = list(names)
    return [names[place] for place in shuffled_places(names, seed, salt)]


def shuffled_places(names: Iterable[str], seed: int, salt: str) -> np.ndarray:
    """Give the places (name,) that names have in the order of `shuffled`; memory grows by 40 bytes a name."""
    digests = bytearray()
    for name in names:
        digests += hashlib.blake2b(f"{seed}\0{salt}\0{name}".encode()).digest()[:16]
    first, second = np.frombuffer(digests, ">u8").reshape(-1, 2).T
    return np.lexsort((second, first))


def some(names: Iterable[str]) -> str:
    """Name the first five, sorted, and count the rest."""
    names = sorted(names)
    return quoted(", ".join(names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
