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
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.voice import PROSODY, Voice, speak
from serene.errors import SereneError, unknown
from serene.files import whole_folder
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
        return json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
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
