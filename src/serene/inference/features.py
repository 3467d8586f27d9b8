"""A sound becomes what a model reads: decoded, looked at for speech, and turned into features by the front end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serene.audio import front_end_of
from serene.audio.input_spec import FrontEnd
from serene.audio.mfcc import CEPSTRA
from serene.errors import SereneError
from serene.inference import speech
from serene.inference.clip import Clip
from serene.inference.folder import ModelFolder
from serene.inference.sounds import Sound, samples_of
from serene.sound import SAMPLE_RATE


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
            SereneError: its front end is none.
            MissingExtra: its front end needs torch, as a frozen encoder does.
        """
        front_end = front_end_of(folder.preprocessor)
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
        samples = samples_of(sound, rate, longest=self.longest)
        duration = len(samples) / SAMPLE_RATE
        note = speech.why_not(samples)
        if note is not None:
            return Clip(duration, note=note)
        features = np.asarray(self.front_end(samples), dtype=np.float32)
        return Clip(duration, features, CEPSTRA(samples).mean(axis=0) if self.cepstra else None)
