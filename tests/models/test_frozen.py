"""A frozen encoder's outputs: what they are, that they are computed once, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch
import transformers

from serene import sound
from serene.audio.dataset import Dataset, features, statistics_of, warm
from serene.audio.input_spec import InputSpec
from serene.audio.mfcc import Mfcc
from serene.audio.shards import Shards
from serene.audio.speaker_stream import SpeakerStream
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import AudioError, SereneError
from serene.experiment import recipe
from serene.experiment.train import train
from serene.methods.baseline import Baseline
from serene.models import frozen
from serene.models.frozen import Frozen
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.scoring import score
from serene.task import Task
from serene.training.trainer import Trainer

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "initializer_range": 0.3,  # large, so that the layers differ from their input
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
EMOTIONS = ("anger", "happiness", "neutral", "sadness")


def save_plain(folder: Path, *, seed: int = 0, **settings: Any) -> Any:
    """Save a transformers HuBERT with random weights, as it is downloaded; return it."""
    torch.manual_seed(seed)
    plain = transformers.HubertModel(transformers.HubertConfig(**SMALL, **settings)).eval()
    plain.save_pretrained(folder)
    return plain


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pretrained") / "hubert"
    save_plain(folder)
    return str(folder)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Sound that is neither of mean 0 nor of variance 1."""
    return (0.02 + 0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def standardised(samples: np.ndarray) -> list[float]:
    values = samples.astype(np.float64).tolist()
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    return [(value - mean) / math.sqrt(variance + 1e-7) for value in values]


@torch.no_grad()
def hidden_states(plain: Any, samples: list[float]) -> list[torch.Tensor]:
    """What goes into the first layer of transformers' model, then what comes out of each: (frame, feature)."""
    output = plain(torch.tensor([samples], dtype=torch.float32), output_hidden_states=True)
    return [*(state[0] for state in output.hidden_states[:-1]), output.last_hidden_state[0]]


def close(ours: np.ndarray, theirs: Any, tolerance: float = 2e-5) -> None:
    theirs = np.asarray(theirs)
    assert ours.dtype == np.float32
    largest = np.abs(theirs).max()
    assert largest > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(1.0, largest))


# --- what the outputs are


@pytest.mark.parametrize("settings", [{}, LARGE], ids=["base", "large"])
def test_a_layers_frames_are_those_of_transformers(settings: dict[str, Any], tmp_path: Path) -> None:
    states = hidden_states(save_plain(tmp_path, **settings), standardised(noise(4000)))
    for layers in (1, 2, 3, None):
        maker = Frozen(weights=str(tmp_path), layers=layers, pooled=False)
        close(maker(noise(4000)), states[3 if layers is None else layers])
        assert maker.spec.width == 16
    assert all((one - other).abs().max() > 0.1 for one, other in pairwise(states))


def test_a_pooled_vector_is_the_mean_of_the_frames(pretrained: str) -> None:
    for layers, samples in ((None, 400), (None, 5000), (2, 5000)):
        frames, pooled = (Frozen(weights=pretrained, layers=layers, pooled=p)(noise(samples)) for p in (False, True))
        assert pooled.shape == (1, 16)
        close(pooled[0], [sum(column) / len(column) for column in frames.T.astype(float).tolist()], 1e-6)


@pytest.mark.parametrize("samples", [300, 5000, 8000, 12_000])
def test_clips_cut_and_filled_to_one_length_are_pooled_over_their_padding(samples: int, tmp_path: Path) -> None:
    plain, clip = save_plain(tmp_path), noise(samples)
    whole = np.array([clip[n] if n < samples else 0.0 for n in range(8000)], dtype=np.float32)
    frames = hidden_states(plain, standardised(whole))[-1]
    assert len(frames) == 24
    maker = Frozen(weights=str(tmp_path), length=8000)
    close(maker(clip)[0], frames.mean(dim=0))
    if samples == 5000:
        assert np.abs(maker(clip) - Frozen(weights=str(tmp_path))(clip)).max() > 0.01  # padding counts


def test_an_encoder_trained_on_sound_as_it_is_reads_it_so(tmp_path: Path) -> None:
    plain = save_plain(tmp_path, conv_bias=True)
    with torch.no_grad():
        plain.feature_extractor.conv_layers[0].layer_norm.eps = 1.0  # a group norm that does not undo the scale
        scaled, raw = (
            hidden_states(plain, samples)[-1] for samples in (standardised(noise(4000)), noise(4000).tolist())
        )
    assert (scaled - raw).abs().max() > 0.05

    def outputs() -> tuple[str, np.ndarray]:
        maker = Frozen(weights=str(tmp_path), pooled=False)
        maker._pretrained.transformer.feature_extractor.conv_layers[0].layer_norm.eps = 1.0
        return maker.identity, maker(noise(4000))

    said = {}
    for normalize, expected in ((None, scaled), (True, scaled), (False, raw)):
        if normalize is not None:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalize}))
        said[normalize], frames = outputs()
        close(frames, expected)
    assert said[None] == said[True] != said[False]


def test_silence_gives_numbers(pretrained: str) -> None:
    assert np.isfinite(Frozen(weights=pretrained)(np.zeros(4000, dtype=np.float32))).all()


# --- computed once


class Anew(Frozen):
    """The same encoder, asked again every time."""

    declared: ClassVar[InputSpec] = replace(Frozen.declared, stored=False)


def dataset_of(manifest: Manifest, store: Store) -> Dataset:
    clips = manifest.utterances
    speakers = sorted({u.speaker for u in clips})
    return Dataset(clips, store, task=Task(tuple(sorted({str(u.emotion) for u in clips}))), speakers=speakers)


@pytest.mark.parametrize("pooled", [True, False])
def test_stored_and_recomputed_outputs_give_the_same_predictions(
    pooled: bool, pretrained: str, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    manifest = Manifest(made_up_manifest.utterances[::4])
    scored = []
    for kind in (Frozen, Anew):
        dataset = dataset_of(manifest, Store(tmp_path / "store", kind(weights=pretrained, pooled=pooled)))
        torch.manual_seed(1)
        parts = Parts(pooling="mean", hidden=(8,), head="relu_dropout_norm")
        model = EmotionModel(dataset.task, 16, encoder="frozen", normalize="none", parts=parts)
        trainer = Trainer(epochs=3, batch_size=4, optimizer="adam", learning_rate=0.01, select_on="last", device="cpu")
        trainer.fit(model, Baseline(), dataset, None, seed=3, folder=tmp_path / kind.__name__)
        scored.append(score(model, dataset))
    assert np.array_equal(scored[0].outputs, scored[1].outputs)
    assert np.array_equal(scored[0].embeddings, scored[1].embeddings)
    assert np.ptp(scored[0].outputs, axis=0).min() > 0.01
    assert len(whole_files(tmp_path / "store")) == 12


def test_a_head_on_stored_outputs_says_what_it_says_on_the_whole_encoder(
    pretrained: str, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    manifest, parts = Manifest(made_up_manifest.utterances[::4]), Parts(pooling="mean", hidden=(8,), head="relu")
    torch.manual_seed(1)
    head = EmotionModel(EMOTIONS, 16, encoder="frozen", normalize="none", parts=parts)
    settings = {"weights": pretrained, "train": "none"}
    whole = EmotionModel(EMOTIONS, 1, encoder="hubert", encoder_settings=settings, normalize="utterance", parts=parts)
    whole.head.load_state_dict(head.head.state_dict())
    stored = dataset_of(manifest, Store(tmp_path, Frozen(weights=pretrained)))
    decoded = dataset_of(manifest, Store(tmp_path, Waveform()))
    one, other = score(head.eval(), stored), score(whole.eval(), decoded)
    np.testing.assert_allclose(one.outputs, other.outputs, rtol=0, atol=2e-5)
    np.testing.assert_allclose(one.embeddings, other.embeddings, rtol=0, atol=2e-5)
    assert np.ptp(one.embeddings, axis=0).max() > 0.1


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no encoder be loaded from here on."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the encoder was loaded")

    monkeypatch.setattr(frozen, "Hubert", refuse)
    monkeypatch.setattr(EmotionModel, "load", refuse)


def test_a_full_store_needs_no_encoder(
    pretrained: str, made_up_manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "ours", Mfcc())
    for weights in (pretrained, str(tmp_path / "ours")):
        warm(made_up_manifest.utterances, Store(tmp_path, Frozen(weights=weights)))
    forbid(monkeypatch)
    for weights, width in ((pretrained, 16), (str(tmp_path / "ours"), 512)):
        store = Store(tmp_path, Frozen(weights=weights))
        dataset = dataset_of(made_up_manifest, store)
        assert dataset.batch(range(48)).inputs.shape == (48, 1, width)
        assert store.front_end.spec.width == width
        with pytest.raises(AssertionError, match="the encoder was loaded"):
            store.get("another", lambda: noise(4000))


def test_nothing_is_loaded_whole(pretrained: str, made_up_manifest: Manifest, tmp_path: Path) -> None:
    store = Store(tmp_path, Frozen(weights=pretrained, pooled=False))
    big = np.ones((2000, 16), dtype=np.float32)
    for utterance in made_up_manifest:
        path = store.folder / str(utterance.audio_hash)[:2] / f"{utterance.audio_hash}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, big)
    assert isinstance(features(made_up_manifest.utterances[0], store), np.memmap)
    assert store.front_end.spec.width == 16, "the configuration is read before anything is counted"
    tracemalloc.start()
    try:
        warm(made_up_manifest.utterances, store)
        dataset = dataset_of(made_up_manifest, store)
        filled = tracemalloc.get_traced_memory()
        for batch in dataset.in_order(2):
            assert batch.inputs.shape == (2, 2000, 16)
        del batch  # its inputs are numpy's, and counted
        statistics_of(made_up_manifest.utterances, store)
        read = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert filled[1] < big.nbytes  # at no time as much as one clip of 48
    assert read[0] < big.nbytes  # nothing stays
    assert read[1] < 5 * big.nbytes  # numpy's side of a batch of two


FILLER = """
import os, signal, sys
import numpy as np
import torch
from serene.audio.dataset import warm
from serene.audio.store import Store
from serene.corpora.manifest import Manifest
from serene.models.frozen import Frozen

torch.set_num_threads(1)
weights, manifest, folder, die = sys.argv[1:]
calls, whole = [], np.save

class Counted(Frozen):
    def __call__(self, samples):
        calls.append(len(samples))
        if die == "computing" and len(calls) == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(samples)

def save(file, array):
    if die == "writing" and len(calls) == 8:
        whole(file, array[:, :5])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    whole(file, array)

np.save = save
store = Store(folder, Counted(weights=weights))
print("ready", flush=True)
sys.stdin.readline()
warm(Manifest.read(manifest).utterances, store)
print(len(calls), flush=True)
"""


def filler(*arguments: object) -> subprocess.Popen[str]:
    """Start a process that fills a store; it begins when it is told to."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", FILLER, *map(str, arguments)], text=True, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


class Counted(Frozen):
    """Counts what it computes."""

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        COMPUTED.append(sound.content_hash(samples))
        return super().__call__(samples)


COMPUTED: list[str] = []


def whole_files(folder: Path) -> dict[str, str]:
    """The arrays of a store by the hash of their audio, and where they lie."""
    stores = {own.name: Shards(own) for own in folder.iterdir() if own.is_dir()}
    return {f"{own} {name}": str(of.where(name)) for own, of in stores.items() for name in of.names()}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["computing", "writing"])
def test_a_fill_that_was_killed_goes_on_where_it_was(
    moment: str, pretrained: str, made_up: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    process = filler(pretrained, made_up, tmp_path, moment)
    _, errors = process.communicate("\n", timeout=300)
    assert process.returncode == -signal.SIGKILL, errors
    before = whole_files(tmp_path)
    assert {name.split()[1] for name in before} == {u.audio_hash for u in made_up_manifest.utterances[:7]}
    COMPUTED.clear()
    store = Store(tmp_path, Counted(weights=pretrained))
    warm(made_up_manifest.utterances, store)
    rest = [u.audio_hash for u in made_up_manifest.utterances[7:]]
    assert rest == COMPUTED
    after = whole_files(tmp_path)
    assert len(after) == 48
    assert {name: after[name] for name in before} == before
    alone = Frozen(weights=pretrained)
    for utterance in made_up_manifest.utterances[:12]:
        assert np.array_equal(features(utterance, store), alone(sound.read(utterance.audio)))


@pytest.mark.slow
def test_two_processes_share_a_store(
    pretrained: str, made_up: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    other = filler(pretrained, made_up, tmp_path / "shared", "never")
    alone = Store(tmp_path / "alone", Frozen(weights=pretrained))
    warm(made_up_manifest.utterances, alone)
    assert other.stdin is not None
    other.stdin.write("\n")
    other.stdin.flush()
    COMPUTED.clear()
    store = Store(tmp_path / "shared", Counted(weights=pretrained))
    for utterance in reversed(made_up_manifest.utterances):  # they meet halfway
        assert np.array_equal(features(utterance, store), features(utterance, alone))
    said, errors = other.communicate(timeout=300)
    assert (other.returncode, errors) == (0, "")
    assert 48 <= len(COMPUTED) + int(said) < 96
    assert len(whole_files(tmp_path / "shared")) == 48


def test_a_second_recipe_on_the_same_encoder_computes_nothing(
    pretrained: str, made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {
        "corpus": {"name": "synthetic", "path": str(made_up)},
        "protocol": {"name": "speaker_folds", "folds": 3, "run": [1]},
        "features": {"weights": pretrained},
        "model": {"encoder": "frozen", "pooling": "mean", "hidden": [8]},
        "method": {"name": "baseline"},
        "training": {"epochs": 1, "batch_size": 8},
    }
    first = train(recipe.check(tree, "first"), tmp_path)
    kept = json.loads(next(first.folder.rglob("preprocessor_config.json")).read_text())
    assert (kept["front_end"], kept["weights"]) == ("frozen", pretrained)
    forbid(monkeypatch)
    second = train(recipe.check(tree | {"method": {"name": "multi_task"}}, "second"), tmp_path)
    assert second.identity != first.identity
    assert len(second.finished()) == 1


# --- whose outputs they are


def test_the_weights_content_names_the_outputs(pretrained: str, tmp_path: Path) -> None:
    def identity(folder: Path | str, **settings: Any) -> str:
        return Frozen(weights=str(folder), **settings).identity

    shutil.copytree(pretrained, tmp_path / "copy")
    assert identity(tmp_path / "copy") == identity(pretrained)
    save_plain(tmp_path / "same")
    assert identity(tmp_path / "same") == identity(pretrained)
    save_plain(tmp_path / "others", seed=1)
    config = json.loads((tmp_path / "copy/config.json").read_text())
    (tmp_path / "copy/config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    named = [identity(tmp_path / "others"), identity(tmp_path / "copy"), identity(pretrained)]
    named += [identity(pretrained, **s) for s in ({"layers": 2}, {"pooled": False}, {"length": 8000})]
    assert len(set(named)) == 6


# --- models of ours


def save_model(folder: Path, front_end: Any, *, seed: int = 2, **settings: Any) -> EmotionModel:
    """Save a model of ours with random weights and statistics, as a training leaves it."""
    torch.manual_seed(seed)
    name = {Mfcc: "mfcc", Waveform: "waveform", Frozen: "frozen"}[type(front_end)]
    model = EmotionModel(EMOTIONS, front_end.spec.width, **({"encoder": "tdnn_bilstm"} | settings))
    for buffer in (model.feature_mean, model.feature_deviation):
        buffer.copy_(1 + torch.rand(len(buffer)))
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(layer.running_var, 0.01, 0.1)  # an untrained one shrinks its input
    model.save(folder, {"front_end": name, **asdict(front_end)})
    return model.eval()


OURS: dict[str, tuple[Callable[[str], Any], dict[str, Any]]] = {
    "mfcc": (lambda _: Mfcc(deltas=1, voice_activity=False), {"parts": Parts(projector="gelu")}),
    "waveform": (
        lambda _: Waveform(longest=0.3),
        {
            "encoder": "hubert",
            "encoder_settings": {"config": {"model_type": "hubert", **SMALL}},
            "normalize": "utterance",
            "parts": Parts(pooling="mean", projector="gate"),
        },
    ),
    "frozen": (
        lambda weights: Frozen(weights=weights, pooled=False),
        {"encoder": "frozen", "normalize": "none", "parts": Parts(projector="relu")},
    ),
    "table": (lambda _: Mfcc(), {"parts": Parts(speaker_embedding="table"), "speakers": ("a", "b")}),
}


@pytest.mark.parametrize("kind", OURS)
@torch.no_grad()
def test_a_model_of_ours_gives_what_is_between_its_projector_and_its_heads(
    kind: str, pretrained: str, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    front_end, settings = OURS[kind][0](pretrained), OURS[kind][1]
    model = save_model(tmp_path / "ours", front_end, **settings)
    dataset = Dataset(
        made_up_manifest.utterances[:5], Store(tmp_path, front_end), task=Task(tuple(sorted(EMOTIONS))), speakers=()
    )
    batch = dataset.batch(range(5))  # of unknown speakers, padded
    frames = model.project(model.context(model.features(batch)))
    embedded = model.embed(batch)
    pooled, whole = (Frozen(weights=str(tmp_path / "ours"), pooled=p) for p in (True, False))
    assert (pooled.spec.width, whole.spec.width) == (model.embedding_width, model.encoder.out_width)
    for row, utterance in enumerate(dataset.utterances):
        samples = sound.read(utterance.audio)
        close(pooled(samples), embedded[row : row + 1])
        close(whole(samples), frames.values[row][frames.mask[row]])


def test_what_a_model_of_ours_reads_belongs_to_its_identity(pretrained: str, tmp_path: Path) -> None:
    identities = set()
    for front_end in (Mfcc(), Mfcc(voice_activity=False)):
        save_model(tmp_path / "ours", front_end)
        identities.add(Frozen(weights=str(tmp_path / "ours")).identity)
    for layers in (1, 2):
        save_model(tmp_path / "ours", Frozen(weights=pretrained, layers=layers), encoder="frozen")
        identities.add(Frozen(weights=str(tmp_path / "ours")).identity)
    assert len(identities) == 4


def test_asking_for_the_width_draws_no_random_numbers(tmp_path: Path) -> None:
    save_model(tmp_path / "ours", Waveform(), **OURS["waveform"][1])
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert Frozen(weights=str(tmp_path / "ours")).spec.width == 16
    assert torch.equal(torch.rand(3), expected)


# --- what is refused


@pytest.mark.parametrize("settings", [{"normalize": "speaker"}, {"parts": Parts(speaker_embedding="mfcc_learned")}])
def test_a_model_that_uses_a_speakers_other_clips_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    save_model(tmp_path, Mfcc(), **settings)
    with pytest.raises(SereneError, match=r"uses a speaker's other clips, so its outputs .* cannot be stored"):
        Store(tmp_path, Frozen(weights=str(tmp_path)))


def test_a_layer_that_does_not_exist_is_refused(pretrained: str, tmp_path: Path) -> None:
    for layers in (0, 4, -1):
        with pytest.raises(SereneError, match=f"features.layers is {layers}; the encoder has 3 layers, so 1 to 3 was"):
            Store(tmp_path, Frozen(weights=pretrained, layers=layers))
    save_model(tmp_path, Mfcc())
    with pytest.raises(SereneError, match=r"features\.layers is for pretrained encoders"):
        Store(tmp_path, Frozen(weights=str(tmp_path), layers=1))


def clip_of(samples: int, folder: Path) -> Utterance:
    path = folder / f"{samples}.wav"
    soundfile.write(path, noise(samples), 16_000, subtype="FLOAT")
    return Utterance(id="a", audio=str(path), speaker="b", audio_hash=sound.content_hash(noise(samples)))


def test_a_clip_shorter_than_a_frame_is_named(pretrained: str, tmp_path: Path) -> None:
    save_model(tmp_path / "ours", Waveform(), **OURS["waveform"][1])
    for weights in (pretrained, str(tmp_path / "ours")):
        store = Store(tmp_path / "store", Frozen(weights=weights))
        with pytest.raises(AudioError, match=r"399\.wav has 399 samples at 16 kHz; this encoder needs at least 400\."):
            features(clip_of(399, tmp_path), store)
        assert features(clip_of(400, tmp_path), store).shape == (1, 16)
    save_model(tmp_path / "mfcc", Mfcc())
    for short in (Frozen(weights=pretrained, length=8000), Frozen(weights=str(tmp_path / "mfcc"))):
        features(clip_of(399, tmp_path), Store(tmp_path / "store", short))
    assert len(whole_files(tmp_path / "store")) == 4


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, "features.length is 0; a number of samples"),
        (399, "features.length is 399; this encoder needs at least 400"),
    ],
)
def test_a_length_too_short_for_a_frame_is_refused(length: int, message: str, pretrained: str, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=message):
        features(clip_of(4000, tmp_path), Store(tmp_path, Frozen(weights=pretrained, length=length)))


@torch.no_grad()
def test_an_encoder_and_a_model_made_of_it_hear_the_same_of_a_long_clip(pretrained: str, tmp_path: Path) -> None:
    """A model that was trained on clips of half a second is probed beside the encoder that it began as."""
    around = {"encoder": "hubert", "encoder_settings": {"weights": pretrained}, "normalize": "utterance"}
    save_model(tmp_path / "ours", Waveform(longest=0.5), **around, parts=Parts(pooling="mean"))
    before, after = (Frozen(weights=weights, longest=0.5) for weights in (pretrained, str(tmp_path / "ours")))
    whole = Frozen(weights=pretrained)
    for samples in (4000, 8000, 16_000):
        close(before(noise(samples)), after(noise(samples)))
        close(before(noise(samples)), whole(noise(samples)[:8000]))
    assert np.abs(before(noise(16_000)) - whole(noise(16_000))).max() > 1e-3
    shorter = Frozen(weights=pretrained, longest=0.25)
    assert len({before.identity, whole.identity, shorter.identity}) == 3
    for seconds, message in ((0, "features.longest is 0; a positive number"), (0.02, "this encoder needs 0.025 s")):
        with pytest.raises(SereneError, match=message):
            features(clip_of(4000, tmp_path), Store(tmp_path, Frozen(weights=pretrained, longest=seconds)))


def test_random_crops_of_stored_outputs_are_refused(
    pretrained: str, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    store = Store(tmp_path, Frozen(weights=pretrained, pooled=False))
    with pytest.raises(SereneError, match="random crops, and a frozen encoder's stored outputs are of whole clips"):
        SpeakerStream(made_up_manifest.utterances, store, batch_size=4, crop=0.2)


@pytest.mark.parametrize("model", [{"encoder": "hubert", "weights": "w"}, {"encoder": "tdnn_bilstm"}, {}])
def test_the_store_does_not_serve_an_encoder_that_trains(model: dict[str, str]) -> None:
    rest = {"corpus": {"name": "synthetic"}, "protocol": {"name": "speaker_folds"}, "method": {"name": "baseline"}}
    name = model.get("encoder", "tdnn_bilstm")
    with pytest.raises(
        SereneError, match=f"features.weights stands for the stored outputs .*, and '{name}' makes its own"
    ):
        recipe.check({**rest, "model": model, "features": {"weights": "somewhere"}}, "trains")
    with pytest.raises(SereneError, match=r"features\.weights is missing"):
        recipe.check({**rest, "model": {"encoder": "frozen"}}, "without")


def lose(folder: Path, name: str) -> None:
    (folder / name).unlink()


def edit(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def change(folder: Path, **changes: Any) -> None:
    edit(folder, "config.json", json.dumps(json.loads((folder / "config.json").read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "are neither a folder nor a name on the Hugging Face hub"),
        (lambda folder: lose(folder, "config.json"), "is no model folder: config.json is not there"),
        (lambda folder: lose(folder, "model.safetensors"), "model.safetensors or pytorch_model.bin is not there"),
        (lambda folder: edit(folder, "config.json", "{"), "Cannot read .*config.json: "),
        (lambda folder: edit(folder, "config.json", "[1]"), "Cannot read .*config.json: "),
        (lambda folder: edit(folder, "preprocessor_config.json", "{"), "Cannot read .*preprocessor_config.json: "),
        (lambda folder: change(folder, model_type="whisper"), "Unknown model_type 'whisper'"),
        (lambda folder: change(folder, num_hidden_layers=4), "do not fit the config there: .*layers.3.* is missing"),
        (lambda folder: change(folder, intermediate_size=32), "do not fit the config there: .* has another shape"),
        (lambda folder: edit(folder, "model.safetensors", "no tensors"), "Cannot read the weights in"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(
    spoil: Callable[[Path], None], message: str, pretrained: str, tmp_path: Path
) -> None:
    shutil.copytree(pretrained, tmp_path / "encoder")
    spoil(tmp_path / "encoder")
    with pytest.raises(SereneError, match=message):
        features(clip_of(4000, tmp_path), Store(tmp_path, Frozen(weights=str(tmp_path / "encoder"))))


def test_a_model_of_ours_without_its_front_end_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, Mfcc())
    lose(tmp_path, "preprocessor_config.json")
    with pytest.raises(SereneError, match=r"Cannot read .*preprocessor_config\.json: "):
        Store(tmp_path, Frozen(weights=str(tmp_path)))
