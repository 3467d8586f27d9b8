"""Export to transformers: AutoModelForAudioClassification gives the model's own logits, or the export says why not."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.export import to_transformers
from serene.export.to_transformers import export_transformers
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.task import Dimensions, Task

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
CONFIGS = {
    f"{family}-{size}": {"model_type": family, **SMALL, **extra}
    for family in ("hubert", "wav2vec2", "wavlm")
    for size, extra in (("base", {}), ("large", LARGE))
}
CONFIGS["hubert-positions-normed"] = CONFIGS["hubert-base"] | {"conv_pos_batch_norm": True}
CLASSES = {"hubert": "Hubert", "wav2vec2": "Wav2Vec2", "wavlm": "WavLM"}
EMOTIONS = ("anger", "happiness", "neutral", "sadness")
LENGTHS = (400, 5_000, 12_345, 30_000)
WHOLE: dict[str, Any] = {}
CUT, SUM, CUT_SUM = {"layers": 2}, {"output": "weighted_sum"}, {"layers": 2, "output": "weighted_sum"}
ENCODERS = [(config, WHOLE) for config in CONFIGS]
ENCODERS += [(config, settings) for config in ("hubert-base", "wavlm-base") for settings in (CUT, SUM)]
ENCODERS += [(config, settings) for config in ("hubert-large", "wavlm-large") for settings in (CUT, SUM, CUT_SUM)]
ENCODERS += [("wav2vec2-large", SUM)]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """Plain transformers warns of its own ways."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask", UserWarning)  # WavLM
        yield


def model_of(config: dict[str, Any] | None = None, *, parts: Parts | None = None, **settings: Any) -> EmotionModel:
    """Make a model without a parameter at a value that hides it."""
    own = {key: settings.pop(key) for key in ("normalize", "dimensions", "emotions", "speakers") if key in settings}
    torch.manual_seed(0)
    model = EmotionModel(
        (Dimensions if own.pop("dimensions", False) else Task)(tuple(own.pop("emotions", EMOTIONS))),
        1,
        encoder="hubert",
        encoder_settings={"config": config or CONFIGS["hubert-base"], **settings},
        parts=parts or Parts(pooling="mean", hidden=(), head="linear"),
        **({"normalize": "utterance"} | own),
    )
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point() and ("norm" in name or name.endswith(("bias", "layer_weights", "lora_B"))):
                tensor.add_(torch.rand_like(tensor))
            elif "lora_" in name or name.startswith("target_"):
                tensor.add_(1 + torch.rand_like(tensor))
    return model.eval()


def saved(model: EmotionModel, folder: Path, **front_end: Any) -> Path:
    model.save(folder, {"front_end": "waveform", **front_end})
    return folder


def sound(samples: int, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(samples).standard_normal(samples).astype(np.float32)


@torch.no_grad()
def ours(model: EmotionModel, *clips: np.ndarray) -> torch.Tensor:
    inputs = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(clip)[:, None] for clip in clips], batch_first=True)
    lengths = torch.tensor([len(clip) for clip in clips])
    return model(Batch(inputs, lengths, ids=("",) * len(clips)))


def theirs(folder: Path) -> Callable[..., torch.Tensor]:
    """Load an export as anybody would who does not know this project."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    model: Any = transformers.AutoModelForAudioClassification.from_pretrained(folder)

    @torch.no_grad()
    def logits(*clips: np.ndarray, **settings: Any) -> torch.Tensor:
        more = {"padding": True} if len(clips) > 1 else {}
        return model(**extractor(list(clips), sampling_rate=16_000, return_tensors="pt", **more, **settings)).logits

    return logits


def assert_alike(model: EmotionModel, folder: Path, lengths: tuple[int, ...] = LENGTHS) -> None:
    """Compare clips of several lengths, and make sure that they can be told apart."""
    expected = torch.cat([ours(model, sound(length)) for length in lengths])
    plain = theirs(folder)
    found = torch.cat([plain(sound(length)) for length in lengths])
    assert expected.std(dim=0).min() > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize(("config", "settings"), ENCODERS, ids=str)
def test_plain_transformers_gives_the_same_logits(config: str, settings: dict[str, Any], tmp_path: Path) -> None:
    model = model_of(CONFIGS[config], **settings)
    likeness = export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    assert_alike(model, tmp_path / "stock")
    assert likeness.architecture == CLASSES[config.partition("-")[0]] + "ForSequenceClassification"
    assert len(set(likeness.seconds)) >= 3


@pytest.mark.parametrize("hidden", [(5,), (7, 5), (40,)], ids=str)
def test_linear_layers_before_the_mean_or_behind_it_are_the_same(hidden: tuple[int, ...], tmp_path: Path) -> None:
    model = model_of(parts=Parts(pooling="mean", hidden=hidden, head="linear"))
    export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    assert_alike(model, tmp_path / "stock")
    kept = load_file(tmp_path / "stock" / "model.safetensors")
    assert tuple(kept["projector.weight"].shape) == (hidden[-1], 32)
    torch.testing.assert_close(kept["classifier.weight"], model.head.classify.weight.detach(), rtol=0, atol=0)


def test_a_head_without_hidden_layers_gets_the_identity(tmp_path: Path) -> None:
    model = model_of(parts=Parts(pooling="mean", hidden=()))  # the kind of what is not there does not matter
    export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    kept = load_file(tmp_path / "stock" / "model.safetensors")
    assert torch.equal(kept["projector.weight"], torch.eye(32))
    assert not kept["projector.bias"].any()


def test_what_adapters_learnt_goes_into_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    model = model_of(CONFIGS["wavlm-large"], train="lora", lora_rank=2, layers=2)
    export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    assert_alike(model, tmp_path / "stock")
    assert not [key for key in load_file(tmp_path / "stock" / "model.safetensors") if "lora" in key or "base" in key]


def test_dimensions_come_on_their_native_scales(tmp_path: Path) -> None:
    model = model_of(dimensions=True, emotions=("arousal", "valence"))
    export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    assert_alike(model, tmp_path / "stock")
    assert json.loads((tmp_path / "stock" / "config.json").read_text())["problem_type"] == "regression"


@pytest.mark.parametrize(
    ("front_end", "normalize"), [({}, "none"), ({"scale": "peak"}, "utterance"), ({"longest": 3.0}, "utterance")]
)
def test_front_ends_that_have_their_like(front_end: dict[str, Any], normalize: str, tmp_path: Path) -> None:
    model = model_of(normalize=normalize)
    likeness = export_transformers(saved(model, tmp_path / "model", **front_end), tmp_path / "stock")
    assert_alike(model, tmp_path / "stock")
    kept = json.loads((tmp_path / "stock" / "preprocessor_config.json").read_text())
    assert kept["do_normalize"] == (normalize == "utterance")
    assert (likeness.quiet is None) == (normalize == "none")
    assert any("max_length=48000" in note for note in likeness.notes) == ("longest" in front_end)


def test_a_cut_clip_is_what_the_extractor_cuts_by_the_note(tmp_path: Path) -> None:
    model = model_of(CONFIGS["hubert-large"])
    export_transformers(saved(model, tmp_path / "model", longest=1.0), tmp_path / "stock")
    whole, plain = sound(30_000), theirs(tmp_path / "stock")
    found = plain(whole, truncation=True, max_length=16_000)
    torch.testing.assert_close(found, ours(model, whole[:16_000]), rtol=0, atol=1e-4)
    assert (plain(whole) - found).abs().max() > 1e-3


def test_labels_and_files(tmp_path: Path) -> None:
    folder = saved(model_of(), tmp_path / "model")
    (folder / "README.md").write_text("---\nlicense: mit\nlibrary_name: serene\n---\n# Anna's model\n")
    export_transformers(folder, tmp_path / "stock")
    found = {path.name for path in (tmp_path / "stock").iterdir()}
    assert found == {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    config = json.loads((tmp_path / "stock" / "config.json").read_text())
    assert config["architectures"] == ["HubertForSequenceClassification"]
    assert config["id2label"] == {str(index): name for index, name in enumerate(EMOTIONS)}
    card = (tmp_path / "stock" / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\nlibrary_name: transformers\n---\n# Anna's model\n")
    assert "serene" not in card.partition("# Anna")[0]


@pytest.mark.parametrize("carded", [True, False])
@pytest.mark.parametrize("dimensions", [True, False])
def test_the_card_is_true_of_the_export(carded: bool, dimensions: bool, tmp_path: Path, capsys: Any) -> None:
    """What it says of loading is run as it stands; what was measured is kept; of serene's own ways nothing is left."""
    names = ("arousal", "valence") if dimensions else EMOTIONS
    model = model_of(dimensions=dimensions, emotions=names)
    model.temperature = 1.0 if dimensions else 1.7
    folder = saved(model, tmp_path / "model")
    if carded:
        own = (
            "# Anna's model",
            "## How to load it",
            "serene.Recognizer.load",
            "## Figures",
            "UA 61.3 %",
            "## ONNX",
            "near",
        )
        (folder / "README.md").write_text("\n\n".join(own))
    export_transformers(folder, tmp_path / "stock")
    card = (tmp_path / "stock" / "README.md").read_text()
    assert card.count("## How to load it\n") == 1
    assert ("Recognizer" in card, "## ONNX" in card) == (False, False)
    assert ("UA 61.3 %" in card, "is not recorded with it" in card) == (carded, not carded)
    assert "one clip at a time" in card
    if not carded:
        data = huggingface_hub.ModelCard(card).data
        assert (data.library_name, data.to_dict()["pipeline_tag"]) == ("transformers", "audio-classification")
    soundfile.write(tmp_path / "a.wav", sound(9_000), 16_000, subtype="FLOAT")
    shown = card.partition("```python\n")[2].partition("```")[0]
    exec(shown.replace("FOLDER", str(tmp_path / "stock")).replace("a.wav", str(tmp_path / "a.wav")), {})
    found = ast.literal_eval(capsys.readouterr().out)
    logits = ours(model, sound(9_000))[0]
    expected = logits if dimensions else (logits / 1.7).softmax(-1)
    assert list(found) == list(names)
    assert list(found.values()) == pytest.approx(expected.tolist(), abs=1e-4)


def test_embeddings_that_profiles_standardise_are_those_of_an_unseen_speaker(tmp_path: Path) -> None:
    model = model_of(parts=Parts(pooling="mean", hidden=(), head="linear", embedding_norm="speaker"))
    assert model.embedding_norm is not None and model.embedding_norm.running_var is not None
    with torch.no_grad():
        model.embedding_norm.running_var.add_(torch.rand(32))
    likeness = export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    assert_alike(model, tmp_path / "stock")
    assert "transformers has no profiles" in likeness.lines()[-1]


def test_the_pipeline_gives_every_class_its_softmax(tmp_path: Path) -> None:
    model = model_of()
    export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    pipe: Any = transformers.pipeline("audio-classification", model=str(tmp_path / "stock"), device="cpu")
    scores = {row["label"]: row["score"] for row in pipe({"raw": sound(9_000), "sampling_rate": 16_000}, top_k=None)}
    expected = ours(model, sound(9_000))[0].softmax(-1).tolist()
    assert [scores[name] for name in EMOTIONS] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("settings", [CUT, SUM, CUT_SUM], ids=str)
def test_the_layer_that_is_added_counts_nothing(settings: dict[str, Any], tmp_path: Path) -> None:
    """Whatever a version of transformers makes of the last layer's output, such as norming it, changes no logit."""
    model = model_of(CONFIGS["hubert-large"], **settings)
    likeness = export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    stock: Any = transformers.AutoModelForAudioClassification.from_pretrained(tmp_path / "stock")
    layers = stock.hubert.encoder.layers
    assert len(layers) == len(model.encoder.transformer.encoder.layers) + 1
    assert all(not parameter.any() for parameter in layers[-1].parameters())
    assert stock.layer_weights.softmax(-1)[-1] == 0
    assert any("zeros" in note for note in likeness.notes)
    inputs = torch.randn(1, 8_000)
    with torch.no_grad():
        before = stock(inputs).logits
        layers[-1].final_layer_norm.weight.add_(3)
        layers[-1].feed_forward.output_dense.bias.add_(3)
        assert torch.equal(stock(inputs).logits, before)
        layers[-2].feed_forward.output_dense.bias.add_(3)
        assert not torch.equal(stock(inputs).logits, before)


def test_no_layer_is_added_where_none_is_needed(tmp_path: Path) -> None:
    for name, settings in (("hubert-large", {}), ("hubert-base", {"layers": 2}), ("wavlm-base", SUM)):
        model = model_of(CONFIGS[name], **settings)
        likeness = export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
        kept = json.loads((tmp_path / "stock" / "config.json").read_text())
        assert kept["num_hidden_layers"] == len(model.encoder.transformer.encoder.layers)
        assert not any("zeros" in note for note in likeness.notes)


def test_in_a_batch_layer_norm_models_are_exact_and_group_norm_models_nearer_for_the_mask(tmp_path: Path) -> None:
    clips = sound(6_000), sound(20_000)
    wrong = {}
    for name in ("hubert-large", "hubert-base"):
        model = model_of(CONFIGS[name])
        likeness = export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
        assert any("one clip at a time" in note for note in likeness.notes) == (name == "hubert-base")
        plain, expected = theirs(tmp_path / "stock"), ours(model, *clips)
        found = [plain(*clips), plain(*clips, return_attention_mask=False)]
        wrong[name] = [(logits - expected)[0].abs().max().item() for logits in found]
    assert wrong["hubert-large"][0] < 1e-4
    assert 1e-4 < wrong["hubert-base"][0] < wrong["hubert-base"][1]


def test_what_the_extractor_adds_to_the_variance_is_measured(tmp_path: Path) -> None:
    """By hand: the variance of -50 dB is 1e-5, so that transformers' samples come out smaller by a factor of 1.005."""
    model = model_of(CONFIGS["hubert-large"])
    likeness = export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    assert likeness.quiet is not None and likeness.quiet > 10 * max(likeness.differences)
    assert any(f"{likeness.quiet:.1e}" in line and "1e-7" in line for line in likeness.lines())
    extractor: Any = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "stock")
    made = extractor(sound(9_000, 10 ** (-50 / 20)), sampling_rate=16_000).input_values[0]
    assert made.std() == pytest.approx(1 / 1.01**0.5, rel=2e-3)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"parts": Parts(pooling="statistics", hidden=())}, "Its pooling is statistics; transformers takes the mean"),
    ({"parts": Parts(pooling="first_frame", hidden=())}, "Its pooling is first_frame"),
    ({"parts": Parts(pooling="mean", hidden=(), projector="gate")}, r"Its projector \(gate\) is not linear"),
    ({"parts": Parts(pooling="mean", hidden=(5,), head="relu")}, r"hidden layers of its head \(relu\) are not linear"),
    ({"parts": Parts(pooling="mean", hidden=(5,))}, r"\(relu_norm_dropout\) are not linear"),
    (
        {"parts": Parts(pooling="mean", hidden=(), speaker_embedding="last"), "speakers": ("a", "b")},
        r"It is told who speaks \(model.speaker_embedding: last\)",
    ),
    ({"normalize": "training_set"}, "standardises sound by the training set; transformers does so by the clip"),
    ({"normalize": "speaker"}, "standardises sound by the speaker"),
]


@pytest.mark.parametrize(("settings", "reason"), REFUSED, ids=[reason[:30] for _, reason in REFUSED])
def test_a_model_without_its_like_says_why(settings: dict[str, Any], reason: str, tmp_path: Path) -> None:
    folder = saved(model_of(**settings), tmp_path / "model")
    with pytest.raises(SereneError, match=f"does not become a model of plain transformers. .*{reason}"):
        export_transformers(folder, tmp_path / "stock")
    assert not (tmp_path / "stock").exists()


@pytest.mark.parametrize(
    ("front_end", "reason"),
    [({"longest": 1.0, "fill": "mean"}, "It fills short clips up"), ({"scale": "peak"}, "divides clips by their peak")],
)
def test_a_front_end_without_its_like_says_why(front_end: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=reason):
        export_transformers(saved(model_of(normalize="none"), tmp_path / "model", **front_end), tmp_path / "stock")


def test_every_reason_is_given_at_once(tmp_path: Path) -> None:
    EmotionModel(EMOTIONS, 39).eval().save(tmp_path / "model", {"front_end": "mfcc"})
    with pytest.raises(SereneError) as error:
        export_transformers(tmp_path / "model", tmp_path / "stock")
    for reason in ("Its encoder is tdnn_bilstm", "Its pooling is statistics", "not linear", "by the training set"):
        assert reason in str(error.value)


def test_what_comes_out_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disturbed(model: EmotionModel) -> Any:
        stock = real(model)
        with torch.no_grad():
            stock.classifier.bias[0] += 1e-2
        return stock

    real = to_transformers.stock_model
    monkeypatch.setattr(to_transformers, "stock_model", disturbed)
    folder = saved(model_of(), tmp_path / "model")
    with pytest.raises(SereneError, match=r"Not written, since .* differ by 1\.0e-02 at most"):
        export_transformers(folder, tmp_path / "stock")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_only_an_export_is_replaced(tmp_path: Path) -> None:
    folder = saved(model_of(), tmp_path / "model")
    export_transformers(folder, tmp_path / "stock")
    export_transformers(folder, tmp_path / "stock")
    (tmp_path / "empty").mkdir()
    export_transformers(folder, tmp_path / "empty")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "anna.txt").write_text("Dear Anna")
    for other in (folder, tmp_path / "letters", tmp_path / "letters" / "anna.txt"):
        with pytest.raises(SereneError, match="holds something else than an earlier export"):
            export_transformers(folder, other)
    assert (tmp_path / "letters" / "anna.txt").read_text() == "Dear Anna"


def test_what_is_said_of_temperature_and_of_the_comparison(tmp_path: Path) -> None:
    model = model_of()
    model.temperature = 1.7
    likeness = export_transformers(saved(model, tmp_path / "model"), tmp_path / "stock")
    assert_alike(model, tmp_path / "stock")  # the logits are not divided
    assert any("softmax(logits / 1.7)" in line for line in likeness.lines())
    assert likeness.lines()[0].startswith("HubertForSequenceClassification: logits of clips of 0.025, 0.5, 1.3, 3.1, ")
    assert json.loads(json.dumps(likeness.to_dict()))["seconds"] == [0.025, 0.5, 1.3, 3.1, 6.2]
