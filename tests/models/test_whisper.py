"""Whisper's encoder: transformers' own frames, short clips by its formula, windows, and nothing of padding."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from serene.errors import SereneError
from serene.models import layer_statistics
from serene.models.whisper import Whisper

SMALL: dict[str, Any] = {
    **{"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "vocab_size": 8},
    **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16, "init_std": 0.3, "pad_token_id": 0},
    **{"bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0, "max_source_positions": 30},
}
ENDS = [{}, {"layers": 2}, {"output": "weighted_sum"}, {"layers": 2, "output": "weighted_sum"}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Save a whole checkpoint, decoder and all."""
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**SMALL)).eval()
    with torch.no_grad():  # norms and biases begin at values that hide them
        for name, tensor in model.model.encoder.named_parameters():
            if "norm" in name or name.endswith("bias"):
                tensor.add_(torch.rand_like(tensor))
    model.generation_config = transformers.GenerationConfig()
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    return model, str(folder)


def mels(*lengths: int) -> tuple[Tensor, Tensor]:
    """Make log-mel energies (batch, frame, filter), zero in the padding, and their mask."""
    values = torch.zeros(len(lengths), max(lengths), 80)
    for row, length in enumerate(lengths):
        values[row, :length] = torch.randn(length, 80, generator=torch.Generator().manual_seed(length))
    return values, torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


@torch.no_grad()
def test_a_clip_of_full_length_gives_what_transformers_gives(whole: Any) -> None:
    plain, folder = whole
    values, mask = mels(60)
    frames = Whisper(80, weights=folder).eval()(values, mask)
    expected = plain.model.encoder(values.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(frames, expected, rtol=0, atol=1e-4)
    states = plain.model.encoder(values.transpose(1, 2), output_hidden_states=True).hidden_states
    torch.testing.assert_close(Whisper(80, weights=folder, layers=2).eval()(values, mask), states[2], rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 7, 24])
def test_a_short_clip_is_the_formula_with_positions_cut(whole: Any, length: int) -> None:
    plain, folder = whole
    encoder, (values, mask) = plain.model.encoder, mels(length)
    frames = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(values.transpose(1, 2))))).transpose(1, 2)
    frames = frames + encoder.embed_positions.weight[: frames.shape[1]]
    for layer in encoder.layers:
        made = layer(frames, None) if int(transformers.__version__[0]) > 4 else layer(frames, None, None)
        frames = made[0] if isinstance(made, tuple) else made
    expected = encoder.layer_norm(frames)
    torch.testing.assert_close(Whisper(80, weights=folder).eval()(values, mask), expected, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("settings", ENDS, ids=str)
def test_padding_batch_mates_and_windows_change_no_frame(whole: Any, settings: dict[str, Any]) -> None:
    encoder = Whisper(80, weights=whole[1], **settings).eval()
    lengths = (3, 60, 75, 10, 121)
    frames, sound = (made for made in (encoder(*mels(*lengths)), encoder.mask_after(mels(*lengths)[1])))
    for row, length in enumerate(lengths):
        alone = encoder(*mels(length))[0][encoder.mask_after(mels(length)[1])[0]]
        assert len(alone) == (length + 1) // 2
        torch.testing.assert_close(frames[row, sound[row]], alone, rtol=0, atol=1e-5 * float(alone.abs().max()))
    parts = torch.cat(
        [encoder(part, torch.ones(1, part.shape[1], dtype=torch.bool))[0] for part in mels(75)[0].split(60, 1)]
    )
    torch.testing.assert_close(encoder(*mels(75))[0][: len(parts)], parts, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("settings", ENDS, ids=str)
@pytest.mark.parametrize("train", ["none", "lora", "transformer", 1, 2], ids=str)
def test_the_rest_goes_on_from_the_frozen_part(whole: Any, settings: dict[str, Any], train: Any) -> None:
    if train == "lora":
        pytest.importorskip("peft")
    encoder, (values, mask) = Whisper(80, weights=whole[1], train=train, **settings).eval(), mels(40, 75)
    made = encoder.prefix(values, mask)
    assert made.shape[2] == encoder.prefix_width
    torch.testing.assert_close(encoder.rest(made, encoder.mask_after(mask)), encoder(values, mask), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("train", "expected"), [("all", 4), ("transformer", 3), ("none", 0), (1, 1), (2, 2), (3, 3)])
def test_only_what_is_asked_for_trains(whole: Any, train: Any, expected: int) -> None:
    encoder = Whisper(80, weights=whole[1], train=train)
    names = [name for name, parameter in encoder.transformer.named_parameters() if parameter.requires_grad]
    layers = {name.split(".")[1] for name in names if name.startswith("layers.")}
    assert len(layers) == min(expected, 3)
    assert layers == {str(place) for place in range(3 - len(layers), 3)}
    assert any(name.startswith("conv1") for name in names) == (train == "all")
    assert any(name.startswith("layer_norm") for name in names) == (train != "none")
    assert not any(name.startswith("embed_positions") for name in names)
    encoder.train()
    assert [layer.training for layer in encoder.layers] == [
        train in ("all", "transformer") or str(i) in layers for i in range(3)
    ]


def test_an_encoder_alone_and_half_precision_load(whole: Any, tmp_path: Path) -> None:
    plain, _folder = whole
    plain.model.half().save_pretrained(tmp_path)
    plain.model.float()
    theirs = {name: tensor.half().float() for name, tensor in plain.model.encoder.state_dict().items()}
    for name, tensor in Whisper(80, weights=str(tmp_path)).transformer.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)


def test_other_numbers_of_filters_are_read(tmp_path: Path) -> None:
    config = {"model_type": "whisper", **SMALL, "num_mel_bins": 128}
    assert Whisper.features(config=config) == {"filters": 128}
    assert Whisper(128, config=config).out_width == 32
    with pytest.raises(SereneError, match=r"reads 128 mel filters, and 80 were given: set features\.filters to 128"):
        Whisper(80, config=config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 4}, r"model\.layers is 4, but the encoder has 3 layers; 1 to 3 was expected"),
        ({"train": 4}, r"model\.train is 4, but the encoder has 3 layers; 1 to 3 was expected"),
        ({"layers": 2, "train": 3}, r"model\.train is 3, but the encoder has 2 layers"),
    ],
)
def test_layers_that_do_not_exist_are_refused(whole: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        Whisper(80, weights=whole[1], **settings)


def test_a_file_without_an_encoder_is_refused(whole: Any, tmp_path: Path) -> None:
    plain, folder = whole
    shutil.copy(Path(folder) / "config.json", tmp_path)
    plain.model.decoder.save_pretrained(tmp_path / "decoder")
    shutil.copy(tmp_path / "decoder" / "model.safetensors", tmp_path)
    with pytest.raises(SereneError, match=r"do not fit the config there: conv1\.bias is missing; .* and \d+ more"):
        Whisper(80, weights=str(tmp_path))


def test_another_family_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(SereneError, match=r"model_type 'bert'.*whisper"):
        Whisper(80, weights=str(tmp_path))
    with pytest.raises(SereneError, match=r"model_type 'bert'.*hubert.*whisper"):
        layer_statistics.LayerStatistics(weights=str(tmp_path)).identity  # noqa: B018


@pytest.mark.skipif("SERENE_MODELS" not in os.environ, reason="SERENE_MODELS does not say where pretrained weights lie")
@torch.no_grad()
def test_the_published_weights_give_what_transformers_gives() -> None:
    folder = os.environ["SERENE_MODELS"] + "/whisper-base"
    plain: Any = WhisperEncoder.from_pretrained(folder, key_mapping={r"^model\.encoder\.": ""}, dtype=torch.float32)
    values = torch.from_numpy(np.random.default_rng(0).normal(0, 0.5, (1, 3000, 80)).astype(np.float32))
    frames = Whisper(80, weights=folder).eval()(values, torch.ones(1, 3000, dtype=torch.bool))
    expected = plain.eval()(values.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(frames, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_attention_output_alone_is_dropped() -> None:
    """A share of what each layer's attention gives, the rest made larger; nothing else is random in training."""
    torch.manual_seed(0)
    config = {"model_type": "whisper", **SMALL, "dropout": 0.3, "attention_dropout": 0.2, "activation_dropout": 0.1}
    encoder = Whisper(80, config=config, train="transformer", attention_output_dropout=0.4)
    for layer in encoder.layers:
        assert (layer.dropout, layer.self_attn.dropout, layer.activation_dropout) == (0, 0, 0)
    values, mask = mels(60, 60, 60, 60)
    at_rest = encoder.eval()(values, mask)
    attention, seen = encoder.layers[1].self_attn, {}
    attention.out_proj.register_forward_hook(lambda _module, inputs, output: seen.update(read=inputs[0], kept=output))
    assert not torch.allclose(encoder.train()(values, mask), at_rest, atol=1e-3)
    given = functional.linear(seen["read"], attention.out_proj.weight, attention.out_proj.bias)
    zeros = seen["kept"] == 0
    assert zeros.float().mean().item() == pytest.approx(0.4, abs=5 * (0.4 * 0.6 / zeros.numel()) ** 0.5)
    torch.testing.assert_close(seen["kept"][~zeros], (given / 0.6)[~zeros])
    encoder.layers.apply(lambda module: module.train(False))
    torch.testing.assert_close(encoder(values, mask), at_rest)
    resting = Whisper(80, config=config, train=1, attention_output_dropout=0.4).train()
    assert [layer.training for layer in resting.layers] == [False, False, True]  # layers at rest drop nothing


def test_a_folder_keeps_the_dropout_and_no_probability_is_refused() -> None:
    config = {"model_type": "whisper", **SMALL}
    encoder = Whisper(80, config=config, attention_output_dropout=0.4)
    again = Whisper(80, **json.loads(json.dumps(encoder.rebuilt)))
    assert again.rebuilt == encoder.rebuilt and again.rebuilt["attention_output_dropout"] == 0.4
    with pytest.raises(SereneError, match=r"model.attention_output_dropout is 1.0; a probability below 1 was expected"):
        Whisper(80, config=config, attention_output_dropout=1.0)
