"""Frames become cluster indices, what masked prediction predicts: k-means fitted on a stream, and kept in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import safetensors
import safetensors.numpy
from sklearn.cluster import MiniBatchKMeans

from serene.audio.input_spec import FrontEnd, InputSpec
from serene.errors import SereneError
from serene.files import whole_file

CHUNK = 10_000  # frames per step of k-means, as HuBERT's recipe has it
CENTRES = "centres"  # the one tensor of a quantiser's file


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
        """Give the index of every frame of an encoder, for a part of a clip.

        Frame t begins `t * stride` samples after `start`; its label is the one whose frame that sample is in. Where the
        labels end before the encoder's frames do, there is none (-1).

        Args:
            labels: (label, 1) of the whole clip.
            start: the part's first sample at 16 kHz.
            samples: of the part.
            stride: samples from one of the encoder's frames to the next.
        """
        firsts = start + np.arange(max(1, samples // stride)) * stride
        place = np.floor(firsts * self.frame_rate / 16_000 + 1e-9).astype(np.int64)
        return np.where(place < len(labels), labels[np.minimum(place, len(labels) - 1), 0], -1)


def fit(frames: Iterable[np.ndarray], clusters: int, seed: int) -> np.ndarray:
    """Fit k-means to a stream of frames, read once, of which never more than two chunks and a clip are held.

    Args:
        frames: arrays (frame, feature), clip by clip.
        clusters: how many centres.
        seed: of the first centres, chosen by k-means++ from the first chunk.

    Returns:
        float32 (cluster, feature).

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
    """Read the centres (cluster, feature) of a quantiser.

    Raises:
        SereneError: no such file, or none of safetensors with `centres`: pickles, such as fairseq's, are never loaded.
    """
    try:
        centres = safetensors.numpy.load_file(path)[CENTRES]
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
