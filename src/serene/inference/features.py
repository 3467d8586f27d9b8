"""A sound becomes what a model reads: decoded, looked at for speech, and turned into features by the front end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serene.audio import front_end_of
from serene.audio.input_spec import FrontEnd
from serene.audio.mfcc import CEPSTRA
from serene.errors import SereneError
from serene.inference.folder import ModelFolder
from serene.inference.sounds import Sound, samples_of
from serene.sound import SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Clip:
    """A sound as a model reads it.

    Attributes:
        duration: of the sound, in seconds.
        features: float32 (frame, feature); None where `note` says that there is no speech.
        cepstra: float32 (coefficient,) the clip's mean cepstra, where the model asks for them.
        note: why there is nothing to score: `too short`, `silence` or `noise`.
        remark: what there is to say of a sound that is scored nonetheless: `serene.sound.OPPOSITE`.
    """

    duration: float
    features: np.ndarray | None = None
    cepstra: np.ndarray | None = None
    note: str | None = None
    remark: str | None = None


SHORTEST = 0.3  # seconds
SILENT = -65.0  # dB below full scale, of the loudest frame
STEADY = 1.3  # times the modulation of white noise

FRAME, SHIFT = 400, 160  # samples: 25 and 10 ms
TOGETHER, APART = 6, 10  # frames whose energies are added, and between those that are compared: 75 and 100 ms
BANDS = np.array([100, 200, 300, 450, 630, 900, 1250, 1750, 2500, 3500, 5000, 7000])  # hertz, their edges
# dB by which the bands' levels change in white noise, measured over ten minutes: the narrower a band, the more
CHANCE = np.array([1.71, 1.47, 1.29, 1.29, 1.01, 0.90, 0.78, 0.62, 0.55, 0.45, 0.39])
FLOOR = 1e-9  # of a band's energy: below it there is nothing but rounding
BLOCK = 4096  # frames that are held at once


def why_not(samples: np.ndarray) -> str | None:
    """Say why samples (sample,) at 16 kHz hold no speech: `too short`, `silence`, `noise`; None where they may.

    Two measures, over frames of 25 ms every 10 ms:

    * **level**: of the loudest frame, in dB below full scale; its mean is taken off first: a constant is silent;
    * **modulation**: how much the levels of eleven bands from 100 to 7000 Hz, taken over 75 ms, change within 100 ms:
      the standard deviation over time in dB, divided by that of white noise, averaged over bands.

    Speech opens and closes its bands several times a second. Steady noise does not, whatever its colour: its modulation
    is that of chance, 1, and that of hum is below it. Of 1,200 clips, 300 of each of CREMA-D, EmoDB, RAVDESS and
    speechocean762, the least has 4.1, and the softest clip's loudest frame -51 dB; under white noise as loud as the
    speech, 1,198 of them still pass. Music, applause and babble change as speech does, and pass too.
    """
    if len(samples) < SHORTEST * SAMPLE_RATE:
        return "too short"
    frames = np.lib.stride_tricks.sliding_window_view(samples - samples.mean(), FRAME)[::SHIFT]
    if level(frames) < SILENT:
        return "silence"
    return "noise" if modulation(frames) < STEADY else None


def level(frames: np.ndarray) -> float:
    """Give the level of the loudest of some frames (frame, sample), in dB; a full-scale square wave has 0."""
    loudest = max(float(np.square(block).mean(axis=1).max()) for block in _blocks(frames))
    return 10 * np.log10(max(loudest, 1e-20))


def modulation(frames: np.ndarray) -> float:
    """Give how much the bands of some frames (frame, sample) change within 100 ms, in units of white noise's change."""
    window = np.hanning(FRAME).astype(np.float32)
    edges = np.searchsorted(np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE), BANDS)
    bands = [
        np.add.reduceat(np.abs(np.fft.rfft(block * window, axis=1)) ** 2, edges, axis=1)[:, :-1]
        for block in _blocks(frames)
    ]
    energies = np.lib.stride_tricks.sliding_window_view(np.concatenate(bands), TOGETHER, axis=0).mean(axis=-1)
    levels = 10 * np.log10(energies + FLOOR)
    changes = (levels[APART:] - levels[:-APART]).std(axis=0) / np.sqrt(2)
    return float((changes / CHANCE).mean())


def _blocks(frames: np.ndarray) -> list[np.ndarray]:
    return [frames[start : start + BLOCK] for start in range(0, len(frames), BLOCK)]


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
        return Clip(duration, features, cepstra, remark=remarks[0] if remarks else None)
