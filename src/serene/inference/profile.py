"""Profile: what a model has to know of a speaker, from their unlabelled clips; nothing that gives the audio back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serene.errors import SereneError
from serene.files import regular, write_text
from serene.inference.features import Clip
from serene.inference.folder import ModelFolder
from serene.sound import named
from serene.speaker import SMALLEST, SpeakerContext, Statistics

FORMAT = 2  # of the file; a reader refuses any other
PRIOR = 20.0  # clips: so many of the folder's count beside a speaker's own
# perplexity of what was said of the clips, as shares of the number of classes: at the first they count for nothing,
# since what they have in common may be an emotion; from the second on for all. Measured in benchmarks/adaptation.py
FEW, VARIED = 0.6, 0.75
LARGEST = 1e20  # of a number in a file, so that standardising by the smallest deviation stays far within float32
MOST = 2**31  # frames or clips: nobody speaks so long, and every integer type holds them


@dataclass(frozen=True, eq=False)
class Profile:
    """What is known of a speaker, for one model; made by `Recognizer.enrol` of unlabelled clips.

    Attributes:
        model: the identity of the model that it is for.
        context: what the model is told of who speaks: always with statistics of `features`.
        clips: unlabelled clips that the speaker is enrolled with.
        seconds: of sound in them.
        said: of how many of them the model said each class before it knew the speaker; empty for dimensions.
        of: whose clips they are: a `speaker`, a `folder` or a `recording`.
    """

    model: str
    context: SpeakerContext
    clips: int
    seconds: float
    said: Mapping[str, int] = field(default_factory=dict)
    of: str = "speaker"

    @classmethod
    def made(cls, clips: Sequence[Clip], model: str) -> Profile:
        """Take the statistics over all frames of some clips, those without speech left out.

        Raises:
            SereneError: no clip holds speech.
        """
        spoken = [(clip.duration, clip.features, clip.cepstra) for clip in clips if clip.features is not None]
        if not spoken:
            raise SereneError(f"None of the {len(clips)} clips holds speech that a profile could be made of.")
        cepstra = [own for _, _, own in spoken if own is not None]
        context = SpeakerContext(
            features=Statistics.of(lambda: (features for _, features, _ in spoken)),
            cepstra=np.mean(cepstra, axis=0) if cepstra else None,
        )
        return cls(model, context, len(spoken), round(sum(duration for duration, _, _ in spoken), 3))

    @property
    def name(self) -> str:
        """Say whose clips they are, such as `speaker of 12 clips`."""
        return f"{self.of} of {self.clips} {'window' if self.of == 'recording' else 'clip'}{'s' * (self.clips != 1)}"

    @property
    def varied(self) -> float:
        """How much the clips count for, 0 to 1, by how varied that is which the model said of them.

        Statistics of clips of one emotion tell the emotion, and standardising by them would take it away.
        """
        counts = [count for count in self.said.values() if count]
        if not self.said or not counts:
            return 1.0
        entropy = -sum(count / sum(counts) * math.log(count / sum(counts)) for count in counts)
        share = math.exp(entropy) / len(self.said)
        return min(1.0, max(0.0, (share - FEW) / (VARIED - FEW)))

    @property
    def told(self) -> SpeakerContext:
        """What the model is told: the statistics, which count as much as the clips are varied."""
        return self.context.counting(self.varied)

    def joined(self, other: Profile) -> Profile:
        """Give the profile of the clips of both."""
        one, two, share = self.context, other.context, other.clips / (self.clips + other.clips)
        context = SpeakerContext(
            features=_joined(one.features, two.features),
            embeddings=_joined(one.embeddings, two.embeddings),
            cepstra=None if one.cepstra is None else (1 - share) * one.cepstra + share * two.cepstra,
        )
        said = {label: count + other.said[label] for label, count in self.said.items()}
        return replace(
            self, context=context, clips=self.clips + other.clips, seconds=self.seconds + other.seconds, said=said
        )

    def within(self, folder: Profile) -> Profile:
        """Shrink a speaker's statistics towards those of all clips of the folder, by how many and how varied they are.

        What comes out counts as the folder does, towards training.
        """
        own, above = self.told.embeddings, folder.context.embeddings
        if own is None or above is None:
            return self
        context = replace(self.context, embeddings=own.shrunk(above, PRIOR))
        return replace(self, context=context, said=folder.said)

    @classmethod
    def read(cls, path: str | Path) -> Profile:
        """Read a file that `write` wrote.

        Raises:
            SereneError: it is missing or damaged, no profile, or a newer serene wrote it.
        """
        try:
            text = regular(path).read_text(encoding="utf-8")
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
            if kept["format"] < FORMAT:
                raise SereneError(
                    f"{name} was written by an older serene. Enrol the speaker again: serene enrol CLIPS -o {name}."
                )
            voice, embedding, spread = (kept[key] for key in ("voice", "embedding", "embedding_deviation"))
            clips, frames = int(kept["clips"]), int(kept["frames"])
            if not (0 < clips < MOST and 0 < frames < MOST):
                raise _implausible(name)
            context = SpeakerContext(
                features=_statistics(kept["mean"], kept["deviation"], frames, name),
                embeddings=None if embedding is None or spread is None else _statistics(embedding, spread, clips, name),
                cepstra=None if voice is None else _vector(voice),
            )
            said = {str(name): int(count) for name, count in kept["said"].items()}
            if any(not 0 <= count < MOST for count in said.values()):
                raise _implausible(name)
            return cls(str(kept["model"]), context, clips, float(kept["seconds"]), said)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise _unreadable(name, error) from error

    def write(self, path: str | Path) -> None:
        """Write the profile as JSON, whole or not at all."""
        write_text(path, json.dumps(self.to_dict(), indent=2) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as the file holds it."""
        features, embeddings, cepstra = self.context.features, self.context.embeddings, self.context.cepstra
        assert features is not None
        mean, deviation = features.moments.tolist()
        embedding = (None, None) if embeddings is None else embeddings.moments.tolist()
        plain = {"format": FORMAT, "model": self.model, "clips": self.clips, "seconds": self.seconds}
        plain |= {"frames": features.count, "said": dict(self.said), "mean": mean, "deviation": deviation}
        plain["voice"] = None if cepstra is None else cepstra.tolist()
        return plain | {"embedding": embedding[0], "embedding_deviation": embedding[1]}

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
        own = self.context
        arrays = {"cepstra": own.cepstra, "embeddings": own.embeddings and own.embeddings.moments}
        held = {need: array.shape[-1] for need, array in arrays.items() if array is not None}
        asked = {need: width for need, width in folder.widths.items() if need != "features"}
        if held != asked or own.need("features").moments.shape[-1] != folder.config["width"]:
            raise SereneError("This profile holds other numbers than its model reads; enrol the speaker again.")


def _joined(one: Statistics | None, other: Statistics | None) -> Statistics | None:
    return None if one is None or other is None else one.joined(other)


def _statistics(mean: list[float], deviation: list[float], count: int, name: str | Path) -> Statistics:
    moments = _vector(mean), _vector(deviation)
    if len(mean) != len(deviation) or moments[1].min() < np.float32(SMALLEST):
        raise _implausible(name)
    return Statistics(np.stack(moments), count)


def _implausible(name: str | Path) -> SereneError:
    return SereneError(f"{name} is no readable profile: its statistics are not those of any clips.")


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
