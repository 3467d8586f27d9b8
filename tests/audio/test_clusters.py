"""Clusters of frames: k-means over a stream, files that are safe to read, and labels where an encoder's frames are."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from serene.audio import clusters
from serene.audio.clusters import CHUNK, Clusters, digest, fit, read, write
from serene.audio.input_spec import FrontEnd, InputSpec
from serene.audio.mfcc import Mfcc
from serene.errors import SereneError

MEANS = np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 3.0], [-9.0, -9.0, 0.0]])


class Triples(FrontEnd):
    """A front end for tests: three samples are a frame, of three features."""

    identity, declared = "triples", InputSpec(width=3, rate=0.0, shortest=3)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        return samples[: len(samples) // 3 * 3].reshape(-1, 3)


def blobs(clips: int, frames: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Clips whose frames lie close around four means."""
    rng = np.random.default_rng(seed)
    for _ in range(clips):
        kinds = rng.integers(len(MEANS), size=frames)
        yield (MEANS[kinds] + 0.1 * rng.standard_normal((frames, 3))).astype(np.float32)


# --- k-means


@pytest.mark.parametrize(("clips", "frames"), [(3, 40), (90, 500)], ids=["a chunk", "several chunks"])
def test_centres_are_where_the_frames_are(clips: int, frames: int) -> None:
    centres = fit(blobs(clips, frames), 4, seed=0)
    assert (centres.shape, centres.dtype) == ((4, 3), np.float32)
    for mean in MEANS:
        assert min(math.dist(mean, centre) for centre in centres.tolist()) < 0.05


def test_the_same_stream_and_seed_give_the_same_centres() -> None:
    noise = np.random.default_rng(1).standard_normal((500, 3))
    first, again, other = (fit([noise], 5, seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_more_than_two_chunks_and_a_clip_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the stream has given and k-means has not yet taken is never more than that."""
    taken, given, most = 0, 0, 0
    step = clusters.MiniBatchKMeans.partial_fit

    def partial_fit(self: object, chunk: np.ndarray) -> object:
        nonlocal taken
        assert len(chunk) < 2 * CHUNK
        taken += len(chunk)
        return step(self, chunk)

    def stream() -> Iterator[np.ndarray]:
        nonlocal given, most
        for clip in blobs(70, 900):
            given += len(clip)
            most = max(most, given - taken)
            yield clip

    monkeypatch.setattr(clusters.MiniBatchKMeans, "partial_fit", partial_fit)
    fit(stream(), 4, seed=0)
    assert taken == given == 63_000, "every frame is used once"
    assert CHUNK < most < 2 * CHUNK + 900


def test_a_chunk_is_large_enough_for_the_first_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CHUNK", 8)
    assert fit(blobs(6, 5), 12, seed=0).shape == (12, 3)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(SereneError) as error:
        fit(blobs(2, 20), 41, seed=0)
    assert str(error.value) == (
        "41 clusters were asked for, and there are 40 frames to fit them on; ask for fewer, or give more audio "
        "(targets.share)."
    )
    assert fit(blobs(2, 20), 40, seed=0).shape == (40, 3)
    with pytest.raises(SereneError, match="4 clusters were asked for, and there is no audio to fit them on"):
        fit([], 4, seed=0)


# --- indices


def test_a_frame_is_of_its_nearest_centre() -> None:
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((7, 3)).astype(np.float32)
    front_end, samples = Clusters(Triples(), centres, 100.0), rng.standard_normal(200).astype(np.float32)
    indices = front_end(samples)
    assert (indices.shape, indices.dtype) == ((66, 1), np.int32)
    for number, index in enumerate(indices[:, 0].tolist()):
        frame = samples[3 * number : 3 * number + 3].tolist()
        distances = [math.dist(frame, centre) for centre in centres.tolist()]
        assert index == distances.index(min(distances))


def test_frames_far_from_zero_are_told_apart() -> None:
    """Log energies are: float32 would lose the differences in the squares."""
    centres = np.array([[4e4, 0, 0], [4e4 + 0.5, 0, 0]], np.float32)
    frames = np.array([[4e4 + 0.1, 0, 0], [4e4 + 0.4, 0, 0]], np.float32)
    assert Clusters(Triples(), centres, 100.0)(frames.flatten())[:, 0].tolist() == [0, 1]


def test_what_the_store_knows_of_it() -> None:
    front_end = Clusters(Triples(), MEANS, 100.0)
    assert front_end.spec == InputSpec(stored=True, shortest=3, width=1, rate=0)
    assert front_end.identity == f"clusters-{digest(MEANS)}-triples"
    other = MEANS.copy()
    other[2, 1] += 1e-3
    assert Clusters(Triples(), other, 100.0).identity != front_end.identity
    mfcc = [Clusters(Mfcc(coefficients=3, deltas=0, voice_activity=v), MEANS, 100.0).identity for v in (True, False)]
    assert mfcc[0] != mfcc[1]


def test_centres_of_another_width_are_refused() -> None:
    for centres in (np.zeros((5, 39)), np.zeros(3)):
        with pytest.raises(
            SereneError, match=re.escape(f"are of shape {centres.shape}, and the frames to be clustered")
        ):
            Clusters(Triples(), centres, 100.0)


# --- labels where an encoder's frames are

LABELS = np.arange(100, 300)[:, None].astype(np.int32)


def test_labels_at_twice_the_rate_are_every_second_one() -> None:
    """HuBERT's first iteration: labels every 10 ms, frames every 20 ms."""
    front_end = Clusters(Triples(), MEANS, 100.0)
    assert front_end.at(LABELS, 0, 16_000, 320).tolist() == list(range(100, 200, 2))
    assert front_end.at(LABELS, 0, 3199, 320).tolist() == list(range(100, 118, 2))


def test_labels_at_the_encoders_own_rate_are_its_frames() -> None:
    assert Clusters(Triples(), MEANS, 50.0).at(LABELS, 0, 3200, 320).tolist() == list(range(100, 110))


@pytest.mark.parametrize("stride", [320, 200, 441])
@pytest.mark.parametrize("start", [0, 320, 9600, 12_345])
def test_a_part_of_a_clip_has_the_labels_of_the_place_it_was_cut_from(start: int, stride: int) -> None:
    rate = 16_000 / 160
    got = Clusters(Triples(), MEANS, rate).at(LABELS, start, 8000, stride)
    assert len(got) == 8000 // stride
    for frame, label in enumerate(got.tolist()):
        covered = (start + frame * stride) // 160  # label n is of samples 160 n to 160 n + 159
        assert label == (LABELS[covered, 0] if covered < len(LABELS) else -1)


def test_where_labels_end_there_is_none() -> None:
    got = Clusters(Triples(), MEANS, 100.0).at(LABELS[:7], 640, 3200, 320)
    assert got.tolist() == [104, 106, -1, -1, -1, -1, -1, -1, -1, -1]
    assert Clusters(Triples(), MEANS, 100.0).at(LABELS, 0, 10, 320).tolist() == [100], "a clip has a frame"


# --- files


def test_a_quantiser_is_read_as_it_was_written(tmp_path: Path) -> None:
    write(MEANS.astype(np.float32), tmp_path / "deep" / "q.safetensors")
    assert np.array_equal(read(tmp_path / "deep" / "q.safetensors"), MEANS)
    safetensors.numpy.save_file({"centres": MEANS}, tmp_path / "wide.safetensors")  # as scikit-learn has them
    assert read(tmp_path / "wide.safetensors").dtype == np.float32
    assert digest(read(tmp_path / "wide.safetensors")) == digest(MEANS)


class Trap:
    """Says when it is unpickled."""

    sprung = False

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("import serene.audio.clusters as c; c.sprung = True",)


def test_a_pickle_is_refused_and_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "hubert_base_ls960_L9_km500.bin"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(SereneError) as error:
        read(path)
    assert not hasattr(clusters, "sprung")
    assert f"{path} is not a quantiser" in str(error.value)
    assert "a pickle, which can run code and is not loaded" in str(error.value)
    assert "safetensors.numpy.save_file({'centres': model.cluster_centers_}, PATH)" in str(error.value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"centers": MEANS}, r"is not a quantiser \('centres'\): a safetensors file with one tensor 'centres'"),
        ({"centres": MEANS[0]}, r"holds centres of shape \(3,\); finite \(cluster, feature\) were expected"),
        ({"centres": MEANS[:0]}, r"holds centres of shape \(0, 3\)"),
        ({"centres": MEANS * np.nan}, r"holds centres of shape \(4, 3\); finite"),
    ],
)
def test_a_file_of_something_else_is_refused(tensors: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    safetensors.numpy.save_file(tensors, tmp_path / "q.safetensors")
    with pytest.raises(SereneError, match=message):
        read(tmp_path / "q.safetensors")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=r"none.safetensors is not a quantiser \(.*No such file"):
        read(tmp_path / "none.safetensors")
