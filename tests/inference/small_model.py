"""A small model folder, a network that needs no training, and sounds of speech."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from serene import sound
from serene.audio.batch import Batch, padded
from serene.audio.input_spec import InputSpec
from serene.corpora.sample import FOLDER
from serene.inference.folder import ModelFolder
from serene.inference.recognizer import Recognizer
from serene.models.network import Network
from serene.task import Dimensions, Task

EMOTIONS = ("anger", "happiness", "neutral")
# speakers of the sample, 0.3 s of each of whose twelve clips are enough for the speech check
SHORT_IS_ENOUGH = ("1015", "1044", "1052", "1066", "1067", "1073", "1088")


def make_folder(path: Path, *, dimensions: bool = False, emotions: tuple[str, ...] = EMOTIONS) -> Path:
    """Write an untrained model of Tu et al.'s kind whose scores differ from sound to sound."""
    import torch  # here, so that a process which only reads a folder is soon there

    from serene.models.model import EmotionModel

    torch.manual_seed(0)
    model = EmotionModel((Dimensions if dimensions else Task)(emotions), 39).eval()
    model.save(path, {"front_end": "mfcc"})
    known = Recognizer.load(path, device="cpu")
    clips = [known.extract(spoken(1.0 + seed, seed), 16_000).features for seed in range(4)]
    logits = torch.stack(
        [torch.from_numpy(known.network(Batch(*padded([clip])))[0][0]) for clip in clips if clip is not None]
    )
    last, spread, middle = model.head.classify, logits.std(dim=0), logits.mean(dim=0)
    with torch.no_grad():  # else all sounds are nearly the same to it
        last.weight /= spread[:, None]
        last.bias.copy_((last.bias - middle) / spread)
    model.save(path, {"front_end": "mfcc"})
    return path


class Means(Network):
    """Scores clips by the means of their first features; keeps the sizes of its batches."""

    what = "means, fp32, cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        self.batches.append(len(batch.lengths))
        means = batch.inputs.sum(axis=1) / batch.lengths[:, None]
        return means[:, : len(EMOTIONS)] / 4, means


class Watched(Network):
    """Has another network answer, and keeps the batches."""

    def __init__(self, network: Network) -> None:
        self.network, self.what, self.batches = network, network.what, list[Batch]()

    def __call__(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        self.batches.append(batch)
        return self.network(batch)

    def clips(self, spec: InputSpec, most: int) -> int:
        return self.network.clips(spec, most)


def recognizer_of(folder: Path, network: Network | None = None, **settings: object) -> Recognizer:
    """Make a recognizer over a folder that scores by `Means`."""
    return Recognizer(ModelFolder.read(folder, folder.name), network or Means(), **settings)  # type: ignore[arg-type]


@cache
def _voice(seed: int, rate: int) -> np.ndarray:
    """Read the second of a clip of the sample that begins with its loudest fifth of a second, with a peak of 0.3."""
    clips = [path for path in sorted((FOLDER / "audio").glob("*.opus")) if path.name.startswith(SHORT_IS_ENOUGH)]
    samples = sound.read(clips[5 * seed % len(clips)])
    energies = np.convolve(np.add.reduceat(np.square(samples), np.arange(0, len(samples), 160)), np.ones(20), "valid")
    second = np.roll(samples, -160 * int(energies.argmax()))[:16_000] * (0.3 / np.abs(samples).max())
    return soxr.resample(second, 16_000, rate).astype(np.float32)


def spoken(seconds: float, seed: int = 0, rate: int = 16_000) -> np.ndarray:
    """Cut speech from a second of the sample, which is repeated where more is asked for: float32 (sample,)."""
    return np.resize(_voice(seed, rate), round(seconds * rate))


def write(path: Path, samples: np.ndarray, rate: int = 16_000, **how: str) -> Path:
    """Write a sound, in what its name ends in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **how)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a file of rows."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
