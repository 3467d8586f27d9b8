"""Synthetic speech: made-up speakers with known voices, and a dial that ties emotion to speaker.

A detector of mechanisms, not a benchmark: it tells whether a method learns or forgets speakers on data whose
causes are known, and nothing about how well it would do on people. No figure on it compares with one on real speech.

Every speaker has a voice (mean F0, formant scale, spectral tilt), every emotion a prosody (pitch level, range and
slope, loudness, rate, tremor, vocal effort), and both vary from clip to clip, so that emotions overlap. The voices
differ more in pitch and tilt than the emotions do: a model that has learnt who is speaking has to guess on a new
voice.

The dial `shortcut` is the probability that a clip carries its speaker's favourite emotion rather than any of them
with equal probability. At 0 speaker and emotion are independent; towards 1 the voice alone gives the emotion away,
for the speakers seen in training and for no other. The emotions are shared out in these proportions exactly, each of
them at least once to every speaker, and the favourites go round both genders, so that gender gives nothing away.

A voice is a source and a filter: band-limited pulses at the F0 with some breath; and, applied frame by frame, a
spectral tilt and the vowels' formants (rounded means of adult men after Peterson and Barney 1952, scaled by speaker).
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError, unknown
from serene.files import read_json, whole_folder
from serene.sound import SAMPLE_RATE

HOME = "The synthetic corpus is made where it is first read; any new folder will do."
LICENCE = "none needed: it is computed"
CITATION = "none"

VERSION = 1  # of the sound: a folder made by another version is not taken for this one
MANIFEST, SETTINGS = "manifest.jsonl", "synthetic.json"
RATINGS = {  # arousal, valence and dominance from 1 to 7, as a listener who is always right would give them
    "anger": (6.0, 2.0, 6.0),
    "happiness": (5.5, 6.0, 5.0),
    "neutral": (3.5, 4.0, 4.0),
    "sadness": (2.0, 2.5, 2.5),
}
TEXTS = ("aiuo", "oeai", "iuea", "ueoa", "eaoi", "uoie")

FRAME, HOP, BINS = 512, 128, 1024  # samples: Hann window, its step, the transform
MARGIN = (BINS - FRAME) // 2  # samples of zeros on either side: the filter has no delay, it rings both ways
TREMOR = 6.0  # Hz


class Prosody(NamedTuple):
    """How an emotion, or a clip's deviation from it, changes a voice."""

    level: float  # semitones
    reach: float  # natural logarithm of the factor on the speaker's pitch range
    slope: float  # semitones from the clip's beginning to its end
    loudness: float  # dB
    rate: float  # natural logarithm of the factor on speed
    tremor: float  # semitones
    effort: float  # dB per octave, less tilt


PROSODY = {
    "anger": Prosody(2.5, 0.4, -3.0, 5.0, 0.12, 0.2, 2.0),
    "happiness": Prosody(3.5, 0.6, 2.5, 2.0, 0.06, 0.1, 1.0),
    "neutral": Prosody(0.0, 0.0, -1.0, 0.0, 0.0, 0.05, 0.0),
    "sadness": Prosody(-1.5, -0.6, -2.0, -4.0, -0.18, 0.5, -1.5),
}
SPREAD = Prosody(1.0, 0.2, 1.2, 2.0, 0.06, 0.1, 0.8)  # standard deviations from clip to clip

VOWELS = {  # Hz
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
BANDWIDTHS = np.array([80.0, 100.0, 140.0])  # Hz


class Voice(NamedTuple):
    """What makes a made-up speaker."""

    f0_hertz: float
    formant_scale: float
    tilt: float  # dB per octave


def read(folder: Path) -> Manifest:
    """Read the synthetic corpus, after making it with the defaults of `make` where the folder is new or empty.

    Raises:
        SereneError: the folder holds something else.
    """
    return make(folder) if _made(folder) is None else Manifest.read(folder / MANIFEST)


def make(
    folder: Path,
    *,
    speakers: int = 10,
    clips_per_speaker: int = 36,
    emotions: Sequence[str] = tuple(PROSODY),
    shortcut: float = 0.8,
    seconds: float = 1.0,
    seed: int = 0,
) -> Manifest:
    """Make the corpus: `manifest.jsonl` and `audio/*.flac`, all or nothing; the same settings give the same samples.

    Args:
        folder: new or empty, or made with these very settings: then it is only read.
        speakers: two to a session, a woman and a man: S1F, S1M, S2F, ...
        clips_per_speaker: no fewer than emotions.
        emotions: some of `PROSODY`.
        shortcut: 0 to 1, see above.
        seconds: mean length of a clip.
        seed: of voices, labels and sounds.

    Raises:
        SereneError: a setting out of range, or the folder holds something else.
    """
    settings = {
        "version": VERSION,
        "speakers": speakers,
        "clips_per_speaker": clips_per_speaker,
        "emotions": list(emotions),
        "shortcut": shortcut,
        "seconds": seconds,
        "seed": seed,
    }
    _check(settings)
    if (made := _made(folder)) is not None:
        if made != settings:
            raise SereneError(f"{folder} holds a synthetic corpus with other settings ({made}). Name another folder.")
        return Manifest.read(folder / MANIFEST)
    with whole_folder(folder) as temporary:
        (temporary / "audio").mkdir()
        clips = [
            clip
            for index, voice in enumerate(_voices(speakers, seed))
            for clip in _speaker(temporary / "audio", index, voice, settings)
        ]
        Manifest(tuple(clips)).check().write(temporary / MANIFEST)
        (temporary / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return Manifest.read(folder / MANIFEST)


def _check(settings: dict) -> None:
    for emotion in settings["emotions"]:
        if emotion not in PROSODY:
            raise SereneError(unknown("synthetic emotion", emotion, PROSODY))
    count = len(set(settings["emotions"]))
    right = {
        "emotions": 2 <= count == len(settings["emotions"]),
        "speakers": settings["speakers"] >= 2,
        "clips_per_speaker": settings["clips_per_speaker"] >= count,
        "shortcut": 0 <= settings["shortcut"] <= 1,
        "seconds": 0.3 <= settings["seconds"] <= 10,
        "seed": settings["seed"] >= 0,
    }
    for name, good in right.items():
        if not good:
            raise SereneError(
                f"The synthetic corpus cannot be made with {name}={settings[name]}. Expected: 2 different emotions or "
                "more, 2 speakers or more, no fewer clips than emotions, a shortcut from 0 to 1, 0.3 to 10 seconds, "
                "a seed from 0."
            )


def _made(folder: Path) -> dict | None:
    """Return the settings of the corpus in a folder, None where the folder is new or empty."""
    if (folder / SETTINGS).is_file():
        return read_json(folder / SETTINGS)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SereneError(f"{folder} is not empty and holds no synthetic corpus. {HOME} Licence: {LICENCE}.")
    return None


def _voices(speakers: int, seed: int) -> list[Voice]:
    """Make voices, evenly spaced within each gender so that no two are alike, in an order drawn by the seed."""
    draw = np.random.default_rng([seed, 0])
    women, men = (speakers + 1) // 2, speakers // 2
    by_gender = []
    for count, pitch, scale in ((women, (165, 245), (1.10, 1.24)), (men, (90, 140), (0.92, 1.06))):
        facts = (np.geomspace(*pitch, count), np.linspace(*scale, count), np.linspace(6, 12, count))
        voices = np.stack([draw.permutation(fact) for fact in facts], axis=1).round(3).tolist()
        by_gender.append([Voice(*voice) for voice in voices])
    return [by_gender[index % 2][index // 2] for index in range(speakers)]


def _labels(index: int, settings: dict, draw: np.random.Generator) -> list[str]:
    """Share a speaker's emotions out: the favourite's share is the dial's, the rest is even, none is without a clip."""
    emotions, clips = settings["emotions"], settings["clips_per_speaker"]
    favourite = (index // 2 + index % 2) % len(emotions)  # goes round the emotions within each gender
    even = (1 - settings["shortcut"]) / len(emotions)
    others = max(round(clips * even * (len(emotions) - 1)), len(emotions) - 1)
    rest = [emotion for place, emotion in enumerate(emotions) if place != favourite]
    order = draw.permutation(len(rest))  # who gets the clips that cannot be shared evenly
    labels = [rest[order[place % len(rest)]] for place in range(others)]
    labels += [emotions[favourite]] * (clips - others)
    return [labels[place] for place in draw.permutation(clips)]


def _speaker(folder: Path, index: int, voice: Voice, settings: dict) -> list[Utterance]:
    session, gender = index // 2 + 1, "FM"[index % 2]
    draw = np.random.default_rng([settings["seed"], 1, index])
    utterances = []
    for number, emotion in enumerate(_labels(index, settings, draw)):
        text = TEXTS[number % len(TEXTS)]
        path = folder / f"S{session}{gender}_{number + 1:03d}.flac"
        samples = speak(voice, PROSODY[emotion], text, settings["seconds"], draw)
        flac = io.BytesIO()  # libsndfile itself reports a full disk as an error of another kind
        soundfile.write(flac, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        path.write_bytes(flac.getvalue())
        utterances.append(
            Utterance(
                id=path.stem,
                audio=str(path),
                corpus="synthetic",
                speaker=f"S{session}{gender}",
                emotion=emotion,
                session=str(session),
                gender="female" if gender == "F" else "male",
                text_id=text,
                duration=len(samples) / SAMPLE_RATE,
                sample_rate=SAMPLE_RATE,
                numbers=voice._asdict(),
                **dict(zip(("arousal", "valence", "dominance"), RATINGS[emotion], strict=True)),
            )
        )
    return utterances


def speak(voice: Voice, emotion: Prosody, text: str, seconds: float, draw: np.random.Generator) -> np.ndarray:
    """Make one clip.

    Args:
        voice: who speaks.
        emotion: the mean prosody, from which the clip deviates by `SPREAD`.
        text: vowels, one a syllable.
        seconds: length at the ordinary rate.
        draw: source of the clip's deviations and noise.

    Returns:
        float64 array (sample,) at 16 kHz, within full scale.
    """
    how = Prosody(*(mean + spread * draw.standard_normal() for mean, spread in zip(emotion, SPREAD, strict=True)))
    count = round(seconds * np.exp(-how.rate) * SAMPLE_RATE)
    place = np.linspace(0, len(text), count, endpoint=False)  # in syllables
    f0 = voice.f0_hertz * 2 ** (_melody(how, place, len(text), draw) / 12)
    harmonics = int(0.5 * SAMPLE_RATE / f0.max())
    phase = np.pi * np.cumsum(f0) / SAMPLE_RATE + 1e-9
    pulses = np.sin((2 * harmonics + 1) * phase) / np.sin(phase) / np.sqrt(harmonics)
    spoken = _shape(pulses + 0.15 * draw.standard_normal(count), place, text, voice, how)
    spoken *= np.sin(np.pi * (place % 1)) ** 0.5 * draw.uniform(0.6, 1.0, len(text))[place.astype(int)]
    spoken *= 0.04 * 10 ** (how.loudness / 20) / np.sqrt(np.mean(spoken**2))
    noise = 0.04 * 10 ** (-draw.uniform(15, 30) / 20) * draw.standard_normal(count)
    return np.clip(spoken + noise, -1, 1)


def _melody(how: Prosody, place: np.ndarray, syllables: int, draw: np.random.Generator) -> np.ndarray:
    """Draw a pitch contour in semitones about the voice's mean: level, slope, an accent per syllable, tremor."""
    accents = 1.5 * np.exp(how.reach) * draw.standard_normal(syllables + 1)
    drift = how.level + how.slope * (place / syllables - 0.5)
    tremor = how.tremor * np.sin(2 * np.pi * (TREMOR * np.arange(len(place)) / SAMPLE_RATE + draw.uniform()))
    return np.clip(drift + np.interp(place, np.arange(syllables + 1), accents) + tremor, -18, 18)


def _shape(source: np.ndarray, place: np.ndarray, text: str, voice: Voice, how: Prosody) -> np.ndarray:
    """Filter a source (sample,) by formants and tilt, frame by frame with overlap and addition."""
    frames = len(source) // HOP + 1
    padded = np.pad(source, (FRAME // 2, FRAME + HOP))
    starts = np.arange(frames)[:, None] * HOP + np.arange(FRAME)
    windowed = padded[starts] * np.hanning(FRAME + 1)[:-1]
    spectrum = np.fft.rfft(np.pad(windowed, ((0, 0), (MARGIN, MARGIN))))  # (frame, bin)
    centres = place[np.minimum(np.arange(frames) * HOP, len(source) - 1)]
    vowels = np.array([VOWELS[letter] for letter in text]) * voice.formant_scale  # (syllable, formant)
    middle = np.arange(len(text)) + 0.5
    formants = np.stack([np.interp(centres, middle, track) for track in vowels.T], axis=1)[:, None, :]
    frequency = np.fft.rfftfreq(BINS, 1 / SAMPLE_RATE)
    gains = formants**2 / np.hypot(formants**2 - frequency[:, None] ** 2, BANDWIDTHS * frequency[:, None])
    octaves = np.log2(np.maximum(frequency, 100) / 100)
    lifted = gains.prod(axis=2) ** 0.5  # the root stands in for the poles above the third, which lift the high end
    response = lifted * 10 ** (-(voice.tilt - how.effort) * octaves / 20)
    shaped = np.fft.irfft(spectrum * response, BINS)  # (frame, sample)
    out = np.zeros((frames + BINS // HOP, HOP))
    for step in range(BINS // HOP):  # overlap and add: each frame's parts fall into the following rows
        out[step : step + frames] += shaped[:, step * HOP : (step + 1) * HOP]
    return out.ravel()[FRAME // 2 + MARGIN :][: len(source)]
