"""What masked prediction reads: clips without labels, and the k-means cluster of each of their frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import safetensors
import safetensors.numpy
import torch
from sklearn.cluster import MiniBatchKMeans

from serene.audio.batch import Batch, padded
from serene.audio.dataset import Dataset, context_of, contexts_of, features, samples_of, tensors
from serene.audio.input_spec import FrontEnd, InputSpec
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Utterance
from serene.corpora.utterances import Utterances
from serene.errors import SereneError
from serene.files import regular, whole_file
from serene.sound import SAMPLE_RATE

CHUNK = 10_000  # frames per step of k-means, as HuBERT's recipe has it
CENTRES = "centres"  # the one tensor of a quantiser's file
MISFIT, EDGES = 0.1, 3  # share of a clip's indices, and frames at its ends, that may be too many or too few


@dataclass(frozen=True, eq=False)
class Clusters(FrontEnd):
    """A front end that gives each frame the index of its nearest centre.

    Attributes:
        base: a front end that gives the frames.
        centres: float32 (cluster, feature).
        frame_rate: frames per second of the base.
    """

    base: FrontEnd
    centres: np.ndarray
    frame_rate: float

    declared: ClassVar[InputSpec] = InputSpec(width=1, rate=0.0)

    def __post_init__(self) -> None:
        """Refuse centres of another width than the frames."""
        if self.centres.ndim != 2 or self.centres.shape[1] != self.base.spec.width:
            raise SereneError(
                f"The quantiser's centres are of shape {self.centres.shape}, and the frames to be clustered have "
                f"{self.base.spec.width} features; (cluster, {self.base.spec.width}) was expected."
            )

    @property
    def spec(self) -> InputSpec:
        """One index per frame of the base."""
        return replace(self.declared, shortest=self.base.spec.shortest)

    @property
    def identity(self) -> str:
        """What the store keys the indices by: the centres and what makes the frames."""
        return f"clusters-{digest(self.centres)}-{self.base.identity}"

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) into indices int32 (frame, 1)."""
        frames = self.base(samples).astype(np.float64)
        centres = self.centres.astype(np.float64)
        # |x - c|^2 without |x|^2, which is the same for every centre
        distances = (centres**2).sum(axis=1) - 2 * frames @ centres.T
        return distances.argmin(axis=1).astype(np.int32)[:, None]

    def at(self, labels: np.ndarray, start: int, samples: int, stride: int) -> np.ndarray:
        """Give the index of every frame of an encoder, for the part of a clip of so many `samples` from sample `start`.

        Frame t begins `t * stride` samples after `start`; its label is that of the frame, among the whole clip's labels
        (label, 1), which this sample is in. Where the labels end before the encoder's frames do, there is none (-1).
        """
        firsts = start + np.arange(max(1, samples // stride)) * stride
        place = np.floor(firsts * self.frame_rate / SAMPLE_RATE + 1e-9).astype(np.int64)
        return np.where(place < len(labels), labels[np.minimum(place, len(labels) - 1), 0], -1)


def fit(frames: Iterable[np.ndarray], clusters: int, seed: int) -> np.ndarray:
    """Fit k-means to a stream of clips' frames (frame, feature), read once; two chunks and a clip are held at most.

    The first centres are chosen by k-means++ from the first chunk. Returns float32 (cluster, feature).

    Raises:
        SereneError: fewer frames than clusters.
    """
    kmeans = MiniBatchKMeans(clusters, random_state=seed, batch_size=CHUNK, reassignment_ratio=0)
    fitted = False
    for chunk in _chunks(frames, max(CHUNK, clusters)):
        if not fitted and len(chunk) < clusters:
            raise SereneError(
                f"{clusters} clusters were asked for, and there are {len(chunk)} frames to fit them on; ask for fewer, "
                "or give more audio (targets.share)."
            )
        kmeans.partial_fit(chunk)
        fitted = True
    if not fitted:
        raise SereneError(f"{clusters} clusters were asked for, and there is no audio to fit them on.")
    return np.asarray(kmeans.cluster_centers_, dtype=np.float32)


def digest(centres: np.ndarray) -> str:
    """Identify a quantiser by its centres."""
    return hashlib.sha256(np.ascontiguousarray(centres, dtype=np.float32).tobytes()).hexdigest()[:12]


def write(centres: np.ndarray, path: Path) -> None:
    """Keep a quantiser as safetensors, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save({CENTRES: np.ascontiguousarray(centres)}))


def read(path: str | Path) -> np.ndarray:
    """Read the centres (cluster, feature) of a quantiser; pickles, such as fairseq's, are never loaded.

    Raises:
        SereneError: no such file, or none of safetensors with `centres`.
    """
    try:
        centres = safetensors.numpy.load_file(regular(path))[CENTRES]
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise SereneError(
            f"{path} is not a quantiser ({error}): a safetensors file with one tensor '{CENTRES}' (cluster, feature) "
            "was expected. A scikit-learn or fairseq quantiser is a pickle, which can run code and is not loaded: save "
            f"its cluster_centers_ with safetensors.numpy.save_file({{'{CENTRES}': model.cluster_centers_}}, PATH)."
        ) from error
    if centres.ndim != 2 or not centres.size or not np.isfinite(centres).all():
        raise SereneError(f"{path} holds centres of shape {centres.shape}; finite (cluster, feature) were expected.")
    return centres.astype(np.float32)


def _chunks(frames: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Join clips' frames to chunks of a size; what is left over at the end goes into the last one."""
    held: list[np.ndarray] = []
    for clip in frames:
        held.append(np.asarray(clip, dtype=np.float64))
        while sum(map(len, held)) >= 2 * size:
            joined = np.concatenate(held)
            yield joined[:size]
            held = [joined[size:]]
    if held:
        yield np.concatenate(held)


class Unlabelled(Dataset):
    """Clips for masked prediction; no label is looked at.

    Args:
        utterances: the clips.
        clusters: the store of their cluster indices.
        stride: samples from one of the encoder's frames to the next.
        crop: samples of a clip that are read at once, from a random place; shorter clips are taken whole.
        known: persons with a vector of their own, in the order of their indices.
        groups: of each clip, what it is held out for; for validation.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        clusters: Store,
        *,
        stride: int,
        crop: int,
        known: Sequence[str] = (),
        groups: Sequence[str] = (),
    ) -> None:
        """Decode nothing yet: lengths come from the manifest."""
        self.utterances, self.groups = Utterances.of(utterances), np.array(groups, dtype=np.str_)
        self.store = Store(clusters.folder.parent, Waveform())
        self.clusters, self.stride, self.crop = clusters, stride, crop
        own = (round((u.duration or len(samples_of(u)) / SAMPLE_RATE) * SAMPLE_RATE) for u in self.utterances)
        self.lengths = np.minimum(np.fromiter(own, np.int64, len(self.utterances)), crop)
        self.contexts = contexts_of((), (), self.store, known=known)

    def batch(self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """Collect clips into a batch; without a generator long clips are cut at their beginning."""
        chosen = [*self.utterances.take(np.asarray(indices))]
        parts = [self._part(utterance, rng.random() if rng else 0.0) for utterance in chosen]
        inputs, lengths = tensors(padded([samples for samples, _ in parts]))
        clusters = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(labels) for _, labels in parts], batch_first=True, padding_value=-1
        )
        ids, context = tuple(u.id for u in chosen), context_of(chosen, self.contexts)
        return Batch(inputs, lengths, ids=ids, context=context, clusters=clusters)

    def _part(self, utterance: Utterance, place: float) -> tuple[np.ndarray, np.ndarray]:
        samples, front_end = samples_of(utterance), self.clusters.front_end
        assert isinstance(front_end, Clusters)
        labels = features(utterance, self.clusters)
        expected = len(samples) / SAMPLE_RATE * front_end.frame_rate
        if abs(len(labels) - expected) > EDGES + MISFIT * expected:
            raise SereneError(
                f"'{utterance.id}' has {len(labels)} cluster indices, and its {len(samples)} samples have about "
                f"{expected:.0f}: they are of other audio. Delete {self.clusters.folder} and run again."
            )
        start = int(place * (max(0, len(samples) - self.crop) // self.stride + 1)) * self.stride
        part = samples[start : start + self.crop]
        return self.store.front_end(part), front_end.at(labels, start, len(part), self.stride)
