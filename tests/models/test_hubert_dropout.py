"""Dropout on the attention output and nowhere else: which modules drop, what is dropped where, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from serene.errors import SereneError
from serene.experiment import recipe
from serene.models import pretrained
from serene.models.hubert import Hubert
from serene.models.model import EmotionModel

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
OWN = {"hidden_dropout": 0.11, "attention_dropout": 0.12, "activation_dropout": 0.13, "feat_proj_dropout": 0.14}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
CONFIGS = {
    f"{family}-{size}": {"model_type": family, **SMALL, **OWN, **extra}
    for family in pretrained.FAMILIES
    for size, extra in (("base", {}), ("large", LARGE))
}
P = 0.4


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(CONFIGS[request.param])


def encode(encoder: Hubert, samples: int = 16_000) -> Tensor:
    """Four clips of noise through the encoder: (4, frame, 32)."""
    values = torch.randn(4, samples, 1, generator=torch.Generator().manual_seed(0))
    return encoder(values, torch.ones(values.shape[:2], dtype=torch.bool))


def dropped(encoder: Hubert) -> dict[str, float]:
    """Every probability that the encoder drops by, above 0, of modules and of attentions that call a function."""
    found = {}
    for name, module in encoder.transformer.named_modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            found[name] = module.p
        elif isinstance(getattr(module, "dropout", None), float) and module.dropout > 0:
            found[f"{name} (weights)"] = module.dropout
    return found


def test_only_the_attention_outputs_are_dropped(config: dict[str, Any]) -> None:
    assert dropped(Hubert(1, config=config, attention_output_dropout=P)) == {
        f"encoder.layers.{n}.dropout": P for n in range(3)
    }
    assert dropped(Hubert(1, config=config, attention_output_dropout=0.0)) == {}
    cut = Hubert(1, config=config, attention_output_dropout=P, layers=2)
    assert sorted(dropped(cut)) == ["encoder.layers.0.dropout", "encoder.layers.1.dropout"]


def test_without_the_setting_the_config_says_what_is_dropped(config: dict[str, Any]) -> None:
    found = dropped(Hubert(1, config=config))
    assert found.pop("feature_projection.dropout") == 0.14
    assert found.pop("encoder.dropout") == 0.11
    for n in range(3):
        layer = f"encoder.layers.{n}"
        own = [found.pop(f"{layer}.{part}") for part in ("dropout", "attention (weights)")]
        inner = [found.pop(f"{layer}.feed_forward.{part}_dropout") for part in ("intermediate", "output")]
        assert (own, inner) == ([0.11, 0.12], [0.13, 0.11])
    assert found == {}


@torch.no_grad()
def test_nothing_else_is_random_in_training(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    encoder = Hubert(1, config=config, attention_output_dropout=P)
    at_rest = encode(encoder.eval(), 4000)
    encoder.train()
    assert not torch.allclose(encode(encoder, 4000), at_rest, atol=1e-3)
    for layer in encoder.transformer.encoder.layers:
        layer.dropout.p = 0.0
    torch.testing.assert_close(encode(encoder, 4000), at_rest, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_share_of_the_attention_is_dropped_before_it_is_added_to_what_went_in(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    encoder = Hubert(1, config=config, attention_output_dropout=P).train()
    layer, seen = encoder.transformer.encoder.layers[1], {}
    after = layer.final_layer_norm if encoder.pre_norm else layer.layer_norm  # what reads the sum

    def first(values: Any) -> Tensor:
        return values[0] if isinstance(values, tuple) else values

    layer.register_forward_pre_hook(lambda _, inputs: seen.update(into=first(inputs)))
    layer.attention.register_forward_hook(lambda _module, _inputs, output: seen.update(attention=first(output)))
    layer.dropout.register_forward_hook(lambda _module, inputs, output: seen.update(given=inputs[0], kept=output))
    after.register_forward_pre_hook(lambda _, inputs: seen.update(sum=inputs[0]))
    encode(encoder)
    assert torch.equal(seen["given"], seen["attention"])
    zeros = seen["kept"] == 0
    deviation = (P * (1 - P) / zeros.numel()) ** 0.5
    assert zeros.float().mean().item() == pytest.approx(P, abs=5 * deviation)
    torch.testing.assert_close(seen["kept"][~zeros], (seen["given"] / (1 - P))[~zeros])
    torch.testing.assert_close(seen["sum"], seen["into"] + seen["kept"])


@torch.no_grad()
def test_weights_of_a_folder_score_the_same_with_it(config: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    family = pretrained.FAMILIES[config["model_type"]]
    family(family.config_class(**{k: v for k, v in config.items() if k != "model_type"})).save_pretrained(tmp_path)
    plain, dropping = Hubert(1, weights=str(tmp_path)), Hubert(1, weights=str(tmp_path), attention_output_dropout=P)
    assert set(dropped(dropping).values()) == {P} != set(dropped(plain).values())
    assert torch.equal(encode(plain.eval(), 4000), encode(dropping.eval(), 4000))


def test_adapters_do_not_bring_another_dropout(config: dict[str, Any]) -> None:
    pytest.importorskip("peft")
    assert len(dropped(Hubert(1, config=config, train="lora", attention_output_dropout=P))) == 3


@pytest.mark.parametrize("probability", [None, P])
def test_a_model_folder_keeps_it(probability: float | None, tmp_path: Path) -> None:
    config = CONFIGS["wavlm-large"]
    encoder = Hubert(1, config=config, attention_output_dropout=probability)
    described = json.loads(json.dumps(encoder.rebuilt))
    again = Hubert(1, **described)
    assert (described["attention_output_dropout"], again.rebuilt) == (probability, encoder.rebuilt)
    assert dropped(again) == dropped(encoder)
    settings = {"config": config, "attention_output_dropout": probability}
    model = EmotionModel(("a", "b"), 1, encoder="hubert", encoder_settings=settings, normalize="utterance")
    model.save(tmp_path / "model", {"front_end": "waveform"})
    assert dropped(EmotionModel.load(tmp_path / "model").encoder) == dropped(encoder)


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_what_is_no_probability_is_refused(probability: float) -> None:
    with pytest.raises(SereneError) as caught:
        Hubert(1, config=CONFIGS["hubert-base"], attention_output_dropout=probability)
    assert str(caught.value) == (
        f"model.attention_output_dropout is {probability}; a probability below 1 was expected."
    )


def test_a_recipe_sets_it() -> None:
    model = {"encoder": "hubert", "config": {"model_type": "hubert"}, "attention_output_dropout": "0.4"}
    tree = {"corpus": {"name": "emodb"}, "protocol": {"name": "speaker_folds"}, "method": {"name": "baseline"}}
    assert recipe.check({**tree, "model": model}, "kang").model.encoder["attention_output_dropout"] == 0.4
    del model["attention_output_dropout"]
    assert recipe.check({**tree, "model": model}, "kang").model.encoder["attention_output_dropout"] is None
