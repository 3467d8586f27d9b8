"""What is answered for: sound files by path, or a manifest's clips by id, whose speakers can be enrolled."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

from serene import inside, sound
from serene.corpora.manifest import Manifest
from serene.corpora.utterances import Utterances
from serene.errors import SereneError
from serene.inference.emotion import Emotion
from serene.inference.features import Clip, joined
from serene.inference.places import Places
from serene.inference.profile import Profile
from serene.inference.recognizer import Recognizer
from serene.inference.sounds import Found, gather, refuse_loud
from serene.protocols.split import enrolment_ids

Clips = int | Literal["all"]  # that a speaker is enrolled with
TABLES = (".jsonl", ".parquet", ".json", ".csv", ".tsv")  # what a manifest is called, or mistaken for
ENROLLED = "enrolled_unlabelled_clips"  # column of how many of the speaker's own clips
ADAPTED = "adapted_to"  # column of whose clips the model was adapted to


class Files:
    """Sound files, each answered for by its path.

    Attributes:
        noun: what one of them is.
        columns: of rows, before what is answered.
        names: of all, in the order of the rows.
        passed_over: files whose names are not those of sounds.
        made_by: what answers depend on besides the model and each sound.
        folder: profile of all of them together, where the model is to be adapted to these.
        files: that say what they are, such as a manifest.
    """

    folder: Profile | None = None
    files: tuple[Path, ...] = ()

    noun, columns = "file", ("path",)

    def __init__(self, found: Found) -> None:
        """Take what `gather` found."""
        self.names: Sequence[str] = found.paths
        self.passed_over, self.made_by = found.passed_over, dict[str, Any]()
        self._unlisted = found.unlisted

    def audio(self, name: str) -> str:
        """Give the path of the sound file that one is in."""
        return name

    def state(self, name: str) -> list[Any]:
        """Tell one from the same one after a change of its file; the first entry is what it is known by."""
        return _state(name)

    def extract(self, name: str, recognizer: Recognizer) -> Clip:
        """Decode one, as `Recognizer.extract` does."""
        if name in self._unlisted:
            raise SereneError(self._unlisted[name])
        return recognizer.extract(name)

    def answer(self, names: Sequence[str], clips: Sequence[Clip], recognizer: Recognizer) -> list[Emotion]:
        """Answer for some of them."""
        return recognizer.answer(clips, profile=self.folder)

    def head(self, name: str, recognizer: Recognizer) -> dict[str, Any]:
        """Give the row's columns before what is answered."""
        own = {"path": sound.named(self.audio(name))}
        return own | {ADAPTED: None} if ADAPTED in self.columns else own

    def adapting(self) -> None:
        """Let rows say what they are adapted to, and answers depend on which sounds there are."""
        self.columns = (*self.columns, ADAPTED)
        state = json.dumps([self.state(name) for name in self.names], sort_keys=True)
        self.made_by = self.made_by | {"folder": hashlib.sha256(state.encode()).hexdigest()}


class ManifestClips(Files):
    """A manifest's clips, each answered for by its id, at its place in its file.

    Where speakers are enrolled, each is with so many of their own clips, or all, whose labels are not looked at. They
    are drawn by a hash of the ids, as `serene evaluate --enrolled` does, and are answered as well. Clips that cannot be
    decoded, or hold no speech, enrol nobody.

    Raises:
        SereneError: no manifest, or a model that cannot enrol.
    """

    noun, columns = "clip", ("id", "path")

    def __init__(self, path: Path, recognizer: Recognizer, enrol: Clips | None) -> None:
        """Read the manifest, and choose who is enrolled with what."""
        self._clips = Manifest.read(path).utterances
        self._places = Places(zip(self._clips.values("id"), itertools.count(), strict=False))
        self.files, self.names, self.passed_over, self.made_by = (path,), _Ids(self._clips), 0, {}
        self._enrolling: dict[str, list[str]] = {}
        self._profiles: dict[str, Profile | None] = {}
        if enrol is None:
            return
        recognizer.check_enrols()
        own: defaultdict[str, list[str]] = defaultdict(list)
        for u in self._clips:
            own[u.person].append(u.id)
        most = None if enrol == "all" else enrol
        self._enrolling = {person: enrolment_ids(ids, most) for person, ids in own.items()}
        self.columns = ("id", "path", ENROLLED)
        chosen = {person: [self.state(name) for name in names] for person, names in self._enrolling.items()}
        self.made_by = {"enrolled": hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()}

    def audio(self, name: str) -> str:
        """Give the path of the sound file that one is in."""
        return self._told(name, "audio")[0]

    def state(self, name: str) -> list[Any]:
        """Tell one from the same one after a change of its file or place; the first entry is its id."""
        audio, start, duration = self._told(name, "audio", "start", "duration")
        return [name, *_state(audio), start, duration, self._person(name)]

    def extract(self, name: str, recognizer: Recognizer) -> Clip:
        """Decode one at its place in the file."""
        audio, start, duration = self._told(name, "audio", "start", "duration")
        longest = recognizer.extractor.longest
        remarks: list[str] = []
        samples = sound.read(audio, start, duration, longest=longest, remarks=remarks)
        refuse_loud(samples, sound.named(audio))
        extracted = recognizer.extract(samples, sound.SAMPLE_RATE)
        return replace(extracted, remark=joined([*remarks, extracted.remark]))

    def answer(self, names: Sequence[str], clips: Sequence[Clip], recognizer: Recognizer) -> list[Emotion]:
        """Answer for some of them, by their speakers' profiles where these are enrolled."""
        if not self._enrolling:
            return super().answer(names, clips, recognizer)
        return recognizer.answer(clips, profile=[self._profile(name, recognizer) for name in names])

    def head(self, name: str, recognizer: Recognizer) -> dict[str, Any]:
        """Give the row's columns before what is answered."""
        own = {"id": name, **super().head(name, recognizer)}
        if not self._enrolling:
            return own
        profile = self._profile(name, recognizer)
        return own | {ENROLLED: 0 if profile is None or profile is self.folder else profile.clips}

    def _told(self, name: str, *columns: str) -> list[Any]:
        """Give some columns of a clip."""
        place = next(place for place in self._places[name] if self._clips.cells(place, "id") == [name])
        return self._clips.cells(place, *columns)

    def _person(self, name: str) -> str:
        """Say who speaks in a clip, as `Utterance.person` does."""
        return "{}/{}".format(*self._told(name, "corpus", "speaker"))

    def _profile(self, name: str, recognizer: Recognizer) -> Profile | None:
        """Make the profile of who speaks in a clip, once; None where none of their clips holds speech."""
        person = self._person(name)
        if person not in self._profiles:
            clips = []
            for own in self._enrolling[person]:
                with contextlib.suppress(SereneError, *sound.BROKEN):  # its own row says what is wrong with it
                    clips.append(self.extract(own, recognizer))
            spoken = any(clip.features is not None for clip in clips)
            self._profiles[person] = recognizer.enrolled(clips, self.folder) if spoken else self.folder
        return self._profiles[person]


class _Ids(Sequence[str]):
    """The ids of a manifest's clips, few of which are objects at the same time."""

    def __init__(self, clips: Utterances) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        return _Ids(self._clips[place]) if isinstance(place, slice) else self._clips.cells(place, "id")[0]

    def __iter__(self) -> Iterator[str]:
        return self._clips.values("id")


def source_of(paths: Sequence[str | Path], recognizer: Recognizer, enrol: Clips | None = None) -> Files:
    """Take one path for a manifest where it is called like a table, and all else for sounds and folders of them.

    Raises:
        SereneError: no such path, no sound, a manifest beside other paths, or speakers to enrol and no manifest.
    """
    tables = [Path(path) for path in paths if is_table(path)]
    if not tables:
        if enrol is not None:
            raise SereneError("--enrol-speakers needs a manifest, which says who speaks; `serene prepare` makes one.")
        return Files(gather(paths))
    if len(paths) > 1:
        raise SereneError(f"{sound.named(tables[0])} is a manifest: give it alone, and sounds in another run.")
    if recognizer.profile is not None and enrol is not None:
        raise SereneError("--profile and --enrol-speakers are two ways to say who speaks; choose one.")
    return ManifestClips(tables[0], recognizer, enrol)


def is_table(path: str | Path) -> bool:
    """Say whether a path is called as a manifest or another table is."""
    return os.path.splitext(path)[1].lower() in TABLES


def _state(path: str) -> list[Any]:
    try:
        status = os.stat((inside.parted(path) or (path,))[0])
    except OSError:
        return [os.path.abspath(path), None, None]
    return [os.path.abspath(path), status.st_size, status.st_mtime_ns]
