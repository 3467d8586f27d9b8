"""Recognizer: a model folder answers for sounds, one or many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast, get_args, overload

import numpy as np

from serene.audio.batch import Batch, by_length, padded
from serene.errors import SereneError, unknown
from serene.inference.emotion import Emotion
from serene.inference.features import Clip, FeatureExtractor
from serene.inference.folder import ModelFolder
from serene.inference.network import network_of
from serene.inference.profile import Profile
from serene.inference.sounds import Sound
from serene.models.network import Network
from serene.sound import SAMPLE_RATE
from serene.speaker import SpeakerContext, Statistics
from serene.trust import Names, accept

Precision = Literal["fp32", "bf16", "int8"]
Whose = Profile | str | Path | None  # a speaker's profile, or its file


class Recognizer:
    """A model that answers for sounds; safe to use from several threads.

    `Recognizer.load("model")("a.wav").label` is all that most need. What runs ahead in threads or processes of its own
    takes `extract` and `answer` apart: the first decodes and makes features, the second is the network.

    Attributes:
        folder: the model's files.
        extractor: turns sounds into clips; it can be sent to another process.
        labels: the classes or dimensions, in the order of the scores.
        loaded: what `load` was given, with which another process can load the same.

    Raises:
        SereneError: the profile is another model's, or an argument is out of range.
    """

    loaded: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        folder: ModelFolder,
        network: Network,
        *,
        profile: Whose = None,
        batch_size: int = 16,
        abstain: float | None = None,
    ) -> None:
        """Check the arguments; `load` is the ordinary way."""
        if batch_size < 1:
            raise SereneError(f"batch_size is {batch_size}; at least 1 was expected.")
        folder.task.check_abstain(abstain)
        self.folder, self.network, self.batch_size, self.abstain = folder, network, batch_size, abstain
        self.extractor, self.labels = FeatureExtractor.of(folder), folder.task.names
        self.profile = _read(profile)
        self._check([self.profile])

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        profile: Whose = None,
        batch_size: int = 16,
        abstain: float | None = None,
        threads: int | None = None,
        trust: Names = None,
    ) -> Recognizer:
        """Read a model.

        Args:
            model: a model folder, or a name on the Hugging Face hub; the bundled model without it.
            device: `auto` runs the folder's ONNX file on the CPU, or else PyTorch on a GPU where there is one;
                `cpu`, `cuda` and what else torch knows.
            precision: `fp32`; `int8` for the folder's quantised ONNX file; `bf16` for PyTorch in bfloat16.
            profile: of the speaker, made by `enrol`, or its file.
            batch_size: clips that the network is given at once, at most.
            abstain: answer `uncertain` where the highest score is below this.
            threads: that a batch may use: of ONNX 1 without it, of PyTorch its own choice.
            trust: code, `package.module:Name`, or weights that the folder may name beside serene's own.

        Raises:
            SereneError: there is no such model, file, device or precision, the profile is another model's, or the
                folder names what is not trusted.
            MissingExtra: a hub name without `huggingface_hub`, or a front end that needs torch without it.
        """
        accept(trust)
        if precision not in get_args(Precision):
            raise SereneError(unknown("precision", precision, get_args(Precision)))
        folder = ModelFolder.find(model)
        network = network_of(folder, device, precision, threads)
        own: dict[str, Any] = {"profile": profile, "batch_size": batch_size, "abstain": abstain}
        made = cls(folder, network, **own)
        made.loaded = own | {"model": model, "device": device, "precision": precision, "threads": threads}
        return made

    @property
    def info(self) -> dict[str, Any]:
        """What there is to know of the model, as plain data.

        `name`, `classes`, `noun` (what one of these is), `dimensions` (whether they are such), `personal` (whether it
        uses profiles), `rate` in hertz, `longest` in seconds (of a sound that is taken at once), `temperature`,
        `runs_on`, and `metrics` of the folder's `metrics.json` or None.
        """
        folder = self.folder
        own = {"name": folder.name, "classes": list(self.labels), "noun": folder.task.noun}
        own |= {"dimensions": folder.config["dimensions"], "personal": bool(folder.widths), "rate": SAMPLE_RATE}
        own |= {"longest": self.extractor.longest, "temperature": folder.temperature}
        return own | {"runs_on": self.network.what, "metrics": folder.metrics}

    @overload
    def __call__(self, sound: list[Sound], rate: int | None = None, *, profile: Whose = None) -> list[Emotion]: ...

    @overload
    def __call__(self, sound: Sound, rate: int | None = None, *, profile: Whose = None) -> Emotion: ...

    def __call__(
        self, sound: Sound | list[Sound], rate: int | None = None, *, profile: Whose = None
    ) -> Emotion | list[Emotion]:
        """Answer for a sound, or for a list of them.

        Args:
            sound: a path, bytes, open file, array, tensor, `(samples, rate)` or dictionary, as
                `serene.inference.sounds.samples_of` takes it; or a list of such.
            rate: of samples, in hertz.
            profile: of the speaker, or its file, instead of the one that the recognizer was loaded with.

        Raises:
            AudioError: a sound cannot be decoded, is empty, not finite, or too long.
            SereneError: the profile is another model's.
        """
        sounds = sound if isinstance(sound, list) else [sound]
        answers = self.answer([self.extract(one, rate) for one in sounds], profile=_read(profile))
        return answers if isinstance(sound, list) else answers[0]

    def extract(self, sound: Sound, rate: int | None = None) -> Clip:
        """Decode a sound, look for speech in it, and make its features; no network. See `FeatureExtractor`."""
        return self.extractor(sound, rate)

    def answer(
        self, clips: Sequence[Clip], *, profile: Profile | Sequence[Profile | None] | None = None
    ) -> list[Emotion]:
        """Answer for clips, in their order; batches are of like length, and change no score.

        Args:
            clips: as `extract` makes them.
            profile: of the speaker, or one (or None) for each clip; the recognizer's own without it.

        Raises:
            SereneError: a profile is another model's, or the weights are damaged.
        """
        given = [profile] * len(clips) if profile is None or isinstance(profile, Profile) else profile
        return self._answers(clips, [own or self.profile for own in given])

    def _answers(self, clips: Sequence[Clip], profiles: Sequence[Profile | None]) -> list[Emotion]:
        self._check(profiles)
        answers = [Emotion(None, {}, clip.duration, note=clip.note) for clip in clips]
        spoken = [(i, clip.features) for i, clip in enumerate(clips) if clip.features is not None]
        spec = self.extractor.front_end.spec
        most = self.network.clips(spec, self.batch_size)
        for places in by_length([len(features) for _, features in spoken], spec.width, most):
            rows = [spoken[place][0] for place in places]
            contexts = [self._context(clips[row], profiles[row]) for row in rows]
            context = SpeakerContext.stack(contexts) if self.folder.widths else None
            names = tuple(f"clip {row + 1}" for row in rows)
            batch = Batch(*padded([spoken[place][1] for place in places]), ids=names, context=context)
            for row, outputs, embedding in zip(rows, *self.network(batch), strict=True):
                answers[row] = self._emotion(outputs, embedding, clips[row], profiles[row])
        return answers

    def enrol(self, sounds: Iterable[Sound], rate: int | None = None) -> Profile:
        """Make a speaker's profile from clips of theirs; no label is needed.

        Args:
            sounds: each as a call takes it; those without speech are left out.
            rate: of samples, in hertz.

        Raises:
            AudioError: a sound cannot be decoded.
            SereneError: no clip holds speech, or the model answers for one clip at a time and has no use for a profile.
        """
        self.check_enrols()
        return self.enrolled([self.extract(sound, rate) for sound in sounds])

    def check_enrols(self) -> None:
        """Refuse to enrol where the model has no use for a profile.

        Raises:
            SereneError: the model answers for one clip at a time.
        """
        if not self.folder.widths:
            raise SereneError(
                f"The model {self.folder.name} answers for one clip at a time: a profile would change nothing. "
                "Models trained with model.embedding_norm=speaker or features.normalize=speaker use one."
            )

    def enrolled(self, clips: Sequence[Clip], folder: Profile | None = None) -> Profile:
        """Make a speaker's profile as `enrol` does, of clips that are decoded.

        Args:
            clips: of the speaker.
            folder: of all clips among which these are: the speaker's statistics are shrunk towards theirs.

        Raises:
            SereneError: no clip holds speech.
        """
        profile = Profile.made(clips, self.folder.identity)
        spoken = [clip for clip in clips if clip.features is not None]
        alone = self._answers(spoken, [None] * len(spoken))  # as of an unseen speaker
        if "embeddings" in self.folder.needs:
            rows = np.stack([cast(np.ndarray, own.embedding) for own in alone])
            profile = replace(profile, context=replace(profile.context, embeddings=Statistics.of(lambda: [rows])))
        answers = alone if folder is None else self._answers(spoken, [folder] * len(spoken))
        profile = replace(profile, said=self._said(answers))
        return profile if folder is None else profile.within(folder)

    def together(self, several: Iterable[Sequence[Clip]], of: str) -> Profile | None:
        """Make one profile of clips that come a few at a time, in memory that does not grow; None without speech."""
        profile = None
        for clips in several:
            if any(clip.features is not None for clip in clips):
                own = self.enrolled(clips)
                profile = own if profile is None else profile.joined(own)
        return profile and replace(profile, of=of)

    def _said(self, answers: Sequence[Emotion]) -> dict[str, int]:
        """Count how often each class is the likeliest; nothing for dimensions."""
        if self.folder.config["dimensions"]:
            return {}
        likeliest = Counter(max(answer.scores, key=answer.scores.__getitem__) for answer in answers)
        return {label: likeliest[label] for label in self.labels}

    def _context(self, clip: Clip, profile: Profile | None) -> SpeakerContext:
        """Tell what the model asks of a clip's speaker: by a profile, or else by the clip itself.

        Without a profile nothing is known where the training set's statistics can stand in for the speaker's.
        """
        widths = self.folder.widths
        if profile is not None:
            told = profile.told
            return told if "features" in widths else replace(told, features=None)
        nothing = {need: Statistics.of_nothing(widths[need]) for need in ("features", "embeddings") if need in widths}
        if "features" in widths and self.folder.config["enrolment_prior"] <= 0:
            nothing["features"] = Statistics.of(lambda: [cast(np.ndarray, clip.features)])
        return SpeakerContext(**nothing, cepstra=clip.cepstra)

    def _check(self, profiles: Sequence[Profile | None]) -> None:
        for profile in {id(own): own for own in profiles if own is not None}.values():
            profile.check(self.folder)

    def _emotion(self, outputs: np.ndarray, embedding: np.ndarray, clip: Clip, profile: Profile | None) -> Emotion:
        if not np.isfinite(outputs).all():
            raise SereneError(f"The model {self.folder.name} answers what is no number: its weights are damaged.")
        task = self.folder.task
        scores = dict(zip(self.labels, task.scores(outputs, self.folder.temperature).tolist(), strict=True))
        adapted = None if profile is None else profile.name
        emotion = Emotion(task.label(scores), scores, clip.duration, embedding, remark=clip.remark, adapted_to=adapted)
        return emotion.abstaining(self.abstain)


def _read(profile: Whose) -> Profile | None:
    if profile is None or isinstance(profile, Profile):
        return profile
    if isinstance(profile, str | Path):
        return Profile.read(profile)
    raise SereneError(f"A {type(profile).__name__} is no profile; one that `enrol` made, or its file, was expected.")
