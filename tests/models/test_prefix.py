"""The frozen part of an encoder is computed once and read from the store, by every training, as what it is."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers

from serene.audio.batch import Batch
from serene.audio.dataset import Dataset, features
from serene.audio.log_mel import LogMel
from serene.audio.speaker_stream import SpeakerStream
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import AudioError
from serene.evaluation.probes import speaker_probe
from serene.experiment import embedding_probes, recipe, trial
from serene.experiment.plan import stored_by
from serene.experiment.train import train
from serene.methods.tu2019 import CrossGradient
from serene.models import prefix
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.prefix import Prefix
from serene.models.scoring import TorchNetwork
from serene.models.speaker_whitening import SpeakerWhitening
from serene.task import Task

EMOTIONS = ("anger", "sadness")
HUBERT: dict[str, Any] = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24},
    **{"conv_dim": [16] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2},
    "initializer_range": 0.3,
}
WHISPER: dict[str, Any] = {
    **{"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "vocab_size": 8},
    **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16, "init_std": 0.3, "pad_token_id": 0},
    **{"bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0},
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FAMILIES = {
    "hubert": lambda: transformers.HubertModel(transformers.HubertConfig(**HUBERT)),
    "hubert-large": lambda: transformers.HubertModel(transformers.HubertConfig(**HUBERT, **LARGE)),
    "wavlm": lambda: transformers.WavLMModel(transformers.WavLMConfig(**HUBERT)),
    "whisper": lambda: transformers.WhisperModel(transformers.WhisperConfig(**WHISPER)),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Save an encoder of each family with random weights: family -> folder."""
    folder = tmp_path_factory.mktemp("weights")
    for name, make in FAMILIES.items():
        torch.manual_seed(0)
        model = make()
        model.save_pretrained(folder / name)
    return lambda family: str(folder / family)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Make clips of four speakers, of differing length."""
    folder, made = tmp_path_factory.mktemp("clips"), []
    for number in range(16):
        samples = 0.1 * np.random.default_rng(number).standard_normal(4_000 + 511 * number)
        path = folder / f"{number}.wav"
        soundfile.write(path, samples, 16_000)
        emotion, speaker = EMOTIONS[number % 2], f"s{number // 4}"
        made.append(Utterance(id=str(number), audio=str(path), speaker=speaker, emotion=emotion, corpus="made"))
    from serene.corpora.prepare import hashed

    return list(hashed(Manifest(tuple(made)), lambda done, of: None))


def frozen(family: str, folder: str, **settings: Any) -> Prefix:
    whisper = family == "whisper"
    front_end: Any = LogMel() if whisper else Waveform()
    encoder, normalize = ("whisper", "none") if whisper else ("hubert", "utterance")
    return Prefix(front_end=front_end, encoder=encoder, settings={"weights": folder, **settings}, normalize=normalize)


def model_of(part: Prefix, **around: Any) -> EmotionModel:
    torch.manual_seed(0)
    given: Any = {"encoder": part.encoder, "encoder_settings": part.settings, "normalize": part.normalize}
    return EmotionModel(Task(EMOTIONS), part.front_end.spec.width, parts=Parts(**around), **given).eval()


def dataset(part: Any, clips: list[Utterance], folder: Path) -> Dataset:
    return Dataset(clips, Store(folder, part), task=Task(EMOTIONS), speakers=("s0", "s1", "s2", "s3"))


SETTINGS = [{"train": "none"}, {"train": 1}, {"train": "transformer"}, {"train": 1, "output": "weighted_sum"}]
SETTINGS += [{"train": "none", "output": "weighted_sum"}, {"train": "none", "layers": 1}]


@torch.no_grad()
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_gives_the_same_from_the_stored_part(
    family: str, settings: Any, weights: Any, clips: list[Utterance], tmp_path: Path
) -> None:
    part = frozen(family, weights(family), **settings)
    model, stored = model_of(part), dataset(part, clips, tmp_path).batch(range(6))
    whole = dataset(part.front_end, clips, tmp_path).batch(range(6))
    assert stored.encoded and not whole.encoded
    assert stored.inputs.shape[2] == part.spec.width == model.encoder.prefix_width
    torch.testing.assert_close(stored.lengths, model.frames_after(whole).sum(dim=1))
    expected = model.embed(whole)  # float16 keeps 11 binary digits
    torch.testing.assert_close(model.embed(stored), expected, rtol=0, atol=3e-3 * float(expected.abs().max()))


def test_it_is_computed_once_as_float16(weights: Any, clips: list[Utterance], tmp_path: Path, monkeypatch: Any) -> None:
    part = frozen("whisper", weights("whisper"), train=1)
    dataset(part, clips[:2], tmp_path).batch([0, 1])
    stored, again = Store(tmp_path, part).shards, frozen("whisper", weights("whisper"), train=1)
    array = stored.get(stored.names()[0])
    assert array is not None and array.dtype == np.float16
    monkeypatch.setattr(Prefix, "__call__", lambda *_: pytest.fail("the stored array was there"))
    dataset(again, clips[:2], tmp_path).batch([0, 1])


def test_a_clip_beyond_the_filling_is_named(weights: Any, clips: list[Utterance], tmp_path: Path) -> None:
    settings = {"weights": weights("whisper"), "train": 1}
    part = Prefix(front_end=LogMel(pad=0.25), encoder="whisper", settings=settings, normalize="none")
    with pytest.raises(AudioError, match=r"1\.wav: The clip has 0\.3 s, and features\.pad fills clips up to 0\.25 s"):
        dataset(part, clips[1:2], tmp_path).batch([0])


def test_what_decides_the_outputs_decides_where_they_lie(weights: Any, tmp_path: Path) -> None:
    whisper = weights("whisper")
    base = frozen("whisper", whisper, train=1)
    same = [{"train": "none", "layers": 1}, {"train": 1, "checkpointing": True}]
    others = [{"train": "none"}, {"train": "transformer"}, {"train": "none", "layers": 1, "output": "weighted_sum"}]
    assert all(frozen("whisper", whisper, **settings).identity == base.identity for settings in same)
    identities = [frozen("whisper", whisper, **settings).identity for settings in others]
    filled = Prefix(front_end=LogMel(pad=30), encoder="whisper", settings=base.settings, normalize="none")
    torch.manual_seed(1)
    FAMILIES["whisper"]().save_pretrained(tmp_path)
    identities += [filled.identity, frozen("whisper", str(tmp_path), train=1).identity, base.identity]
    assert len(set(identities)) == len(identities)
    hubert = frozen("hubert", weights("hubert"), train="transformer")
    shorter = Prefix(front_end=Waveform(longest=1.0), encoder="hubert", settings=hubert.settings, normalize="utterance")
    plain = Prefix(front_end=Waveform(), encoder="hubert", settings=hubert.settings, normalize="none")
    assert len({part.identity for part in (hubert, shorter, plain)}) == 3


def test_the_speaker_corpus_is_read_from_the_same_store(weights: Any, clips: list[Utterance], tmp_path: Path) -> None:
    part = frozen("whisper", weights("whisper"), train=1)
    assert part.spec.rate == 50
    stream = SpeakerStream(clips, Store(tmp_path, part), batch_size=4, crop=0.1)
    batch = stream.batch(np.random.default_rng(0))
    assert batch.encoded
    assert batch.lengths.tolist() == [5] * 4
    store, whole = Store(tmp_path, part), {clip.id: clip for clip in clips}
    for row, name in zip(batch.inputs.numpy(), batch.ids, strict=True):  # a part of the frames of the whole clip
        frames = features(whole[name], store).astype(np.float32)
        assert any((frames[start : start + 5] == row).all() for start in range(len(frames) - 4))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_whitening_is_by_the_speakers_of_the_corpus_that_is_named(
    weights: Any, clips: list[Utterance], tmp_path: Path, elsewhere: bool
) -> None:
    part = frozen("whisper", weights("whisper"), train="none")
    train, model = dataset(part, clips, tmp_path), model_of(part, speaker_whitening=3.0)
    stream = SpeakerStream(clips, Store(tmp_path, part), batch_size=4, crop=0.1)
    plain = model_of(part)
    embedded = np.concatenate([TorchNetwork(plain)(batch)[1] for batch in train.in_order(4)])
    moments = embedded.mean(axis=0), embedded.std(axis=0)
    assert model.whitening is not None
    within = trial.estimate(model.whitening, model, train, stream if elsewhere else None)
    np.testing.assert_allclose(model.whitening.mean, moments[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.whitening.deviation, moments[1], rtol=0, atol=1e-5)
    by_hand = SpeakerWhitening(len(moments[0]))
    rng = np.random.default_rng(0)
    batches = [stream.batch(rng) for _ in range(len(clips) // 4 + 1)] if elsewhere else [*train.in_order(4)]
    clip = np.concatenate([TorchNetwork(plain)(batch)[1] for batch in batches])
    speakers = [str(i) for batch in batches for i in batch.speaker.tolist()]
    emotions = {u.id: str(u.emotion) for u in clips}
    labels = ["" if elsewhere else emotions[i] for batch in batches for i in batch.ids]
    by_hand.estimate((clip - moments[0]) / moments[1], speakers, labels, 3.0)
    np.testing.assert_allclose(model.whitening.matrix, by_hand.matrix, rtol=0, atol=1e-4)
    assert (model.whitening.matrix - torch.eye(len(moments[0]))).abs().max() > 0.05
    assert (within is None) == elsewhere
    if within:  # training speakers are probed as whitened by one half of the rows alone
        rows, first = np.array([0, 1, 2, 3, 5]), np.array([True, False, True, True, True])
        halved = SpeakerWhitening(len(moments[0]))
        own, standard = rows[first], (clip - moments[0]) / moments[1]
        halved.estimate(standard[own], [speakers[i] for i in own], [labels[i] for i in own], 3.0)
        expected = standard[rows].astype(np.float32) @ halved.matrix.numpy()
        np.testing.assert_allclose(within(rows, first), expected, rtol=0, atol=1e-4)


def test_a_perturbation_moves_what_the_frozen_part_gives(weights: Any, clips: list[Utterance], tmp_path: Path) -> None:
    part = frozen("whisper", weights("whisper"), train=1)
    model, method = model_of(part).train(), CrossGradient()
    method.attach(model, 4)
    for read in (part, part.front_end):  # stored, and computed anew
        terms = method.loss(model, dataset(read, clips, tmp_path).batch(range(8)), 0.0)
        assert sum(terms.values()).isfinite()  # pyright: ignore
        assert 0.05 < method.measures["perturbation"] < 0.15


RECIPE = """
corpus: {name: made, path: MANIFEST}
protocol: {name: leave_one_speaker_out, run: [s0]}
model: {encoder: whisper, weights: WEIGHTS, train: 1, hidden: []}
method: {name: baseline}
training: {epochs: 1, batch_size: 4}
"""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ([], None),
        (["method.name=cross_gradient"], None),
        (["features.crop=0.2"], "features.crop"),
        (["features.normalize=training_set"], "features.normalize: training_set"),
        (["method.name=label_adaptive_mixup"], "the method label_adaptive_mixup"),
        (["method.name=label_adaptive_mixup", "method.mixup=none"], None),
        (["features.store=false"], "features.store: false"),
    ],
    ids=str,
)
def test_what_reaches_below_is_computed(changed: list[str], reason: str | None, weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE.replace("WEIGHTS", weights("whisper")).replace("name: made", "name: synthetic"))
    made = recipe.load(file, changed)
    assert made.reaches_below == reason
    assert isinstance(stored_by(made), prefix.Prefix) == (reason is None)
    everything = recipe.load(file, [*changed, "model.train=all"])
    assert isinstance(stored_by(everything), LogMel)


def test_the_report_says_what_was_computed(
    weights: Any, made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # probes have tests of their own
    monkeypatch.setattr(embedding_probes, "speaker_probe", partial(speaker_probe, draws=1))
    file = tmp_path / "recipe.yaml"
    corpus = "{name: synthetic, path: " + str(made_up) + "}"
    text = RECIPE.replace("WEIGHTS", weights("whisper")).replace("{name: made, path: MANIFEST}", corpus)
    file.write_text(text.replace("leave_one_speaker_out, run: [s0]", "speaker_folds, folds: 3, run: [1]"))
    stored = train(recipe.load(file), tmp_path / "runs")
    computed = train(recipe.load(file, ["features.store=false"]), tmp_path / "runs")
    stamps = [json.loads((run.folder / "report.json").read_text())["stamps"] for run in (stored, computed)]
    wanted = "the encoder's frozen part was computed in every epoch, because of features.store: false"
    assert [wanted in own for own in stamps] == [False, True]
    outputs = [run.finished()[0].predictions().scores for run in (stored, computed)]
    np.testing.assert_allclose(*outputs, rtol=0, atol=0.02)


def test_the_whole_model_is_kept(weights: Any, clips: list[Utterance], tmp_path: Path) -> None:
    part = frozen("whisper", weights("whisper"), train=1)
    model = model_of(part)
    model.save(tmp_path / "model", {"front_end": "log_mel"})
    again, inputs = EmotionModel.load(tmp_path / "model"), torch.zeros(1, 20, 80)
    batch = Batch(inputs, torch.tensor([20]), ids=("",))
    torch.testing.assert_close(again(batch), model(batch))
