"""A sound becomes what a model reads: decoded, looked at for speech, and turned into features by the front end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from serene.audio import front_end_of
from serene.audio.input_spec import FrontEnd
from serene.audio.mfcc import CEPSTRA
from serene.errors import SereneError
from serene.inference.folder import ModelFolder
from serene.inference.sounds import Sound, samples_of
from serene.inference.speech import CLIPPED, OFFSET, oddities, why_not
from serene.sound import OPPOSITE, SAMPLE_RATE

REMARKS = (OPPOSITE, OFFSET, CLIPPED)


@dataclass(frozen=True, eq=False)
class Clip:
    """A sound as a model reads it.

    Attributes:
        duration: of the sound, in seconds.
        features: float32 (frame, feature); None where `note` says that there is no speech.
        cepstra: float32 (coefficient,) the clip's mean cepstra, where the model asks for them.
        note: why there is nothing to score: `too short`, `silence` or `no speech`.
        remark: what there is to say of a sound that is scored nonetheless, of `REMARKS`, joined by `joined`.
    """

    duration: float
    features: np.ndarray | None = None
    cepstra: np.ndarray | None = None
    note: str | None = None
    remark: str | None = None


def joined(remarks: Iterable[str | None]) -> str | None:
    """Make one remark of several, some of which may be joined already: each once, with semicolons; None of none."""
    return "; ".join(dict.fromkeys(part for remark in remarks if remark for part in remark.split("; "))) or None


@dataclass(frozen=True)
class FeatureExtractor:
    """Turns sounds into clips for one model, without the model; it can be pickled, and used from several threads.

    Attributes:
        front_end: makes features of samples.
        cepstra: whether the model asks for a speaker's mean cepstra.
        longest: seconds of the longest sound that is taken at once.
    """

    front_end: FrontEnd
    cepstra: bool
    longest: float

    @classmethod
    def of(cls, folder: ModelFolder) -> FeatureExtractor:
        """Make the extractor that a model folder describes.

        Raises:
            SereneError: its front end is none, or is not trusted.
            MissingExtra: its front end needs torch, as a frozen encoder does.
        """
        front_end = front_end_of(folder.preprocessor, folder.path)
        if front_end.spec.width != folder.config["width"]:
            raise SereneError(
                f"{folder.path}: the front end makes {front_end.spec.width} features per frame, and the model reads "
                f"{folder.config['width']}."
            )
        return cls(front_end, "cepstra" in folder.needs, front_end.spec.accepted)

    def __call__(self, sound: Sound, rate: int | None = None) -> Clip:
        """Decode a sound, look for speech in it, and make its features.

        Args:
            sound: as `serene.inference.sounds.samples_of` takes it.
            rate: of samples, in hertz.

        Raises:
            AudioError: it cannot be decoded, is empty, not finite, or longer than `longest`.
        """
        remarks: list[str] = []
        samples = samples_of(sound, rate, longest=self.longest, remarks=remarks)
        duration = len(samples) / SAMPLE_RATE
        note = why_not(samples)
        if note is not None:
            return Clip(duration, note=note)
        features = np.asarray(self.front_end(samples), dtype=np.float32)
        cepstra = CEPSTRA(samples).mean(axis=0) if self.cepstra else None
        return Clip(duration, features, cepstra, remark=joined([*remarks, *oddities(samples)]))
