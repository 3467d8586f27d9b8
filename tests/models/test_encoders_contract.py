"""What holds for every encoder under every normalisation: a clip's score is its own, and a saved model is the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from serene import registry
from serene.audio import FRONT_ENDS
from serene.audio.batch import Batch
from serene.audio.log_mel import LogMel
from serene.audio.mel_prosody import MelProsody
from serene.audio.mfcc import Mfcc
from serene.audio.waveform import Waveform
from serene.errors import SereneError
from serene.models import ENCODERS
from serene.models.heads import cross_entropy
from serene.models.masking import Dropout, mask_of
from serene.models.model import EmotionModel, Normalization
from serene.speaker import SpeakerContext, Statistics

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
NORMALIZATIONS = get_args(Normalization)


@dataclass(frozen=True)
class Small:
    """An encoder for these tests: small, and dropping nothing but by our own layers.

    Attributes:
        width: features per frame, where the front end does not say without settings of its own.
        settings: of the encoder.
        frames: what a length of these tests is multiplied by; each has at least that many frames going in.
    """

    width: int
    settings: dict[str, Any] = field(default_factory=dict)
    frames: int = 1


HUBERT = {
    "model_type": "hubert",
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48},
    **{"conv_dim": [32] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2},
    **dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0),
    "initializer_range": 0.3,  # large, so that the layers differ from their input
}
WHISPER = {
    "model_type": "whisper",
    **{"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48},
    **{"init_std": 0.3, "vocab_size": 8, "decoder_layers": 1, "max_source_positions": 20},
}
SMALL = {
    "tdnn_bilstm": Small(39),
    "residual_tdnn": Small(68, {"hidden_features": 0, "hidden_frames": 0}),
    "hubert": Small(1, {"config": HUBERT}, frames=400),
    "whisper": Small(80, {"config": WHISPER}),
    "frozen": Small(24),
    "bundled": Small(24),
}
LENGTHS = (1, 30, 7, 58, 21)


def lengths_of(encoder: str, lengths: Iterable[int] = LENGTHS) -> tuple[int, ...]:
    return tuple(SMALL[encoder].frames * length for length in lengths)


def new_model(encoder: str, **settings: Any) -> EmotionModel:
    torch.manual_seed(0)
    small = SMALL[encoder]
    return EmotionModel(EMOTIONS, small.width, encoder=encoder, encoder_settings=small.settings, **settings)


def test_every_encoder_is_tried_with_the_width_that_its_front_end_gives() -> None:
    assert SMALL.keys() >= ENCODERS.keys(), "give the new encoder small settings"
    front_ends = {"mfcc": Mfcc(), "mel_prosody": MelProsody(), "log_mel": LogMel(), "waveform": Waveform()}
    widths = {name: front_end.spec.width for name, front_end in front_ends.items()}
    for encoder in ENCODERS:
        front_end = registry.load(encoder, ENCODERS, "encoder").front_end
        assert front_end in FRONT_ENDS
        assert widths.get(front_end, 24) == SMALL[encoder].width


def pick(batch: Batch, *clips: int) -> Batch:
    """Keep some clips, in this order, padded no further than the longest of them needs."""
    rows, longest = list(clips), int(batch.lengths[list(clips)].max())
    some = replace(batch.mapped(lambda tensor: tensor[rows]), ids=tuple(batch.ids[i] for i in rows))
    return replace(some, inputs=some.inputs[:, :longest])


def padded(batch: Batch, frames: int, value: float) -> Batch:
    """Add frames at the end, and write a value into all padding."""
    wider = torch.nn.functional.pad(batch.inputs, (0, 0, 0, frames))
    sound = mask_of(batch.lengths, wider.shape[1])
    return replace(batch, inputs=wider.masked_fill(~sound.unsqueeze(-1), value))


@pytest.fixture(params=[(e, n) for e in ENCODERS for n in NORMALIZATIONS], ids=lambda pair: "-".join(pair))
def model(request: pytest.FixtureRequest, awake) -> EmotionModel:
    encoder, normalize = request.param
    made = new_model(encoder, normalize=normalize)
    scale = np.linspace(0.5, 20, SMALL[encoder].width, dtype=np.float32)
    made.set_feature_statistics(Statistics(np.stack([0.8 * scale, 1.3 * scale]), 1))
    return awake(made, lengths_of(encoder, range(20, 60, 3)))


@pytest.fixture
def batch(model: EmotionModel, batch_of) -> Batch:
    return batch_of(*lengths_of(model.config["encoder"]), width=model.config["width"])


@torch.no_grad()
def test_batch_mates_and_padding_change_no_score(model: EmotionModel, batch: Batch) -> None:
    together = model(batch)
    assert together.shape == (5, 4)
    assert together.std(dim=0).min() > 0.01, "the clips do differ"
    alone = torch.cat([model(pick(batch, clip)) for clip in range(5)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    more = 40 * SMALL[model.config["encoder"]].frames
    torch.testing.assert_close(model(padded(batch, more, 1e3)), together, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_order_of_a_batch_changes_no_score(model: EmotionModel, batch: Batch) -> None:
    order = (3, 0, 4, 2, 1)
    torch.testing.assert_close(model(pick(batch, *order)), model(batch)[list(order)], rtol=0, atol=1e-6)


def test_training_is_finite_and_padding_changes_no_batch_statistics(model: EmotionModel, batch: Batch) -> None:
    """Gradients reach every layer, and with dropout off a wider batch learns the same."""
    model.train()
    loss = cross_entropy(model(batch), batch.target)
    loss.backward()
    assert math.isfinite(loss.item())
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name
    for layer in model.modules():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    with torch.no_grad():
        more = 40 * SMALL[model.config["encoder"]].frames
        torch.testing.assert_close(model(padded(batch, more, 1e3)), model(batch), rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_saved_model_gives_the_same_scores(model: EmotionModel, batch: Batch, tmp_path: Path) -> None:
    model.save(tmp_path / "model", {"front_end": model.encoder.front_end})
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == ["config.json", "model.safetensors", "preprocessor_config.json"], "nothing is pickled"
    loaded = EmotionModel.load(tmp_path / "model")
    assert not loaded.training
    assert (loaded.task.names, loaded.config) == (model.task.names, model.config)
    assert torch.equal(loaded(batch), model(batch))


@torch.no_grad()
def test_the_seams_compose_to_the_scores(model: EmotionModel, batch: Batch) -> None:
    features = model.features(batch)
    frames = model.context(features)
    assert torch.equal(frames.mask, model.encoder.mask_after(features.mask))
    assert frames.values.shape == (*frames.mask.shape, model.encoder.out_width)
    assert frames.mask.any(dim=1).all(), "a clip that is long enough has a frame"
    embedding = model.pool(model.project(frames))
    assert torch.equal(embedding, model.embed(batch))
    assert torch.equal(model.classify(model.hidden(embedding)), model(batch))


@torch.no_grad()
def test_features_are_standardised_as_asked_and_padding_stays_zero(model: EmotionModel, batch: Batch) -> None:
    features = model.features(batch)
    width = model.config["width"]
    scale = [0.5 + 19.5 * f / max(1, width - 1) for f in range(width)]
    for clip, length in enumerate(batch.lengths.tolist()):
        for f in {0, width // 2, width - 1}:
            own = batch.inputs[clip, :length, f].tolist()
            mean = sum(own) / length
            deviation = max(math.sqrt(sum((v - mean) ** 2 for v in own) / length), 1e-5)
            shift, divisor = {
                "none": (0.0, 1.0),
                "training_set": (0.8 * scale[f], 1.3 * scale[f]),
                "speaker": batch.context.features.moments[clip, :, f].tolist(),
                "utterance": (mean, deviation),
            }[model.normalize]
            expected = [(v - shift) / divisor for v in own]
            torch.testing.assert_close(features.values[clip, :length, f], torch.tensor(expected), rtol=0, atol=1e-4)
        assert not features.values[clip, length:].any()


@pytest.mark.parametrize("encoder", ENCODERS)
@torch.no_grad()
def test_the_configuration_builds_the_same_network_without_any_other_file(encoder: str) -> None:
    model = new_model(encoder)
    settings = json.loads(json.dumps(model.config["encoder_settings"]))
    again = EmotionModel(EMOTIONS, SMALL[encoder].width, encoder=encoder, encoder_settings=settings)
    assert again.config == model.config
    ours, theirs = ({name: value.shape for name, value in m.state_dict().items()} for m in (again, model))
    assert ours == theirs


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_clip_too_short_for_the_encoder_is_refused_by_name(encoder: str, batch_of) -> None:
    model = new_model(encoder).eval()
    shortest, width = model.encoder.shortest, SMALL[encoder].width
    assert model(batch_of(shortest, 3 * shortest, width=width)).isfinite().all()
    if shortest > 1:
        with pytest.raises(SereneError) as caught:
            model(batch_of(3 * shortest, shortest - 1, 2 * shortest, width=width))
        assert str(caught.value) == (
            f"The clip 'clip1' has {shortest - 1} samples; this encoder needs at least {shortest}. "
            "Leave it out of the manifest."
        )


@pytest.mark.parametrize(
    ("normalize", "prior", "needed"),
    [
        ("training_set", 0.0, True),
        ("utterance", 0.0, False),
        ("speaker", 0.0, False),
        ("speaker", 10.0, True),
        ("none", 0.0, False),
    ],
)
def test_a_model_says_whether_it_needs_the_training_sets_statistics(
    normalize: Normalization, prior: float, needed: bool, batch_of
) -> None:
    model, batch = EmotionModel(EMOTIONS, 39, normalize=normalize, enrolment_prior=prior), batch_of(6, 4)
    assert model.needs_feature_statistics == needed
    before = model.features(batch).values
    model.set_feature_statistics(Statistics(np.full((2, 39), 3, dtype=np.float32), 1))
    assert (model.feature_mean[0].item(), model.feature_deviation[0].item()) == (3.0, 3.0)
    assert torch.equal(model.features(batch).values, before) != needed


@pytest.mark.parametrize("prior", [0.0, 25.0, 1e9])
def test_a_speakers_statistics_are_blended_with_the_training_sets_by_their_frames(prior: float, batch_of) -> None:
    """`n / (n + prior)` of the speaker's own mean and variance, the rest of the training set's."""
    model = EmotionModel(EMOTIONS, 39, normalize="speaker", enrolment_prior=prior)
    statistics = np.stack([np.linspace(-3, 5, 39), np.linspace(2, 7, 39)]).astype(np.float32)
    model.set_feature_statistics(Statistics(statistics, 1))
    batch = batch_of(6, 4, 5)
    features = model.features(batch).values
    for clip, frames in enumerate((50, 100, 150)):
        assert batch.context.features.count[clip] == frames
        own = frames / (frames + prior)
        for f in (0, 20, 38):
            mean, deviation = batch.context.features.moments[clip, :, f].tolist()
            shift = own * mean + (1 - own) * float(statistics[0, f])
            divisor = math.sqrt(own * deviation**2 + (1 - own) * float(statistics[1, f]) ** 2)
            expected = [(v - shift) / divisor for v in batch.inputs[clip, :4, f].tolist()]
            assert features[clip, :4, f].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("told", [None, SpeakerContext(identity=torch.tensor([-1, -1]))])
def test_a_speaker_normalised_model_says_what_it_needs(told: SpeakerContext | None, batch_of) -> None:
    model = EmotionModel(EMOTIONS, 39, normalize="speaker")
    with pytest.raises(SereneError, match="This model needs some of the speaker's clips, for their features; no label"):
        model(replace(batch_of(5, 6), context=told))
