"""Split: one fold of a protocol, which proves when it is made that its test speakers are unseen."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.manifest import Utterance
from serene.errors import SereneError, quoted

RANDOM_SHARES = {"random20": 0.2, "random10": 0.1}  # the only rules whose validation may share training's speakers

Utterances = tuple[Utterance, ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """One fold of a protocol; constructing it proves that test shares no speaker with training or validation.

    Attributes:
        protocol: the protocol's name; version: of its definition.
        fold: the fold's name, unique within the protocol.
        train, validation, test: utterances in the order of their ids; validation may be empty.
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
    unlabelled: Utterances = ()
    set_aside: Utterances = ()

    def __post_init__(self) -> None:
        """Prove what the class promises."""
        self._prove_parts()
        self._prove_speakers()

    def _prove_parts(self) -> None:
        for part in ("train", "test"):
            if not getattr(self, part):
                raise SereneError(f"{self._where}: the {part} part is empty; each fold needs training and test clips.")
        counts = Counter(u.id for u in (*self.labelled, *self.set_aside))
        repeated = sorted(name for name, count in counts.items() if count > 1)
        if repeated:
            raise SereneError(f"{self._where}: {some(repeated)} in more than one place; a clip belongs to one part.")
        lacking = {u.emotion for u in self.test if u.emotion} - {u.emotion for u in self.train}
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
        learnt = {u.audio_hash: u.id for u in (*self.train, *self.validation) if u.audio_hash}
        same = [f"{u.id} is {learnt[u.audio_hash]}" for u in self.test if u.audio_hash in learnt]
        if same:
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

    @property
    def _where(self) -> str:
        return f"Protocol {self.protocol}, fold {self.fold}"

    @property
    def labelled(self) -> Utterances:
        """The clips of all three parts."""
        return (*self.train, *self.validation, *self.test)

    @property
    def of_unknown_speakers(self) -> Utterances:
        """The clips of the three parts whose speaker nobody has identified."""
        return tuple(u for u in self.labelled if u.speaker == UNKNOWN_SPEAKER)

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
            clips = sum(u.speaker in self.test_speakers for u in self.unlabelled)
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
        own: defaultdict[str, list[Utterance]] = defaultdict(list)
        others = (u for u in (self.labelled if audio is None else audio) if u.speaker in free)
        for utterance in (*others, *self.set_aside):
            own[utterance.speaker].append(utterance)
        return replace(self, unlabelled=in_order(u for said in own.values() for u in enrolment_clips(said, clips)))


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
    return frozenset(u.speaker for u in utterances)


def enrolment_clips(utterances: Iterable[Utterance], clips: int | None) -> Utterances:
    """Draw so many utterances by a hash of their ids, which tells nothing of what is in them; all for None."""
    by_id = {u.id: u for u in utterances}
    return tuple(by_id[name] for name in enrolment_ids(by_id, clips))


def enrolment_ids(ids: Iterable[str], clips: int | None) -> list[str]:
    """Draw so many ids by their hashes, as `enrolment_clips` does; all for None."""
    return shuffled(ids, 0, "enrolment")[:clips]


def in_order(utterances: Iterable[Utterance]) -> Utterances:
    """Sort utterances by id."""
    return tuple(sorted(utterances, key=lambda u: u.id))


def shuffled(names: Iterable[str], seed: int, salt: str) -> list[str]:
    """Order names by a salted hash: random, yet the same for any input order and any version of any library."""
    return sorted(names, key=lambda name: hashlib.blake2b(f"{seed}\0{salt}\0{name}".encode()).digest())


def some(names: Iterable[str]) -> str:
    """Name the first five, sorted, and count the rest."""
    names = sorted(names)
    return quoted(", ".join(names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
