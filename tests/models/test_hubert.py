"""HuBERT, wav2vec 2.0 and WavLM: what plain transformers computes, but for padding and batch-mates."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
import transformers

from serene.errors import MissingExtra, SereneError
from serene.models import pretrained
from serene.models.encoder import Inside
from serene.models.hubert import Hubert

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "initializer_range": 0.3,  # large, so that the layers differ from their input
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
STILL = dict.fromkeys(
    ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout"), 0.0
)
CONFIGS = {
    f"{family}-{size}": {"model_type": family, **SMALL, **extra}
    for family in pretrained.FAMILIES
    for size, extra in (("base", {}), ("large", LARGE))
}
CONFIGS["hubert-positions-normed"] = CONFIGS["hubert-base"] | {"conv_pos_batch_norm": True}
LENGTHS = (400, 4000, 2345, 719, 3000)


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(CONFIGS[request.param])


def task_model(config: dict[str, Any], task: str, **settings: Any) -> Any:
    """Make a transformers model with random weights, no parameter at a value that hides it."""
    torch.manual_seed(0)
    kind = {"hubert": "Hubert", "wav2vec2": "Wav2Vec2", "wavlm": "WavLM"}[config["model_type"]]
    family = getattr(transformers, kind + task)
    model = family(family.config_class(**{k: v for k, v in config.items() if k != "model_type"}, **settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) / 4)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand_like(buffer) / 4)
    return model


@pytest.fixture
def plain(config: dict[str, Any]) -> Any:
    return task_model(config, "Model")


@pytest.fixture
def folder(plain: Any, tmp_path: Path) -> str:
    plain.save_pretrained(tmp_path / "plain")
    return str(tmp_path / "plain")


def clip(samples: int, seed: int = 0) -> torch.Tensor:
    """One waveform (1, sample, 1) and its mask are what an encoder takes; this is the waveform."""
    return torch.randn(1, samples, 1, generator=torch.Generator().manual_seed(seed))


def alone(encoder: Hubert, values: torch.Tensor) -> torch.Tensor:
    return encoder(values, torch.ones(values.shape[:2], dtype=torch.bool))


def together(encoder: Hubert, clips: list[torch.Tensor], filling: float) -> list[torch.Tensor]:
    """Encode clips as one batch whose padding is filled with anything, and cut each clip's frames out again."""
    longest = max(values.shape[1] for values in clips)
    inputs = torch.full((len(clips), longest, 1), filling)
    mask = torch.zeros(len(clips), longest, dtype=torch.bool)
    for row, values in enumerate(clips):
        inputs[row, : values.shape[1]] = values[0]
        mask[row, : values.shape[1]] = True
    frames, sound = encoder(inputs, mask), encoder.mask_after(mask)
    assert sound.shape == frames.shape[:2]
    return [frames[row][sound[row]] for row in range(len(clips))]


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Compare against the largest value, where that is beyond 1."""
    largest = theirs.abs().max().item()
    assert largest > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * max(1.0, largest))


def states_of(plain: Any, values: torch.Tensor) -> list[torch.Tensor]:
    """Listen to what goes into the layers of a transformers model and comes out: versions differ in what they give."""
    states: list[torch.Tensor] = []
    layers = plain.encoder.layers
    hooks = [layers[0].register_forward_pre_hook(lambda _layer, inputs: states.append(inputs[0]))]
    for layer in layers:
        hooks.append(
            layer.register_forward_hook(
                lambda _layer, _inputs, out: states.append(out[0] if isinstance(out, tuple) else out)
            )
        )
    plain(values.squeeze(-1))
    for hook in hooks:
        hook.remove()
    return states


@torch.no_grad()
def test_a_single_clip_gives_what_transformers_gives(plain: Any, folder: str) -> None:
    encoder = Hubert(1, weights=folder).eval()
    for samples in (400, 4000, 3679):
        close(alone(encoder, clip(samples)), plain(clip(samples).squeeze(-1)).last_hidden_state)
    assert (encoder.out_width, encoder.shortest, encoder.head_width) == (32, 400, 256)
    assert (Hubert.front_end, Hubert.normalize) == ("waveform", "utterance")
    assert encoder.transformer.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("output", ["last", "weighted_sum"])
@torch.no_grad()
def test_padding_and_batch_mates_change_no_frame(folder: str, output: Any, training: bool) -> None:
    encoder = Hubert(1, weights=folder, output=output)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0  # of the attention
    norms = [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    if training and norms:
        pytest.skip("a batch norm has batch statistics while it trains")
    encoder.train(training)
    clips = [clip(samples, seed) for seed, samples in enumerate(LENGTHS)]
    expected = [alone(encoder, values)[0] for values in clips]
    assert [len(frames) for frames in expected] == [1, 12, 7, 1, 9]
    for filling in (0.0, 1e4, float("nan")):
        for ours, own in zip(together(encoder, clips, filling), expected, strict=True):
            close(ours, own)
    longer = [*clips, clip(9000, seed=9)]
    for ours, own in zip(together(encoder, longer, 3.0), expected, strict=False):
        close(ours, own)


def test_plain_transformers_does_depend_on_padding() -> None:
    """The test above would hold of anything if padding had changed nothing in the first place."""
    plain = task_model(CONFIGS["hubert-base"], "Model")
    values = clip(3000).squeeze(-1)
    mask = torch.arange(9000)[None] < 3000
    with torch.no_grad():
        padded = plain(torch.nn.functional.pad(values, (0, 6000)), attention_mask=mask.long()).last_hidden_state
        assert (padded[:, :9] - plain(values).last_hidden_state).abs().max() > 0.05


def test_training_batch_norm_takes_its_statistics_over_sound_alone() -> None:
    config = CONFIGS["hubert-positions-normed"] | STILL
    encoder = Hubert(1, config=config).train()
    clips = [clip(samples, seed) for seed, samples in enumerate(LENGTHS)]
    with torch.no_grad():
        for ours, theirs in zip(together(encoder, clips, 0.0), together(encoder, clips, 1e4), strict=True):
            close(ours, theirs)


def test_frames_are_counted_as_the_convolutions_give_them(config: dict[str, Any]) -> None:
    encoder = Hubert(1, config=config)
    for samples in (400, 719, 720, 1039, 1040, 16000):
        expected = samples
        for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
            expected = len(range(0, expected - kernel + 1, stride))
        mask = torch.zeros(2, 16000, dtype=torch.bool)
        mask[0, :samples] = True
        after = encoder.mask_after(mask)
        assert after.shape == (2, 49)
        assert after[0].tolist() == [True] * expected + [False] * (49 - expected)
        assert not after[1].any()
    assert not encoder.mask_after(torch.arange(16000)[None] < 399).any()


@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_a_cut_encoder_gives_that_layers_output_and_holds_no_others(plain: Any, folder: str, layers: int) -> None:
    encoder = Hubert(1, weights=folder, layers=layers).eval()
    close(alone(encoder, clip(4000)), states_of(plain, clip(4000))[layers])
    assert len(encoder.transformer.encoder.layers) == layers
    assert not any(f"encoder.layers.{layers}." in name for name in encoder.state_dict())


@torch.no_grad()
def test_all_layers_asked_for_are_no_cut(plain: Any, folder: str) -> None:
    encoder = Hubert(1, weights=folder, layers=3).eval()
    close(alone(encoder, clip(4000)), plain(clip(4000).squeeze(-1)).last_hidden_state)


@pytest.mark.parametrize("layers", [0, 4, -1])
def test_a_layer_that_does_not_exist_is_refused(layers: int) -> None:
    with pytest.raises(SereneError, match=rf"model.layers is {layers}, but the encoder has 3 layers; 1 to 3 was"):
        Hubert(1, config=CONFIGS["hubert-base"], layers=layers)


@pytest.mark.parametrize("layers", [None, 2])
def test_the_weighted_sum_starts_even_and_is_learned(plain: Any, folder: str, layers: int | None) -> None:
    encoder = Hubert(1, weights=folder, layers=layers, output="weighted_sum", train="none").eval()
    with torch.no_grad():
        states = states_of(plain, clip(4000))[: (layers or 3) + 1]
        close(alone(encoder, clip(4000)), sum(states) / len(states))
        encoder.layer_weights.copy_(torch.tensor([1.0, -1.0, 0.5, 2.0])[: len(states)])
        shares = [weight.exp() / encoder.layer_weights.exp().sum() for weight in encoder.layer_weights]
        close(alone(encoder, clip(4000)), sum(w * s for w, s in zip(shares, states, strict=True)))
    alone(encoder, clip(4000)).square().sum().backward()
    assert encoder.layer_weights.grad.abs().min() > 0
    assert all(parameter.grad is None for parameter in encoder.transformer.parameters())


@pytest.mark.parametrize("weighted", [False, True], ids=["last", "weighted_sum"])
@torch.no_grad()
def test_the_logits_of_sequence_classification_are_reproduced(
    config: dict[str, Any], weighted: bool, tmp_path: Path
) -> None:
    if weighted and "do_stable_layer_norm" in config and transformers.__version__ < "5":
        pytest.skip("transformers 4 sums the last state as its final layer norm leaves it")
    classifier = task_model(config, "ForSequenceClassification", use_weighted_layer_sum=weighted, num_labels=4)
    classifier.save_pretrained(tmp_path / "task")
    encoder = Hubert(1, weights=str(tmp_path / "task"), output="weighted_sum" if weighted else "last").eval()
    if weighted:
        classifier.layer_weights.copy_(torch.tensor([0.3, -0.4, 1.0, 0.1]))
        encoder.layer_weights.copy_(classifier.layer_weights)
    expected = classifier(clip(4000).squeeze(-1)).logits
    frames = alone(encoder, clip(4000))
    close(classifier.classifier(classifier.projector(frames).mean(dim=1)), expected)


def test_a_task_model_loads_without_a_word(
    config: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = task_model(config, "ForCTC")
    model.save_pretrained(tmp_path / "task")
    capfd.readouterr()
    encoder = Hubert(1, weights=str(tmp_path / "task"), layers=2).eval()
    assert capfd.readouterr() == ("", "")
    theirs = {key: tensor for key, tensor in getattr(model, config["model_type"]).state_dict().items()}
    for key, tensor in encoder.transformer.state_dict().items():
        assert torch.equal(tensor, theirs[key]), key


def test_pickled_weights_load_and_half_precision_becomes_full(plain: Any, folder: str) -> None:
    path = Path(folder)
    (path / "model.safetensors").unlink()
    torch.save({key: tensor.half() for key, tensor in plain.state_dict().items()}, path / "pytorch_model.bin")
    described = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(described | {"dtype": "float16"}))
    encoder = Hubert(1, weights=folder).eval()
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    with torch.no_grad():
        close(alone(encoder, clip(4000)), plain(clip(4000).squeeze(-1)).last_hidden_state, 0.1)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
def test_a_config_names_no_code(tmp_path: Path, key: str) -> None:
    config = {"model_type": "hubert", **SMALL, key: "somebody/kernel", "auto_map": {"AutoModel": "evil.F"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").touch()
    described = pretrained.described(str(tmp_path), None)[0]
    assert described._attn_implementation != "somebody/kernel"
    assert not hasattr(described, "auto_map")


@torch.no_grad()
def test_plain_transformers_reads_what_the_encoder_saves(plain: Any, folder: str, tmp_path: Path) -> None:
    encoder = Hubert(1, weights=folder, train="all").eval()
    for parameter in encoder.parameters():
        parameter.mul_(0.9)
    encoder.transformer.save_pretrained(tmp_path / "saved")
    again = type(plain).from_pretrained(tmp_path / "saved").eval()
    close(alone(encoder, clip(4000)), again(clip(4000).squeeze(-1)).last_hidden_state)


@pytest.mark.parametrize("settings", [{}, {"layers": 2, "output": "weighted_sum", "train": "lora", "lora_rank": 2}])
@torch.no_grad()
def test_an_encoder_is_rebuilt_without_its_weights_file(folder: str, settings: dict[str, Any]) -> None:
    encoder = Hubert(1, weights=folder, **settings).eval()
    shutil.rmtree(folder)
    described = json.loads(json.dumps(encoder.rebuilt))
    assert described["weights"] is None
    assert pydantic.TypeAdapter(pretrained.Config).validate_python(described["config"]) == described["config"]
    again = Hubert(1, **described).eval()
    assert again.rebuilt == encoder.rebuilt
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in encoder.parameters()]
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(alone(again, clip(4000)), alone(encoder, clip(4000)))


def gradients(encoder: Hubert, seed: int = 0) -> dict[str, torch.Tensor]:
    """Take one step back from a batch of two, dropout on."""
    torch.manual_seed(seed)
    encoder.zero_grad()
    frames = together(encoder, [clip(2500, 1), clip(1500, 2)], 0.0)
    sum(((frame * torch.arange(1, 33)) ** 2).mean() for frame in frames).backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("output", ["last", "weighted_sum"])
@pytest.mark.parametrize("train", ["all", "transformer", "lora", "none"])
def test_only_what_is_asked_for_trains(config: dict[str, Any], train: Any, output: Any) -> None:
    if train == "lora":
        pytest.importorskip("peft")
    encoder = Hubert(1, config=config, train=train, output=output).train()
    trainable = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    names = {name for name, _ in encoder.named_parameters()} - {"transformer.masked_spec_embed"}
    if encoder.pre_norm and output == "weighted_sum":
        names -= {"transformer.encoder.layer_norm.weight", "transformer.encoder.layer_norm.bias"}
    convolutions = {name for name in names if ".feature_extractor." in name}
    assert len(convolutions) >= 9
    expected = {
        "all": names,
        "transformer": names - convolutions,
        "lora": {name for name in names if "lora_" in name} | (names & {"layer_weights"}),
        "none": names & {"layer_weights"},
    }[train]
    assert trainable == expected
    assert len([name for name in trainable if "lora_" in name]) == (12 if train == "lora" else 0)
    if trainable:
        assert gradients(encoder).keys() == trainable, "each has a gradient, and nothing else"
    assert encoder.transformer.training == (train != "none")
    assert encoder.training
    assert not encoder.eval().transformer.training


def test_no_graph_is_kept_of_frozen_convolutions(config: dict[str, Any]) -> None:
    def reaches_input(train: Any) -> bool:
        values = clip(2000).requires_grad_()
        frames = alone(Hubert(1, config=config, train=train), values)
        return torch.autograd.grad(frames.sum(), values, allow_unused=True)[0] is not None

    assert reaches_input("all")
    assert not reaches_input("transformer")


def test_adapters_start_as_the_encoder_was_and_then_change_it(folder: str) -> None:
    pytest.importorskip("peft")
    encoder, adapted = Hubert(1, weights=folder).eval(), Hubert(1, weights=folder, train="lora", lora_rank=3).eval()
    with torch.no_grad():
        close(alone(adapted, clip(3000)), alone(encoder, clip(3000)), 1e-6)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name and "v_proj" in name:
                assert parameter.shape == (32, 3)
                parameter.fill_(0.5)
        assert (alone(adapted, clip(3000)) - alone(encoder, clip(3000))).abs().max() > 0.01


def test_adapters_without_peft_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(
        MissingExtra, match=r"peft is not installed\. Install it with: pip install 'serene-ser\[lora\]'"
    ):
        Hubert(1, config=CONFIGS["hubert-base"], train="lora")


@pytest.mark.parametrize("train", ["all", "transformer"])
def test_checkpointing_changes_no_gradient(config: dict[str, Any], train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Hubert(1, config=config, train=train).train()
    leaner = Hubert(1, config=config, train=train, checkpointing=True).train()
    leaner.load_state_dict(kept.state_dict())
    expected = gradients(kept)
    passes: list[None] = []
    leaner.transformer.encoder.layers[1].feed_forward.register_forward_pre_hook(lambda *_: passes.append(None))
    actual = gradients(leaner)
    assert len(passes) == 2, "there and back"
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=1e-5, atol=1e-6)


def test_bf16_stays_near_full_precision(folder: str) -> None:
    encoder = Hubert(1, weights=folder).eval()
    full = alone(encoder, clip(4000))
    with torch.autocast("cpu", torch.bfloat16):
        half = alone(encoder, clip(4000)).float()
    assert not torch.equal(half, full)
    assert torch.nn.functional.cosine_similarity(half.flatten(), full.flatten(), dim=0) > 0.99
    with torch.autocast("cpu", torch.bfloat16):
        alone(encoder.train(), clip(4000)).float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


@pytest.mark.slow
@torch.no_grad()
def test_the_graph_is_exported_for_any_batch_and_length() -> None:
    """The kind that no test of whole models exports: `tests/export` has the others."""
    encoder = Hubert(1, config=CONFIGS["wavlm-base"] | {"num_hidden_layers": 2}).eval()
    values, mask = clip(4000).repeat(2, 1, 1), torch.arange(4000)[None] < torch.tensor([4000, 2345])[:, None]
    batch, sample = torch.export.Dim("batch", min=2), torch.export.Dim("sample", min=800)
    program = torch.export.export(
        encoder, (values, mask), dynamic_shapes=({0: batch, 1: sample}, {0: batch, 1: sample}), strict=False
    )
    values, mask = clip(9000).repeat(3, 1, 1), torch.arange(9000)[None] < torch.tensor([1234, 9000, 5000])[:, None]
    close(program.module()(values, mask), encoder(values, mask))


# --- what is done inside

HIDDEN = torch.tensor([[frame in (0, 3, 4, 11) for frame in range(12)]])
VOICE = torch.linspace(-2, 2, 32)[None]


def inside_of(encoder: Hubert, values: torch.Tensor, **inside: Any) -> torch.Tensor:
    return encoder(values, torch.ones(values.shape[:2], dtype=torch.bool), Inside(**inside))


@torch.no_grad()
def test_nothing_inside_changes_nothing(folder: str) -> None:
    encoder = Hubert(1, weights=folder).eval()
    assert torch.equal(inside_of(encoder, clip(4000)), alone(encoder, clip(4000)))
    nowhere = torch.zeros(1, 12, dtype=torch.bool)
    assert torch.equal(inside_of(encoder, clip(4000), masked=nowhere), alone(encoder, clip(4000)))
    nobody = torch.zeros(1, 32)
    assert torch.equal(inside_of(encoder, clip(4000), first=nobody), alone(encoder, clip(4000)))


@torch.no_grad()
def test_hidden_frames_are_hidden_as_transformers_hides_them(config: dict[str, Any], tmp_path: Path) -> None:
    plain = task_model(config, "Model", apply_spec_augment=True)
    plain.masked_spec_embed.copy_(torch.linspace(-1, 1, 32))
    plain.save_pretrained(tmp_path / "plain")
    encoder = Hubert(1, weights=str(tmp_path / "plain")).eval()
    expected = plain(clip(4000).squeeze(-1), mask_time_indices=HIDDEN).last_hidden_state
    close(inside_of(encoder, clip(4000), masked=HIDDEN), expected)
    assert (expected - alone(encoder, clip(4000))).abs().max() > 0.01


@torch.no_grad()
def test_what_comes_out_of_the_convolutions_is_seen_and_changed(plain: Any, folder: str) -> None:
    encoder = Hubert(1, weights=folder).eval()
    seen: list[torch.Tensor] = []
    changed = inside_of(encoder, clip(4000), convolved=lambda frames: seen.append(frames) or frames + frames.roll(1, 1))
    convolved = plain.feature_extractor(clip(4000).squeeze(-1)).transpose(1, 2)
    close(seen[0], convolved, 1e-5)
    plain.feature_extractor.register_forward_hook(lambda _part, _inputs, frames: frames + frames.roll(1, 2))
    close(changed, plain(clip(4000).squeeze(-1)).last_hidden_state)


@torch.no_grad()
def test_a_vector_is_added_to_what_goes_into_the_first_layer(plain: Any, folder: str) -> None:
    encoder = Hubert(1, weights=folder).eval()
    plain.encoder.layers[0].register_forward_pre_hook(lambda _layer, inputs: (inputs[0] + VOICE[:, None], *inputs[1:]))
    expected = plain(clip(4000).squeeze(-1)).last_hidden_state
    close(inside_of(encoder, clip(4000), first=VOICE), expected)
    assert (expected - alone(encoder, clip(4000))).abs().max() > 0.01


@torch.no_grad()
def test_a_prefix_is_one_more_frame_that_does_not_come_out(plain: Any, folder: str) -> None:
    encoder = Hubert(1, weights=folder).eval()
    plain.encoder.layers[0].register_forward_pre_hook(
        lambda _layer, inputs: (torch.cat([VOICE[:, None], inputs[0]], dim=1), *inputs[1:])
    )
    expected = plain(clip(4000).squeeze(-1)).last_hidden_state
    assert expected.shape == (1, 13, 32)
    close(inside_of(encoder, clip(4000), prefix=VOICE), expected[:, 1:])
    assert (expected[:, 1:] - alone(encoder, clip(4000))).abs().max() > 1e-3


@pytest.mark.parametrize("place", ["masked", "first", "prefix"])
@pytest.mark.parametrize("output", ["last", "weighted_sum"])
@torch.no_grad()
def test_padding_changes_nothing_of_it(folder: str, place: str, output: Any) -> None:
    encoder = Hubert(1, weights=folder, output=output).eval()
    told = {"masked": HIDDEN, "first": VOICE, "prefix": VOICE}[place]
    expected = inside_of(encoder, clip(4000), **{place: told})[0]
    inputs, mask = torch.full((2, 9000, 1), 7.0), torch.arange(9000)[None] < torch.tensor([9000, 4000])[:, None]
    inputs[0], inputs[1, :4000] = clip(9000, 1)[0], clip(4000)[0]
    if place == "masked":
        told = torch.cat([torch.nn.functional.pad(row, (0, 27 - 12)) for row in (~HIDDEN, HIDDEN)])
    else:
        told = torch.cat([-told, told])
    close(encoder(inputs, mask, Inside(**{place: told}))[1, :12], expected)


@pytest.mark.parametrize("place", ["masked", "first", "prefix"])
def test_all_of_it_is_learned(folder: str, place: str) -> None:
    encoder = Hubert(1, weights=folder, train="all", checkpointing=True).train()
    encoder.transformer.masked_spec_embed.requires_grad_(True)
    vector = encoder.transformer.masked_spec_embed if place == "masked" else VOICE.clone().requires_grad_()
    told = HIDDEN if place == "masked" else vector
    inside_of(encoder, clip(4000), **{place: told}).square().mean().backward()
    assert vector.grad is not None and vector.grad.abs().max() > 0


def test_words_of_a_recipe_become_a_configs_values() -> None:
    words = {"hidden_size": "128", "hidden_dropout": "0.1", "conv_bias": "true", "model_type": "wavlm", "eps": "1e-5"}
    values = pydantic.TypeAdapter(pretrained.Config).validate_python({**words, "conv_dim": ["32", "64"], "none": None})
    assert list(values.values()) == [128, 0.1, True, "wavlm", 1e-5, [32, 64], None]
    typed = {"one": 1, "float": 1.0, "true": True, "list": [1], "word": "gelu"}
    kept = pydantic.TypeAdapter(pretrained.Config).validate_python(typed)
    assert [(type(value), value) for value in kept.values()] == [(type(value), value) for value in typed.values()]


def test_zero_dropout_written_as_a_word_builds() -> None:
    words = pydantic.TypeAdapter(pretrained.Config).validate_python({"hidden_dropout": "0.0", "layerdrop": "0"})
    assert Hubert(1, config=CONFIGS["hubert-base"] | words).transformer.config.hidden_dropout == 0


BASE = CONFIGS["hubert-base"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either model.weights .* or model.config .*; none of them were given"),
        ({"weights": "a", "config": {}}, "either model.weights .* or model.config .*; both of them were given"),
        (
            {"config": {"model_type": "bert"}},
            "model.config: Unknown model_type 'bert'.* Choices: hubert, wav2vec2, wavlm",
        ),
        ({"config": {"hiden_size": 32}}, "Unknown setting in model.config 'hiden_size'. Did you mean 'hidden_size'"),
        (
            {"config": BASE | {"hidden_size": "many"}},
            "(?s)no config of transformers: .*hidden_size|cannot build an encoder of model.config: .*str",
        ),
        ({"config": BASE | {"conv_dim": [32] * 3}}, "(?s)model.config is no config of transformers: .*conv"),
        ({"config": BASE | {"hidden_size": 33}}, "transformers cannot build an encoder of model.config: .*divisible"),
        ({"config": BASE | {"hidden_act": "glue"}}, "transformers cannot build an encoder of model.config: .*glue"),
        ({"config": CONFIGS["wavlm-base"] | {"add_adapter": True}}, "model.config has add_adapter"),
        ({"config": BASE, "lora_rank": 0}, "model.lora_rank is 0; at least 1"),
    ],
)
def test_an_encoder_that_is_not_described_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        Hubert(1, **settings)


def test_features_are_no_waveform() -> None:
    with pytest.raises(SereneError, match="reads waveforms, 1 value per sample; 39 per frame were given"):
        Hubert(39, config=BASE)


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    task_model(BASE, "Model").save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def edit_config(folder: Path, **changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | changes))


def spoil_layers(folder: Path) -> None:
    edit_config(folder, num_hidden_layers=4)


def spoil_width(folder: Path) -> None:
    edit_config(folder, intermediate_size=64)


def spoil_family(folder: Path) -> None:
    edit_config(folder, model_type="whisper")


def spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def spoil_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def spoil_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no tensors at all")


def spoil_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"no tensors at all")


def lose_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")


def lose_both(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            spoil_layers,
            r"The weights in .*base do not fit the config there: encoder.layers.3.* is missing; .* and 13 more",
        ),
        (spoil_width, r"do not fit the config there: .*feed_forward.* has another shape"),
        (spoil_family, "config.json: Unknown model_type 'whisper'. Choices: hubert, wav2vec2, wavlm"),
        (spoil_config, "Cannot read .*config.json: "),
        (spoil_list, r"config.json is \[\]; a mapping was expected"),
        (spoil_weights, "Cannot read the weights in .*base: "),
        (
            spoil_pickle,
            "Cannot read the weights in .*base: pytorch_model.bin is damaged or holds more than tensors: save",
        ),
        (lose_weights, "base is no model folder: model.safetensors or pytorch_model.bin is not there"),
        (shard, r"is not there\. Shards \(model.safetensors.index.json\) are not read: save the model as one file"),
        (lose_both, "base is no model folder: config.json and model.safetensors or pytorch_model.bin is"),
    ],
)
def test_a_folder_that_holds_no_encoder_is_refused(base_folder: Path, spoil: Any, message: str) -> None:
    spoil(base_folder)
    with pytest.raises(SereneError, match=message):
        Hubert(1, weights=str(base_folder))


def test_an_encoder_that_is_nowhere_says_what_to_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    started = time.perf_counter()
    with pytest.raises(SereneError) as error:
        Hubert(1, weights="facebook/hubert-base-ls960")
    for wanted in (
        "The weights 'facebook/hubert-base-ls960' are not on this machine",
        "Download config.json, preprocessor_config.json and model.safetensors or pytorch_model.bin from "
        "https://huggingface.co/facebook/hubert-base-ls960 into a folder",
        "weights=FOLDER",
    ):
        assert wanted in str(error.value)
    assert time.perf_counter() - started < 10


def test_what_the_hubs_cache_holds_needs_no_network(
    base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "models--some--encoder" / "refs").mkdir(parents=True)
    (tmp_path / "models--some--encoder" / "refs" / "main").write_text("abc")
    shutil.copytree(base_folder, tmp_path / "models--some--encoder" / "snapshots" / "abc")
    assert Hubert(1, weights="some/encoder").out_width == 32
