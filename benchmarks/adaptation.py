"""What adapting a model to unlabelled clips brings, and what it costs where a speaker shows few emotions.

    python benchmarks/adaptation.py MODEL crema_d.jsonl emodb.jsonl ravdess.jsonl [--speakers ...] [-o adaptation.png]

A folder holds all clips of a corpus whose emotion the model knows: each speaker's with all emotions, or with two or one
of them that are drawn for the speaker. The model is adapted to the folder, to each speaker, or to each speaker within
the folder, by so many clips that are drawn; then all clips are answered. Mean UA over three draws. MODEL is a folder
with `model.safetensors`: embeddings are computed once, and the head is asked for each setting.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from serene import sound
from serene.corpora.manifest import Manifest, Utterance
from serene.inference.profile import Profile
from serene.inference.recognizer import Recognizer
from serene.models.model import EmotionModel
from serene.reporting.style import INK, PALETTE, dress, fields, legend, save
from serene.speaker import SpeakerContext, Statistics

CLIPS = (1, 2, 5, 10, 20, None)  # that the model is adapted to; None for all
EMOTIONS = {"all emotions": None, "two of each speaker": 2, "one of each speaker": 1}
LEVELS = ("unadapted", "folder", "speaker", "speaker in the folder")
DRAWS = 3
SHOWN = (45, 85)  # per cent of the pictures' axes


@dataclass(frozen=True)
class Clips:
    """Some clips: embeddings (clip, feature) as of unseen speakers, their emotions and speakers (clip,)."""

    embeddings: np.ndarray
    emotions: np.ndarray
    speakers: np.ndarray

    def some(self, chosen: np.ndarray) -> Clips:
        """Take some of them: indices, or a mask (clip,)."""
        return Clips(self.embeddings[chosen], self.emotions[chosen], self.speakers[chosen])

    def showing(self, emotions: int | None, draw: np.random.Generator) -> Clips:
        """Keep so many emotions of each speaker, drawn for the speaker."""
        if emotions is None:
            return self
        kept = np.zeros(len(self.emotions), bool)
        for speaker in np.unique(self.speakers):
            own = self.speakers == speaker
            kept |= own & np.isin(self.emotions, draw.permutation(np.unique(self.emotions[own]))[:emotions])
        return self.some(kept)


@dataclass(frozen=True)
class Head:
    """The model above its embedding."""

    model: EmotionModel

    @torch.inference_mode()
    def labels(self, embeddings: np.ndarray, profile: Profile | None = None) -> np.ndarray:
        """Say the likeliest class of embeddings (clip, feature), adapted to a profile."""
        values = torch.from_numpy(embeddings)
        if profile is not None:
            own = profile.told.need("embeddings")
            moments = torch.from_numpy(own.moments).expand(len(values), -1, -1)
            values = self.model.enrolled(values, Statistics(moments, torch.full((len(values),), own.count)))
        return np.asarray(self.model.classify(self.model.hidden(values)).argmax(dim=1))

    def profile(self, embeddings: np.ndarray, folder: Profile | None = None) -> Profile:
        """Make a profile as `Recognizer.enrolled` does."""
        own = Statistics.of(lambda: [embeddings])
        said = Counter(self.labels(embeddings, folder).tolist())
        names = self.model.task.names
        counts = {name: said[place] for place, name in enumerate(names)}
        profile = Profile("", SpeakerContext(embeddings=own), len(embeddings), 0.0, counts)
        return profile if folder is None else profile.within(folder)


def answered(clips: Clips, head: Head, level: str, count: int | None, draw: np.random.Generator) -> np.ndarray:
    """Answer for all clips, adapted by so many drawn ones at a level."""
    if level == "unadapted":
        return head.labels(clips.embeddings)
    folder = None
    if level != "speaker":
        chosen = draw.permutation(len(clips.embeddings))[: count if level == "folder" else None]
        folder = head.profile(clips.embeddings[chosen])
    if level == "folder":
        return head.labels(clips.embeddings, folder)
    labels = np.zeros(len(clips.emotions), int)
    for speaker in np.unique(clips.speakers):
        own = np.flatnonzero(clips.speakers == speaker)
        profile = head.profile(clips.embeddings[draw.permutation(own)[:count]], folder)
        labels[own] = head.labels(clips.embeddings[own], profile)
    return labels


def ua(labels: np.ndarray, emotions: np.ndarray) -> float:
    """Mean recall over the emotions that occur."""
    return float(np.mean([np.mean(labels[emotions == one] == one) for one in np.unique(emotions)]))


def curves(clips: Clips, head: Head) -> dict[str, dict[str, list[float]]]:
    """Give UA for each of `EMOTIONS`, `LEVELS` and `CLIPS`."""
    made: dict[str, dict[str, list[float]]] = {}
    for shown, emotions in EMOTIONS.items():
        some = [clips.showing(emotions, np.random.default_rng(seed)) for seed in range(DRAWS)]
        made[shown] = {level: [mean_ua(some, head, level, count) for count in CLIPS] for level in LEVELS}
    return made


def mean_ua(several: Sequence[Clips], head: Head, level: str, count: int | None) -> float:
    """Give the mean UA over draws."""
    draws = (np.random.default_rng(seed) for seed in range(DRAWS))
    answers = (
        ua(answered(clips, head, level, count, draw), clips.emotions)
        for clips, draw in zip(several, draws, strict=True)
    )
    return float(np.mean(list(answers)))


def read(utterances: Sequence[Utterance], model: Recognizer) -> Clips:
    """Compute embeddings as the product does; clips without speech are left out."""
    pairs = []
    for u in utterances:
        answer = model(sound.read(u.audio, u.start, u.duration), sound.SAMPLE_RATE)
        if answer.embedding is not None:
            pairs.append((answer.embedding, model.labels.index(str(u.emotion)), u.speaker))
    embeddings, emotions, speakers = zip(*pairs, strict=True)
    return Clips(np.stack(embeddings), np.array(emotions), np.array(speakers))


def picture(results: dict[str, dict[str, dict[str, list[float]]]]) -> Figure:
    """Draw a field for each corpus and each of `EMOTIONS`."""
    drawn, axes = fields(len(results) * len(EMOTIONS), 4.4, 2.6)
    shown = [(corpus, emotions, levels) for corpus, own in results.items() for emotions, levels in own.items()]
    for field, (corpus, emotions, levels) in zip(axes, shown, strict=True):
        for level, colour in zip(LEVELS, PALETTE, strict=False):
            field.plot([100 * value for value in levels[level]], marker=".", color=colour, label=level)
        field.set_title(f"{corpus}, {emotions}", color=INK, fontsize=10)
        field.set_ylim(*SHOWN)
        field.set_xticks(range(len(CLIPS)), ["all" if count is None else str(count) for count in CLIPS])
        dress(field)
    axes[0].set_ylabel("UA, %", color=INK)
    axes[-1].set_xlabel("unlabelled clips adapted to", color=INK)
    legend(axes[0])
    return drawn


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--speakers", nargs="*", default=[], help="of the first manifest: these alone")
    parser.add_argument("-o", "--output", type=Path, help="a picture to draw")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, head, results = Recognizer.load(given.model), Head(EmotionModel.load(given.model)), {}
    for place, path in enumerate(given.manifests):
        clips = [clip for clip in Manifest.read(path) if clip.emotion in model.labels]
        clips = [clip for clip in clips if place or not given.speakers or clip.speaker in given.speakers]
        results[path.stem] = curves(read(clips, model), head)
    print(json.dumps({"clips": CLIPS, "ua": results}, indent=1))
    if given.output:
        save(picture(results), given.output)


if __name__ == "__main__":
    main()
