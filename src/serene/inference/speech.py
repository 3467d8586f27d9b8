"""Is there speech in a sound? By Silero VAD; and what is odd about the samples of one that is answered nonetheless."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from serene.inference.network import session_of
from serene.sound import SAMPLE_RATE

MODEL = Path(__file__).parents[1] / "silero" / "silero_vad_16k_sequence.onnx"
CHUNK, BEFORE = 512, 64  # samples of which the model says one probability, and of what came before that it reads again
STATE = (1, 1, 128)
TOGETHER = 1024  # chunks in one call

SHORTEST = 0.3  # seconds
SILENT = -65.0  # dB below full scale, of the loudest frame
LOUDEST = -16.0  # dB that the loudest frame is brought to: softer, Silero VAD misses speech
LIKELY = 0.5  # probability
LEAST, SHARE = 0.125, 0.02  # seconds that are likely speech, and share of the sound, at least
STEP, STEPS = 80, 5  # samples whose energies are summed, and sums in a frame of 25 ms; there is one every two

OFFSET = "a constant offset"
CLIPPED = "clipped"
SHIFTED = 0.25  # deviations that the mean is away from zero
NEAR, OFTEN = 0.95, 0.003  # of the highest peak, and share of the samples that are as high


def why_not(samples: np.ndarray) -> str | None:
    """Say why samples (sample,) at 16 kHz hold no speech: `too short`, `silence`, `no speech`; None where they do.

    The mean is taken off first: a constant is silent. What is not silent is brought to one level, and there has to be
    speech, with a probability of a half or more, for an eighth of a second, and for a fiftieth of a longer sound.
    `docs/inference.md` says how often that is right; `benchmarks/speech.py` measures it.
    """
    if len(samples) < SHORTEST * SAMPLE_RATE:
        return "too short"
    likely = spoken(samples)
    if likely is None:
        return "silence"
    seconds = likely.sum() * CHUNK / SAMPLE_RATE
    return None if seconds >= max(LEAST, SHARE * len(samples) / SAMPLE_RATE) else "no speech"


def spoken(samples: np.ndarray) -> np.ndarray | None:
    """Say for every 32 ms of samples (sample,) at 16 kHz whether there is speech: bool (chunk,); None of silence."""
    centred = samples - samples.mean()
    loudest = level(centred)
    if loudest < SILENT:
        return None
    return probabilities(centred * np.float32(10 ** ((LOUDEST - loudest) / 20))) >= LIKELY


def level(samples: np.ndarray) -> float:
    """Give the level of the loudest 25 ms of samples (sample,) at 16 kHz, in dB; a full-scale square wave has 0."""
    pieces = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    energies = np.einsum("ij,ij->i", pieces, pieces)
    frames = np.lib.stride_tricks.sliding_window_view(energies, STEPS)[::2].sum(axis=1) / (STEP * STEPS)
    return 10 * np.log10(max(float(frames.max()), 1e-20))


def probabilities(samples: np.ndarray) -> np.ndarray:
    """Give how likely there is speech in every 32 ms of samples (sample,) at 16 kHz: float32 (chunk,)."""
    count = -(-len(samples) // CHUNK)
    filled = np.zeros(BEFORE + count * CHUNK, np.float32)
    filled[BEFORE : BEFORE + len(samples)] = samples
    chunks = np.lib.stride_tricks.sliding_window_view(filled, BEFORE + CHUNK)[::CHUNK]
    state, found = [np.zeros(STATE, np.float32)] * 2, []
    for start in range(0, count, TOGETHER):
        given = {"input": np.ascontiguousarray(chunks[start : start + TOGETHER]), "h": state[0], "c": state[1]}
        likely, *state = _session().run(["speech_probs", "hn", "cn"], given)
        found.append(likely)
    return np.concatenate(found)


@cache
def _session() -> Any:
    """Read the model where it is first asked, so that what holds this module's functions can go to another process."""
    return session_of(MODEL)


def oddities(samples: np.ndarray) -> list[str]:
    """Say what is odd about samples (sample,) that hold speech: `OFFSET`, `CLIPPED`."""
    mean = samples.mean()
    heights = np.abs(samples - mean)
    clipped = (heights >= NEAR * heights.max()).mean() >= OFTEN
    return [OFFSET] * bool(abs(mean) > SHIFTED * samples.std()) + [CLIPPED] * bool(clipped)
