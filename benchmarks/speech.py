"""How often sounds get an emotion: real speech, as it is and spoilt, and what is no speech; and what the check costs.

* **speech**: clips from folders, evenly picked: as they are; at -45 dB; in white noise as loud as themselves; clipped
  by 20 dB; with the voice taken out of them, as in a whisper; cut to the loudest half second.
* **made up**: noises, hum, tones, chords, plucked strings, a siren, clicks, typing, applause, drums and an engine.
* **other**: sounds from folders of recordings without speech, in pieces of four seconds.
* **cost**: processor seconds of one thread for the check alone, and for the whole answer of a model, over the speech.

    python benchmarks/speech.py --speech crema-d/AudioWAV emodb/wav --other music animals --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from serene import sound
from serene.errors import AudioError
from serene.inference.recognizer import Recognizer
from serene.inference.speech import level, why_not
from serene.sound import SAMPLE_RATE

RATE = SAMPLE_RATE
LEVELS = (-45.0, -25.0, -5.0)  # dB of the loudest 25 ms
Draw = np.random.Generator


def coloured(count: int, slope: float, draw: Draw) -> np.ndarray:
    """Make noise (sample,) whose power falls by `slope` times 3 dB per octave."""
    spectrum, frequency = np.fft.rfft(draw.standard_normal(count)), np.fft.rfftfreq(count, 1 / RATE)
    noise = np.fft.irfft(spectrum * np.where(frequency < 20, 0, np.maximum(frequency, 20) ** (-slope / 2)), count)
    return noise / np.abs(noise).max()


def struck(count: int, every: float, piece: Callable[[], np.ndarray], draw: Draw) -> np.ndarray:
    """Lay sounds over each other at random places, so many seconds apart on average."""
    made = np.zeros(count)
    for start in draw.uniform(0, count, max(1, round(count / RATE / every))).astype(int):
        own = piece()[: count - start]
        made[start : start + len(own)] += own
    return made


def plucked(draw: Draw, pitch: float, seconds: float = 0.7) -> np.ndarray:
    """Pluck a string (Karplus and Strong 1983)."""
    period = round(RATE / pitch)
    ring, made = draw.uniform(-1, 1, period), []
    for _ in range(round(seconds * pitch)):
        made.append(ring)
        ring = 0.498 * (ring + np.roll(ring, -1))
    return np.concatenate(made)


def made_up(seconds: float, draw: Draw) -> dict[str, np.ndarray]:
    """Make a sound (sample,) of each kind that is no speech."""
    count = round(seconds * RATE)
    t = np.arange(count) / RATE
    root, swing = draw.uniform(110, 330), draw.uniform(0.3, 3)

    def tones(pitch: Any, steps: range) -> np.ndarray:
        phase = 2 * np.pi * np.cumsum(pitch * np.ones(count)) / RATE
        return sum((np.sin(k * phase) / k for k in steps), np.zeros(count))

    def burst(spread: float) -> np.ndarray:
        length = round(8 * spread * RATE)
        return draw.uniform(0.3, 1) * draw.standard_normal(length) * np.exp(-np.arange(length) / spread / RATE)

    def beat() -> np.ndarray:
        return np.sin(2 * np.pi * 60 * t[: RATE // 4]) * np.exp(-20 * t[: RATE // 4])

    def chord() -> np.ndarray:
        return sum(plucked(draw, root * step)[: RATE // 2] for step in (1, 1.26, 1.5))

    return {
        **{name: coloured(count, slope, draw) for name, slope in (("white", 0), ("pink", 1), ("brown", 2))},
        "swelling noise": coloured(count, 1, draw) * np.sin(np.pi * draw.uniform(1, 8) * t) ** 2,
        "hum": tones(draw.choice([50, 60]), range(1, 8)),
        "tone": tones(draw.uniform(80, 3000), range(1, 2)),
        "chord": sum(tones(root * step, range(1, 5)) for step in (1, 1.26, 1.5)) * np.exp(-t % 1),
        "plucked chords": struck(count, 0.5, chord, draw),
        "plucked melody": struck(count, 0.25, lambda: plucked(draw, 220 * 2 ** (draw.integers(12) / 12)), draw),
        "siren": tones(700 + 300 * np.sin(2 * np.pi * swing * t), range(1, 2)),
        "vibrato": tones(root * (1 + 0.02 * np.sin(2 * np.pi * 5.5 * t)), range(1, 12)),
        "clicks": struck(count, 0.25, lambda: np.array([1.0, -1.0, 0.5, -0.2]), draw),
        "typing": struck(count, 0.12, lambda: burst(0.004), draw) + 0.003 * coloured(count, 1, draw),
        "applause": struck(count, 0.005, lambda: burst(0.006), draw),
        "drums": struck(count, 0.5, beat, draw) + struck(count, 0.5, lambda: burst(0.03), draw),
        "engine": np.tanh(tones(draw.uniform(25, 60), range(1, 20))) + 0.3 * coloured(count, 1, draw),
    }


def spoilt(clip: np.ndarray, draw: Draw) -> dict[str, np.ndarray]:
    """Change a clip of speech in the ways that `speech` of the module's description lists."""
    size, hop, frame = 400, 200, np.hanning(400)
    voiceless = np.zeros(len(clip))
    for start in range(0, len(clip) - size, hop):
        envelope = np.convolve(np.abs(np.fft.rfft(clip[start : start + size] * frame)), np.ones(9) / 9, "same")
        noise = envelope * np.exp(2j * np.pi * draw.uniform(size=len(envelope)))
        voiceless[start : start + size] += np.fft.irfft(noise, size) * frame
    half = RATE // 2
    middle = int(np.convolve(np.square(clip), np.ones(RATE // 10), "valid").argmax()) + RATE // 20
    begin = max(0, min(middle - half // 2, len(clip) - half))
    soft = clip * 10 ** ((-45 - level(clip)) / 20)
    return {
        "as it is": clip,
        "at -45 dB, in 16 bits": np.round(soft * 32768) / 32768,
        "in noise as loud as itself": clip + clip.std() * draw.standard_normal(len(clip)),
        "clipped by 20 dB": np.clip(clip / np.abs(clip).max() * 10, -1, 1),
        "whispered": voiceless,
        "cut to half a second": clip[begin : begin + half],
    }


def clips_of(folder: Path, most: int) -> Iterator[np.ndarray]:
    """Give the sounds of a folder that can be read, so many of them, evenly picked; silent ones are left out."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in sound.DECODED)
    for path in paths[:: max(1, len(paths) // most)][:most]:
        try:
            samples = sound.read(path)
        except AudioError:
            continue
        if len(samples) > RATE // 3 and level(samples - samples.mean()) > -60:
            yield samples


def answered(sounds: list[np.ndarray]) -> dict[str, Any]:
    """Count the sounds that get an emotion."""
    passed = sum(why_not(np.asarray(samples, np.float32)) is None for samples in sounds)
    return {"sounds": len(sounds), "answered": passed, "percent": round(100 * passed / max(1, len(sounds)), 1)}


def at_levels(samples: np.ndarray) -> list[np.ndarray]:
    """Bring a sound to each of the levels."""
    return [samples * 10 ** ((decibels - level(samples)) / 20) for decibels in LEVELS]


def cost(clips: list[np.ndarray], model: str | None, repeats: int) -> dict[str, Any]:
    """Measure the check alone, and whole answers; both in times real time of one core."""
    recognizer = Recognizer.load(model, device="cpu", threads=1)
    ways: dict[str, Callable[[], Any]] = {
        "the check": lambda: [why_not(clip) for clip in clips],
        "the whole answer": lambda: recognizer([(clip, RATE) for clip in clips]),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            taken[name].append(time.process_time() - began)
    seconds = sum(map(len, clips)) / RATE
    return {"seconds": round(seconds, 1)} | {
        name: round(seconds / statistics.median(own[1:]), 1) for name, own in taken.items()
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all that was asked for."""
    draw, result = np.random.default_rng(0), {}
    for folder in options.speech:
        kinds: dict[str, list[np.ndarray]] = {}
        clips = list(clips_of(folder, options.clips))
        for clip in clips:
            for name, own in spoilt(clip, draw).items():
                kinds.setdefault(name, []).append(own)
        result[str(folder)] = {name: answered(own) for name, own in kinds.items()}
        result.setdefault("cost", cost(clips[:60], options.model, options.repeats))
    made = [made_up(seconds, draw) for seconds in (1, 2, 3, 5, 8) * options.each]
    result["made up"] = {
        name: answered([own for one in made for own in at_levels(np.asarray(one[name]))]) for name in made[0]
    }
    for folder in options.other:
        whole = clips_of(folder, options.clips)
        pieces = [clip[start : start + 4 * RATE] for clip in whole for start in range(0, len(clip), 4 * RATE)[:8]]
        loud = [own for own in pieces if len(own) > RATE // 3 and level(own - own.mean()) > -60]
        result[str(folder)] = answered([own for piece in loud for own in at_levels(piece)])
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--speech", nargs="*", type=Path, default=[], help="folders of clips in which somebody speaks")
    parser.add_argument("--other", nargs="*", type=Path, default=[], help="folders of sounds without speech")
    parser.add_argument("--clips", type=int, default=300, help="of each folder, at most")
    parser.add_argument("--each", type=int, default=4, help="made-up sounds of each kind and length")
    parser.add_argument("--model", help="a model folder for the cost; the bundled model without it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for name, found in result.items():
        print(name, found, sep="\n  ")


if __name__ == "__main__":
    main()
