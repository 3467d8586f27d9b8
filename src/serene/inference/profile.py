"""Profile: what a model has to know of a speaker, from their unlabelled clips; nothing that gives the audio back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serene.errors import SereneError
from serene.files import write_text
from serene.inference.clip import Clip
from serene.inference.features import VOICE
from serene.inference.folder import ModelFolder
from serene.sound import named

FORMAT = 1  # of the file; a reader refuses what is newer
OPTIONAL = ("voice", "embedding", "embedding_deviation")  # arrays that not every model asks for
LARGEST = 1e20  # of a number in a file, so that standardising by the smallest deviation stays far within float32
MOST = 2**31  # frames or clips: nobody speaks so long, and every integer type holds them
SMALLEST = 1e-5  # of a deviation, so that a constant feature divides safely: as in training


@dataclass(frozen=True, eq=False)
class Profile:
    """A speaker's statistics, for one model; made by `Recognizer.enrol`.

    Attributes:
        model: the identity of the model that it is for.
        mean: float32 (feature,), over all frames of the speaker's clips.
        deviation: float32 (feature,), over the same.
        frames: how many those were.
        clips: clips that were heard.
        seconds: of sound in them.
        voice: float32 (coefficient,) mean cepstra, over clips, where the model asks for them.
        embedding: float32 (feature,) mean of the clips' embeddings.
        embedding_deviation: float32 (feature,) of the same, where the model standardises embeddings by speaker.
        prior: mean of the clips' scores, by class or dimension: what the model is inclined to say of this speaker.
    """

    model: str
    mean: np.ndarray
    deviation: np.ndarray
    frames: int
    clips: int
    seconds: float
    voice: np.ndarray | None = None
    embedding: np.ndarray | None = None
    embedding_deviation: np.ndarray | None = None
    prior: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, clips: Sequence[Clip], model: str) -> Profile:
        """Take the statistics over all frames of some clips, those without speech left out.

        Raises:
            SereneError: no clip holds speech.
        """
        heard = [clip.features for clip in clips if clip.features is not None]
        if not heard:
            raise SereneError(f"None of the {len(clips)} clips holds speech that a profile could be made of.")
        mean, deviation = statistics(heard)
        voices = [clip.voice for clip in clips if clip.voice is not None]
        return cls(
            model,
            mean,
            deviation,
            frames=sum(map(len, heard)),
            clips=len(heard),
            seconds=round(sum(clip.duration for clip in clips if clip.features is not None), 3),
            voice=np.mean(voices, axis=0) if voices else None,
        )

    @property
    def enrolment(self) -> tuple[np.ndarray, int]:
        """What a model reads of the speaker: (2, feature) mean and deviation, and of how many clips or frames.

        Of embeddings for a model that standardises these by speaker, of features for others.
        """
        if self.embedding is not None and self.embedding_deviation is not None:
            return np.stack([self.embedding, self.embedding_deviation]), self.clips
        return np.stack([self.mean, self.deviation]), self.frames

    @classmethod
    def read(cls, path: str | Path) -> Profile:
        """Read a file that `write` wrote.

        Raises:
            SereneError: it is missing or damaged, no profile, or a newer serene wrote it.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise SereneError(f"{named(path)} is no readable profile: there is no such file.") from error
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str | bytes, name: str | Path) -> Profile:
        """Read the text of a file that `write` wrote; whose it is, messages say by `name`.

        Raises:
            SereneError: it is damaged, no profile, or a newer serene wrote it.
        """
        try:
            kept = json.loads(text)
            if not isinstance(kept, dict) or not isinstance(kept.get("format"), int):
                raise ValueError("it does not say its format")
            if kept["format"] > FORMAT:
                raise SereneError(f"{name} was written by a newer serene (format {kept['format']}); update serene.")
            profile = cls(
                model=str(kept["model"]),
                mean=_vector(kept["mean"]),
                deviation=_vector(kept["deviation"]),
                frames=int(kept["frames"]),
                clips=int(kept["clips"]),
                seconds=float(kept["seconds"]),
                **{name: None if kept[name] is None else _vector(kept[name]) for name in OPTIONAL},
                prior={str(name): float(share) for name, share in kept["prior"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise _unreadable(name, error) from error
        if not profile._plausible():
            raise SereneError(f"{name} is no readable profile: its statistics are not those of any clips.")
        return profile

    def _plausible(self) -> bool:
        """Whether the numbers may be those of clips."""
        spreads = [own for own in (self.deviation, self.embedding_deviation) if own is not None]
        narrow = any(own.min() < np.float32(SMALLEST) for own in spreads)
        counted = all(0 < count < MOST for count in (self.frames, self.clips))
        return counted and len(self.mean) == len(self.deviation) and not narrow

    def write(self, path: str | Path) -> None:
        """Write the profile as JSON, whole or not at all."""
        write_text(path, json.dumps(self.to_dict(), indent=2) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as the file holds it."""
        arrays = {name: getattr(self, name) for name in ("mean", "deviation", *OPTIONAL)}
        plain = {name: None if array is None else array.tolist() for name, array in arrays.items()}
        own = {name: getattr(self, name) for name in ("model", "clips", "seconds", "frames")}
        return {"format": FORMAT, **own, "prior": dict(self.prior), **plain}

    def check(self, folder: ModelFolder) -> None:
        """Refuse to serve another model than the one that it was made for.

        Raises:
            SereneError: it is another's, or its numbers do not fit its model.
        """
        if self.model != folder.identity:
            raise SereneError(
                f"This profile was made for the model {self.model}, and this is {folder.identity}: their features and "
                "weights differ. Enrol the speaker again: serene enrol CLIPS -o PROFILE.json --model MODEL."
            )
        held = (self.mean, *(getattr(self, name) for name in OPTIONAL))
        widths = tuple(None if array is None else len(array) for array in held)
        enrols, voice = folder.parts.enrols_embeddings, VOICE.width if folder.parts.hears_voices else None
        embedding = folder.config["embedding_width"] if enrols else widths[2]
        if widths != (folder.config["width"], voice, embedding, embedding if enrols else None):
            raise SereneError("This profile holds other numbers than its model reads; enrol the speaker again.")


def statistics(features: Sequence[np.ndarray]) -> np.ndarray:
    """Give mean and deviation of every feature over all frames of some clips (frame, feature): float32 (2, feature)."""
    frames = sum(map(len, features))
    mean = sum(own.sum(axis=0, dtype=np.float64) for own in features) / frames
    variance = sum(((own - mean) ** 2).sum(axis=0) for own in features) / frames
    return np.stack([mean, np.maximum(np.sqrt(variance), SMALLEST)]).astype(np.float32)


def _unreadable(name: str | Path, error: Exception) -> SereneError:
    """Say what is wrong with a file, without repeating what is in it: that may be anything."""
    why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else getattr(error, "strerror", None)
    why = why or "it is damaged, or something else altogether"
    return SereneError(f"{named(name)} is no readable profile, such as `serene enrol` writes: {why}.")


def _vector(values: Any) -> np.ndarray:
    """Read a list of numbers that float32 can be computed with."""
    if not values or not all(abs(value) <= LARGEST for value in values):  # not a number is no more than anything
        raise ValueError("numbers are missing, not finite or too large")
    return np.array(values, dtype=np.float32)
