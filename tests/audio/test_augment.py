"""Waveforms are changed in training alone, as often and as far as is said; and filled and scaled, where asked for."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from serene import sound
from serene.audio import augment
from serene.audio.augment import Augment, Copy
from serene.audio.changes import gain, level, polarity_inversion
from serene.audio.dataset import Dataset, frames_of, samples_of
from serene.audio.mfcc import Mfcc
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Manifest
from serene.errors import MissingExtra, SereneError
from serene.experiment import recipe
from serene.models.masking import mask_of
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.scoring import score
from serene.task import Task

SAMPLES = np.random.default_rng(9).uniform(-0.5, 0.5, 3000).astype(np.float32)
KANG = {"gain": 0.3, "polarity_inversion": 0.9}  # of the released code, which changes 0.8 of the clips at all


def draws(count: int, change: Any) -> list[np.ndarray]:
    """Change the samples with so many generators."""
    return [change(SAMPLES, np.random.default_rng(seed)) for seed in range(count)]


# --- the changes


def test_the_gain_is_uniform_within_ten_decibels() -> None:
    before = SAMPLES.copy()
    decibels = []
    for louder in draws(2000, gain):
        ratio = float(louder[0] / SAMPLES[0])
        assert louder.dtype == np.float32
        np.testing.assert_allclose(louder, ratio * SAMPLES, rtol=1e-5)
        decibels.append(20 * math.log10(ratio))
    assert -10 <= min(decibels) < -9.8
    assert 9.8 < max(decibels) <= 10
    for edge in (-5, 0, 5):
        assert sum(value < edge for value in decibels) / 2000 == pytest.approx((edge + 10) / 20, abs=0.045)
    assert np.array_equal(SAMPLES, before), "the clip itself is not changed"


def test_polarity_inversion_turns_samples_upside_down() -> None:
    assert np.array_equal(polarity_inversion(SAMPLES, np.random.default_rng(0)), -SAMPLES)


def test_each_change_has_a_probability_of_its_own_and_all_have_one_together() -> None:
    many, of = 4000, {"untouched": 0.2, "gain": 0.8 * 0.3, "polarity": 0.8 * 0.9, "both": 0.8 * 0.3 * 0.9}
    of["untouched"] += 0.8 * 0.7 * 0.1  # chosen, and neither change was
    found = dict.fromkeys(of, 0)
    for changed in draws(many, Augment(KANG, 0.8)):
        louder, turned = abs(changed[0]) != abs(SAMPLES[0]), changed[0] * SAMPLES[0] < 0
        for name, there in (("gain", louder), ("polarity", turned), ("both", louder and turned)):
            found[name] += bool(there)
        found["untouched"] += np.array_equal(changed, SAMPLES)
    for name, chance in of.items():
        deviation = math.sqrt(chance * (1 - chance) / many)
        assert found[name] / many == pytest.approx(chance, abs=4 * deviation), name


def test_probabilities_of_one_and_none_are_certain() -> None:
    assert all(np.array_equal(changed, -SAMPLES) for changed in draws(50, Augment({"polarity_inversion": 1.0}, 1.0)))
    for never in (Augment({"polarity_inversion": 0.0}, 1.0), Augment({"polarity_inversion": 1.0}, 0.0)):
        assert all(np.array_equal(changed, SAMPLES) for changed in draws(50, never))


def test_the_generator_is_the_only_source_of_randomness() -> None:
    change = Augment(KANG, 0.8)
    first = draws(40, change)
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    assert all(np.array_equal(a, b) for a, b in zip(first, draws(40, change), strict=True))


def test_changes_follow_one_another_in_the_order_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(augment.CHANGES, "plus_one", lambda samples, _: samples + 1)
    rng = np.random.default_rng(0)
    assert np.array_equal(Augment({"plus_one": 1.0, "polarity_inversion": 1.0}, 1.0)(SAMPLES, rng), -(SAMPLES + 1))
    assert np.array_equal(Augment({"polarity_inversion": 1.0, "plus_one": 1.0}, 1.0)(SAMPLES, rng), 1 - SAMPLES)


@pytest.mark.parametrize(
    ("changes", "probability", "said"),
    [
        ({"gain": 1.2}, 1.0, "features.augment.gain is 1.2; a probability from 0 to 1 was expected."),
        ({"gain": math.nan}, 1.0, "features.augment.gain is nan; a probability from 0 to 1 was expected."),
        ({"gain": 0.3}, -0.5, "features.augment_probability is -0.5; a probability from 0 to 1 was expected."),
        (
            {"gian": 0.3},
            1.0,
            "Unknown change of waveforms 'gian'. Did you mean 'gain'? Choices: clipping_distortion, gain, ",
        ),
    ],
)
def test_what_is_no_change_or_no_probability(changes: dict[str, float], probability: float, said: str) -> None:
    with pytest.raises(SereneError) as caught:
        Augment(changes, probability)
    assert said in str(caught.value)


# --- audiomentations

PAPER = {  # Kang et al. 2023, section 3.2: what is no change of its own there is their random combination
    *("gaussian_noise", "clipping_distortion", "gain", "gain_transition", "polarity_inversion"),
    *("tanh_distortion", "time_mask", "time_stretch", "pitch_shift"),
}


@pytest.mark.parametrize("name", ["os:system", "os:PathLike", "json:JSONDecoder"])
def test_what_is_no_change_is_refused_before_it_is_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.system", lambda *given, **named: pytest.fail("it was called"))
    with pytest.raises(SereneError, match=f"'{name}' is no change of waveforms"):
        Augment({name: 0.5}, 1.0)


def test_all_nine_changes_have_the_papers_names() -> None:
    assert {"gain", "polarity_inversion", *augment.AUDIOMENTATIONS} == PAPER


class Noise:
    """What a transform of audiomentations is to us: it draws from the global generators, and may change the length."""

    longer = 0

    def __init__(self, p: float) -> None:
        assert p == 1.0

    def __call__(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        assert (sample_rate, samples.flags["C_CONTIGUOUS"]) == (16_000, True)
        noise = np.random.standard_normal(len(samples) + self.longer) + random.random()
        return noise.astype(np.float64)


def test_a_transform_of_audiomentations_is_drawn_by_our_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "audiomentations", SimpleNamespace(TimeStretch=Noise))
    change = Augment({"time_stretch": 1.0}, 1.0)
    first = draws(5, change)
    random.seed(11)
    np.random.seed(11)
    assert all(np.array_equal(a, b) for a, b in zip(first, draws(5, change), strict=True))
    assert len({float(changed[0]) for changed in first}) == 5
    assert all((changed.shape, changed.dtype) == (SAMPLES.shape, np.float32) for changed in first)
    change(SAMPLES[::2], np.random.default_rng(0))


def test_what_became_longer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "audiomentations", SimpleNamespace(TimeStretch=Noise))
    monkeypatch.setattr(Noise, "longer", 50)
    assert all(len(changed) == 3000 for changed in draws(3, Augment({"time_stretch": 1.0}, 1.0)))


def test_without_audiomentations_its_changes_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "audiomentations", None)
    for name in sorted(PAPER - {"gain", "polarity_inversion"}):
        with pytest.raises(MissingExtra, match=r"audiomentations is not installed.*'serene-ser\[augment\]'"):
            Augment({name: 0.5}, 1.0)
    Augment(KANG, 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(augment.AUDIOMENTATIONS))
def test_the_real_ones_change_sound_repeatably_and_keep_its_length(name: str) -> None:
    pytest.importorskip("audiomentations", reason="the extra `augment` is not installed")
    change = Augment({name: 1.0}, 1.0)
    first = draws(4, change)
    assert all(np.array_equal(a, b) for a, b in zip(first, draws(4, change), strict=True))
    assert all((changed.shape, changed.dtype) == (SAMPLES.shape, np.float32) for changed in first)
    assert all(np.isfinite(changed).all() and not np.array_equal(changed, SAMPLES) for changed in first)
    assert not np.array_equal(first[0], first[1])


# --- in training, and nowhere else


def dataset(manifest: Manifest, folder: Path, changes: dict[str, float] | None = None, **settings: Any) -> Dataset:
    emotions = sorted({str(u.emotion) for u in manifest})
    change = None if changes is None else Augment(changes, 1.0)
    store = Store(folder, Waveform(**settings))
    return Dataset(manifest.utterances[:6], store, task=Task(tuple(emotions)), speakers=(), augment=change)


def test_a_batch_is_changed_only_where_a_generator_is_given(made_up_manifest: Manifest, tmp_path: Path) -> None:
    plain = dataset(made_up_manifest, tmp_path)
    turned = dataset(made_up_manifest, tmp_path, {"polarity_inversion": 1.0})
    rows, rng = [3, 0, 5], np.random.default_rng(0)
    assert torch.equal(turned.batch(rows, rng).inputs, -plain.batch(rows).inputs)
    assert torch.equal(turned.batch(rows).inputs, plain.batch(rows).inputs)
    assert torch.equal(plain.batch(rows, rng).inputs, plain.batch(rows).inputs)
    for ours, theirs in zip(turned.in_order(4), plain.in_order(4), strict=True):
        assert torch.equal(ours.inputs, theirs.inputs)


def test_every_clip_of_a_batch_is_changed_on_its_own_and_repeatably(made_up_manifest: Manifest, tmp_path: Path) -> None:
    plain = dataset(made_up_manifest, tmp_path).batch(range(6))  # pyright: ignore[reportArgumentType]
    louder = dataset(made_up_manifest, tmp_path, {"gain": 1.0})
    first, again, other = (louder.batch(np.arange(6), np.random.default_rng(seed)).inputs for seed in (0, 0, 1))
    ratios = (first.abs().amax(dim=(1, 2)) / plain.inputs.abs().amax(dim=(1, 2))).tolist()
    assert len({round(ratio, 4) for ratio in ratios}) == 6
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_copies_are_made_once_and_drawn_beside_the_clip(made_up_manifest: Manifest, tmp_path: Path) -> None:
    kept = Mfcc()
    given: Any = {"front_end": kept, "changes": {"level": 1.0}, "probability": 1.0}
    copies = [Store(tmp_path, Copy(**given, number=number)) for number in (1, 2)]
    assert len({store.folder for store in (*copies, Store(tmp_path, kept))}) == 3
    others: Any = [{"probability": 0.5}, {"changes": {"level": 0.5}}, {"front_end": Mfcc(deltas=0)}]
    assert len({Copy(**given | other, number=1).identity for other in ({}, *others)}) == 4
    clips = dataset(made_up_manifest, tmp_path)
    clips.store, clips.copies = Store(tmp_path, kept), copies
    samples = samples_of(made_up_manifest.utterances[0])
    rngs = [np.random.default_rng([number, int(sound.content_hash(samples), 16)]) for number in (1, 2)]
    assert all(rng.random(2).max() < 1 for rng in rngs)  # whether at all, and whether this change
    expected = [kept(samples), *(kept(level(samples, rng)) for rng in rngs)]
    drawn = [clips.batch([0], np.random.default_rng(seed)).inputs[0].numpy() for seed in range(30)]
    counts = [sum(np.array_equal(one, other) for one in drawn) for other in expected]
    assert sum(counts) == 30
    assert min(counts) > 3
    assert np.array_equal(clips.batch([0]).inputs[0].numpy(), expected[0])
    assert len(copies[0].shards.names()) == 1, "only what was asked for"


def test_copies_without_changes_and_changes_of_stored_features_are_told(tmp_path: Path) -> None:
    head = "corpus: {name: emodb}\nprotocol: {name: speaker_folds}\nmethod: {name: baseline}\n"
    (tmp_path / "r.yaml").write_text(head)
    with pytest.raises(
        SereneError, match=r"features\.augment_copies is 2; a number of copies was expected, and changes"
    ):
        recipe.load(str(tmp_path / "r.yaml"), ["features.augment_copies=2"])
    with pytest.raises(SereneError, match=r"set features\.augment_copies to how many changed copies"):
        recipe.load(str(tmp_path / "r.yaml"), ["features.augment={level: 1}"])
    made = recipe.load(str(tmp_path / "r.yaml"), ["features.augment={level: 1}", "features.augment_copies=2"])
    assert made.reaches_below is None or "augment" not in made.reaches_below


def test_scores_are_of_the_clips_as_they_are(made_up_manifest: Manifest, tmp_path: Path) -> None:
    config = {"model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"intermediate_size": 16, "conv_dim": [16] * 7}
    torch.manual_seed(0)
    emotions = sorted({str(u.emotion) for u in made_up_manifest})
    around = {"normalize": "none", "parts": Parts(pooling="mean")}
    model = EmotionModel(emotions, 1, encoder="hubert", encoder_settings={"config": config}, **around).eval()
    plain, turned = (dataset(made_up_manifest, tmp_path, changes) for changes in (None, {"polarity_inversion": 1.0}))
    ours, theirs = score(model, turned, batch_size=3), score(model, plain, batch_size=3)
    assert np.array_equal(ours.outputs, theirs.outputs)
    assert np.array_equal(ours.embeddings, theirs.embeddings)
    with torch.no_grad():
        answer = model(turned.batch([0], np.random.default_rng(0)))
        assert not torch.allclose(answer, model(turned.batch([0])), atol=1e-5), "or nothing had been shown"


def checked(**sections: Any) -> recipe.Recipe:
    tree = {"corpus": {"name": "emodb"}, "protocol": {"name": "speaker_folds"}, "method": {"name": "baseline"}}
    return recipe.check({**tree, **sections}, "augmented")


def test_a_recipe_names_changes_and_probabilities() -> None:
    hubert = {"encoder": "hubert", "config": {"model_type": "hubert"}}
    features = {"augment": {"gain": "0.3", "pitch_shift": "0.1"}, "augment_probability": "0.8", "fill": "mean"}
    found = checked(model=hubert, features=features | {"longest": "6.25", "scale": "peak"})
    assert found.features.augment == {"gain": 0.3, "pitch_shift": 0.1}
    assert found.features.augment_probability == 0.8
    assert found.front_end.settings == {"longest": 6.25, "fill": "mean", "scale": "peak"}
    plain = checked(model=hubert)
    assert (plain.features.augment, plain.features.augment_probability) == ({}, 1.0)
    assert plain.front_end.settings == {"longest": None, "fill": "none", "scale": "none"}
    assert plain.identity("") != found.identity("")


@pytest.mark.parametrize("encoder", ["tdnn_bilstm", "frozen"])
def test_features_that_are_stored_cannot_be_changed(encoder: str) -> None:
    features = {"augment": {"gain": 0.3}} | ({"weights": "w"} if encoder == "frozen" else {})
    with pytest.raises(SereneError) as caught:
        checked(model={"encoder": encoder}, features=features)
    assert str(caught.value) == (
        f"features.augment changes waveforms anew in every epoch, and the features of '{encoder}' are computed once "
        "and stored: set features.augment_copies to how many changed copies of each clip are, choose an encoder that "
        "reads waveforms, or drop it."
    )


# --- filling and scaling


def framed(samples: Sequence[float], **settings: Any) -> list[float]:
    frames = Waveform(**settings)(np.array(samples, dtype=np.float32))
    assert (frames.shape[1], frames.dtype) == (1, np.float32)
    return frames[:, 0].tolist()


def test_clips_are_filled_with_their_own_mean() -> None:
    six = 6 / sound.SAMPLE_RATE
    assert framed([1, 2, 6], longest=six, fill="mean") == [1, 2, 6, 3, 3, 3]
    assert framed([1, 2, 6], longest=six) == [1, 2, 6]
    longer = [1, 2, 6, 1, 1, 1, 500]
    assert framed(longer, longest=six, fill="mean") == longer[:6]
    three = 3 / sound.SAMPLE_RATE
    assert framed([5, 1, 600], longest=2 / sound.SAMPLE_RATE, fill="mean") == [5, 1]
    assert framed([5, 1], longest=three, fill="mean") == [5, 1, 3], "the mean is of what is read"


def test_clips_are_divided_by_their_largest_magnitude() -> None:
    assert framed([0.1, -0.4, 0.2], scale="peak") == pytest.approx([0.25, -1.0, 0.5])
    assert framed([0.1, -0.4, 0.2], scale="none") == pytest.approx([0.1, -0.4, 0.2])
    assert framed([0.0, 0.0], scale="peak") == [0.0, 0.0], "silence stays silence"
    two = 2 / sound.SAMPLE_RATE
    assert framed([0.1, 0.2, 0.9], scale="peak", longest=two) == pytest.approx([0.5, 1.0]), "of what is read"


def test_filled_clips_are_scaled_filling_and_all() -> None:
    settings = {"longest": 4 / sound.SAMPLE_RATE, "fill": "mean", "scale": "peak"}
    assert framed([-0.5, -0.1], **settings) == pytest.approx([-1.0, -0.2, -0.6, -0.6])


def test_filling_needs_to_know_how_far() -> None:
    with pytest.raises(SereneError, match=r"features\.fill needs features\.longest: the seconds up to which clips are"):
        Waveform(fill="mean")


def test_lengths_stay_the_clips_own_where_they_are_filled(made_up_manifest: Manifest, tmp_path: Path) -> None:
    longest = 0.55  # some of the clips are longer, some shorter
    own = [len(sound.read(u.audio)) for u in made_up_manifest.utterances[:6]]
    most = round(longest * sound.SAMPLE_RATE)
    assert min(own) < most
    filled = dataset(made_up_manifest, tmp_path, KANG, longest=longest, fill="mean", scale="peak")
    for rng in (None, np.random.default_rng(0)):
        batch = filled.batch(np.arange(6), rng)
        assert batch.lengths.tolist() == [most] * 6
        assert mask_of(batch.lengths, batch.inputs.shape[1]).all()
        assert batch.own_lengths is not None
        assert batch.own_lengths.tolist() == [min(n, most) for n in own] == filled.lengths.tolist()
        peaks = batch.inputs.abs().amax(dim=1).squeeze(1).tolist()
        assert (peaks == pytest.approx([1.0] * 6)) == (rng is None), "gain comes after the peak, and is read"
        shortest = int(np.argmin(own))
        rest = batch.inputs[shortest, own[shortest] :, 0]
        assert rest.std().item() == pytest.approx(0, abs=1e-7)
    plain = dataset(made_up_manifest, tmp_path, longest=longest).batch(np.arange(6))
    assert plain.own_lengths is not None
    assert plain.own_lengths.tolist() == plain.lengths.tolist()


def test_own_lengths_are_counted_where_the_manifest_has_no_duration(made_up_manifest: Manifest, tmp_path: Path) -> None:
    clip = made_up_manifest.utterances[0]
    samples = len(sound.read(clip.audio))
    store = Store(tmp_path, Waveform(longest=2.0, fill="mean"))
    assert frames_of(replace(clip, duration=None), store) == frames_of(clip, store) == samples
    assert frames_of(replace(clip, duration=None), Store(tmp_path, Waveform(longest=0.1))) == 1600
