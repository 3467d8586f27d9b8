"""An exported folder is whole and answers as PyTorch does, or nothing is written; what no graph can hold is said."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from small_model import spoken
from tiny_onnx import EMOTIONS, MFCC, WEIGHTS, WIDTH, mean_graph

from serene.audio.batch import Batch
from serene.corpora.manifest import Manifest
from serene.errors import MissingExtra, SereneError
from serene.export import onnx_graph
from serene.export import to_onnx as export
from serene.export.onnx_graph import UnseenSpeakerVector, example, inputs_of
from serene.export.to_onnx import KEPT, export_onnx
from serene.inference.network import graph_inputs
from serene.inference.recognizer import Recognizer
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.speaker_embedding import PersonalVectors
from serene.speaker import Statistics

RATE = 16_000
SOUNDS = [(spoken(0.5 + 0.4 * seed, seed), RATE) for seed in range(5)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that computes what `mean_graph` does: the mean of the features, times the weights."""
    model = EmotionModel(
        EMOTIONS, WIDTH, encoder="frozen", normalize="none", parts=Parts(pooling="mean", hidden=(), head="linear")
    )
    with torch.no_grad():
        model.head.classify.weight.copy_(torch.from_numpy(WEIGHTS.T))
        model.head.classify.bias.zero_()
    model.save(tmp_path / "model", MFCC)
    (tmp_path / "model" / "README.md").write_text("a card")
    return tmp_path / "model"


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the seconds of tracing: the graph is made by hand."""
    monkeypatch.setattr(export, "trace", lambda _, path: onnx.save(mean_graph(), path))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("by_hand")
def test_a_whole_folder_is_written(folder: Path, tmp_path: Path) -> None:
    parity = export_onnx(folder, tmp_path / "out")
    before = {"config.json", "preprocessor_config.json", "model.safetensors", "README.md"}
    assert names(folder) == before
    assert names(tmp_path / "out") == before | {"model.onnx"}
    assert (tmp_path / "out" / "README.md").read_text().startswith("a card\n\n## ONNX\n")
    assert all(f"* {line}\n" in (tmp_path / "out" / "README.md").read_text() for line in parity.lines())
    assert [len(row.lengths) for row in parity.fp32] == [1, 3, 4]
    assert len({max(row.lengths) for row in parity.fp32}) == 3
    assert parity.worst < 1e-5
    assert min(row.cosine for row in parity.fp32) > 0.99999
    assert (parity.int8, parity.labelled) == ((), None)
    assert "model.onnx, batch of 3, up to 77 frames: logits differ from PyTorch's by " in parity.lines()[1]
    assert json.loads(json.dumps(parity.to_dict()))["fp32"][0]["lengths"] == [50]
    own, exported = Recognizer.load(folder), Recognizer.load(tmp_path / "out")
    assert (own.info["runs_on"][:7], exported.info["runs_on"]) == ("PyTorch", "ONNX, fp32, cpu")
    assert own.folder.identity == exported.folder.identity
    for one, other in zip(own(SOUNDS), exported(SOUNDS), strict=True):
        assert other.scores == pytest.approx(one.scores, abs=1e-5)


@pytest.mark.usefixtures("by_hand")
def test_the_folder_itself_may_be_written(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"an old one")
    export_onnx(folder, folder)
    assert names(folder) >= {"model.onnx", "model.safetensors", "README.md"}
    assert Recognizer.load(folder).info["runs_on"] == "ONNX, fp32, cpu"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.usefixtures("by_hand")
def test_only_an_export_is_replaced_and_only_a_models_files_go_into_one(folder: Path, tmp_path: Path) -> None:
    (folder / "training.pt").write_text("no part of the model")
    (folder / "README.md").unlink()
    for _ in range(2):
        export_onnx(folder, tmp_path / "out")
        card = (tmp_path / "out" / "README.md").read_text()
        assert (card.count("## ONNX"), "is not recorded with it" in card) == (1, True)
        assert names(tmp_path / "out") == {name for name in KEPT if (tmp_path / "out" / name).is_file()}
    export_onnx(folder, folder)
    export_onnx(folder, folder)
    assert (folder / "README.md").read_text().count("## ONNX") == 1
    assert names(folder) == names(tmp_path / "out") | {"training.pt"}
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "anna.txt").write_text("Dear Anna")
    EmotionModel.load(folder).save(tmp_path / "other", MFCC)
    (tmp_path / "graph").mkdir()
    (tmp_path / "graph" / "model.onnx").write_text("and")
    (tmp_path / "graph" / "anna.txt").write_text("more")
    for other in (tmp_path / "letters", tmp_path / "letters" / "anna.txt", tmp_path / "other", tmp_path / "graph"):
        before = sorted(str(path) for path in tmp_path.rglob("*"))
        with pytest.raises(SereneError, match=f"{other} holds something else than an earlier export"):
            export_onnx(folder, other)
        assert sorted(str(path) for path in tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("by_hand")
def test_a_graph_that_differs_is_not_written(folder: Path, tmp_path: Path) -> None:
    model = EmotionModel.load(folder)
    with torch.no_grad():
        model.head.classify.weight[0, 0] += 0.01
    model.save(folder, MFCC)
    (tmp_path / "out").mkdir()
    with pytest.raises(SereneError, match=r"The graph differs from PyTorch by \d\.\de-0\d; 0\.0001 is allowed\. Noth"):
        export_onnx(folder, tmp_path / "out")
    assert names(tmp_path) == {"model", "out"}
    assert not names(tmp_path / "out")


@pytest.mark.usefixtures("by_hand")
def test_int8_is_near_and_tells_its_cost(folder: Path, tmp_path: Path, made_up_manifest: Manifest) -> None:
    clips = [replace(clip, emotion="surprise") if i == 0 else clip for i, clip in enumerate(made_up_manifest)]
    Manifest(tuple(clips)).write(tmp_path / "m.jsonl")
    parity = export_onnx(folder, tmp_path / "out", int8=True, manifest=tmp_path / "m.jsonl")
    assert {"model.onnx", "model.int8.onnx"} <= names(tmp_path / "out")
    assert [row.lengths for row in parity.int8] == [row.lengths for row in parity.fp32]
    assert 1e-6 < max(row.logits for row in parity.int8) < 0.5
    full, small = (Recognizer.load(tmp_path / "out", precision=precision) for precision in ("fp32", "int8"))
    known = [clip for clip in clips if clip.emotion in EMOTIONS and full(clip.audio).note is None]
    assert len(known) > 20
    assert parity.labelled is not None
    assert (parity.labelled.measure, parity.labelled.clips) == ("UA", len(known))
    for model, found in ((full, parity.labelled.fp32), (small, parity.labelled.int8)):
        recalls = []
        for name in EMOTIONS:
            own = [clip for clip in known if clip.emotion == name]
            recalls.append(sum(model(clip.audio).label == name for clip in own) / len(own))
        assert found == pytest.approx(sum(recalls) / len(recalls))
    assert f"UA on {len(known)} labelled clips: {100 * parity.labelled.fp32:.2f} % in fp32" in parity.lines()[-1]


@pytest.mark.usefixtures("by_hand")
def test_int8_scores_depend_on_no_batch_either(folder: Path, tmp_path: Path) -> None:
    """Its products are scaled by the largest value that they meet, so a batch-mate would change them."""
    export_onnx(folder, tmp_path / "out", int8=True)
    recognizer = Recognizer.load(tmp_path / "out", precision="int8")
    assert recognizer.info["runs_on"] == "ONNX, int8, cpu"
    alone = [recognizer(one).scores for one in SOUNDS]
    for answer, scores in zip(recognizer(SOUNDS[::-1])[::-1], alone, strict=True):
        assert answer.scores == pytest.approx(scores, abs=1e-6)


@pytest.mark.usefixtures("by_hand")
def test_a_small_folder_answers_alike(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "SMALL", 1)
    parity = export_onnx(folder, tmp_path / "out", small=True)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert 1e-6 < max(row.logits for row in parity.small) < 0.2
    assert any("model.onnx with weights of 8 bits, batch of 1" in line for line in parity.lines())
    own, small = Recognizer.load(folder), Recognizer.load(tmp_path / "out")
    alone = [small(one).scores for one in SOUNDS]
    for one, other, scores in zip(own(SOUNDS), small(SOUNDS), alone, strict=True):
        assert other.scores == pytest.approx(one.scores, abs=0.02)
        assert other.scores == pytest.approx(scores, abs=1e-6)


def test_weights_of_8_bits_are_the_weights_rounded_for_each_output(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    shapes = {"MatMul": (64, 96), "Gemm": (80, 64), "Conv": (8, 16, 40)}  # the outputs: columns, rows, rows
    weights = {name: draw.normal(0, draw.uniform(0.1, 9), shape).astype(np.float32) for name, shape in shapes.items()}
    weights["MatMul"][:, 3] *= 1e-3
    node = onnx.helper.make_node
    nodes = [
        node("MatMul", ["x", "MatMul"], ["product"]),
        node("Gemm", ["x", "Gemm"], ["mapped"], transB=1),
        node("Conv", ["wave", "Conv"], ["convolved"]),
    ]
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    ends = [value("x", kind, [1, 64]), value("wave", kind, [1, 16, 40])], [value("product", kind, [1, 96])]
    initializers = [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()]
    opset = [onnx.helper.make_opsetid("", 20)]
    graph = onnx.helper.make_graph(nodes, "by hand", *ends, initializers)
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset), tmp_path / "g.onnx")
    onnx_graph.store_in_8_bits(tmp_path / "g.onnx")
    stored = onnx.load(tmp_path / "g.onnx").graph
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored.initializer}
    for name, values in weights.items():
        whole, scale = found[f"{name}_whole"], found[f"{name}_scale"]
        rows = whole.T if name == "MatMul" else whole
        for numbers, own, true in zip(rows, scale, values.T if name == "MatMul" else values, strict=True):
            assert abs(numbers.astype(int)).max() == 127
            assert own * numbers.astype(np.float32) == pytest.approx(true, abs=float(0.501 * own))
    onnx.checker.check_model(onnx.load(tmp_path / "g.onnx"), full_check=True)


@pytest.mark.usefixtures("by_hand")
def test_a_small_folder_never_takes_the_place_of_the_weights(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=r"--small leaves out model.safetensors: name another folder"):
        export_onnx(folder, folder, small=True)
    assert (folder / "model.safetensors").is_file()
    export_onnx(folder, tmp_path / "out", small=True)
    with pytest.raises(SereneError, match=r"holds no model.safetensors, and answers on the CPU alone: drop device 'cu"):
        Recognizer.load(tmp_path / "out", device="cuda")
    with pytest.raises(SereneError, match="Name the folder that the training wrote"):
        export_onnx(tmp_path / "out", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.usefixtures("by_hand")
def test_a_manifest_needs_int8_and_the_models_labels(folder: Path, tmp_path: Path, made_up_manifest: Manifest) -> None:
    Manifest(tuple(replace(clip, emotion="surprise") for clip in made_up_manifest)).write(tmp_path / "m.jsonl")
    with pytest.raises(SereneError, match="A labelled manifest tells what int8 costs; export with --int8"):
        export_onnx(folder, tmp_path / "out", manifest=tmp_path / "m.jsonl")
    with pytest.raises(SereneError, match="No clip of the manifest has one of the model's labels: anger, happiness"):
        export_onnx(folder, tmp_path / "out", int8=True, manifest=tmp_path / "m.jsonl")
    assert not (tmp_path / "out").exists()


def test_a_frozen_encoder_is_no_part_of_the_model(folder: Path, tmp_path: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({"front_end": "frozen", "weights": "somewhere"}))
    with pytest.raises(SereneError, match=r"reads the outputs of a frozen encoder.*model=\{encoder: hubert, train: no"):
        export_onnx(folder, tmp_path / "out")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_exporting_needs_an_extra(folder: Path, tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(MissingExtra, match=rf"{package} is not installed.*serene-ser\[export\]"):
        export_onnx(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_traced_is_one_message(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise RuntimeError("a long story\nof many lines") from ValueError("the reason\nand more")

    monkeypatch.setattr(torch.onnx, "export", stumble)
    with pytest.raises(SereneError) as raised:
        export_onnx(folder, tmp_path / "out")
    said = "The encoder frozen cannot be exported to ONNX: the reason. It answers by torch all the same."
    assert str(raised.value) == said


# --- who is known by name


@pytest.mark.parametrize("unseen", ["similar", "mean", "zero"])
def test_unseen_speakers_get_what_the_model_gives_them(unseen: Any) -> None:
    torch.manual_seed(0)
    personal = PersonalVectors(6, 8, unseen, 2)
    torch.nn.init.normal_(personal.vectors)
    personal.voices[:4] = torch.randn(4, 8)  # of two no clip was seen
    voice = torch.randn(3, 8)
    vector = UnseenSpeakerVector(personal)
    assert vector.similar == (unseen == "similar")
    expected = personal(torch.full((3,), -1), voice)
    assert vector(voice).detach() == pytest.approx(expected.detach().expand(3, 8), abs=1e-6)


def test_similar_to_nobody_is_the_mean() -> None:
    personal = PersonalVectors(3, 4, "similar", 2)
    torch.nn.init.normal_(personal.vectors)
    assert not UnseenSpeakerVector(personal).similar
    assert UnseenSpeakerVector(personal)(torch.randn(2, 4)).detach() == pytest.approx(
        personal.vectors.detach().mean(dim=0).expand(2, 4), abs=1e-6
    )


def test_a_model_that_refuses_unseen_speakers_has_no_graph() -> None:
    with pytest.raises(SereneError, match="answers for the speakers alone whom it knows by name"):
        UnseenSpeakerVector(PersonalVectors(3, 4, "refuse", 2))


def test_examples_are_on_the_scale_of_training() -> None:
    parts = Parts(speaker_embedding="mfcc_learned")
    model = EmotionModel(EMOTIONS, WIDTH, normalize="speaker", enrolment_prior=5, parts=parts)
    statistics = np.stack([np.arange(WIDTH) * 10.0, np.arange(WIDTH) + 1.0]).astype(np.float32)
    model.set_feature_statistics(Statistics(statistics, 1))
    batch = example(model, (400, 100))
    given = graph_inputs(batch)
    assert inputs_of(model) == ("features", "lengths", "enrolment", "enrolled", "voice")
    assert batch.inputs[0].mean(axis=0) == pytest.approx(np.arange(WIDTH) * 10.0, abs=3)
    assert not batch.inputs[1, 100:].any()
    shapes = [given[name].shape for name in inputs_of(model)]
    assert shapes == [(2, 400, WIDTH), (2,), (2, 2, WIDTH), (2,), (2, 20)]
    assert (given["enrolment"][:, 1] > 0).all()
    assert inputs_of(EmotionModel(EMOTIONS, WIDTH)) == ("features", "lengths")


# --- the real exporter

CONVOLUTIONS = {"conv_dim": [16] * 2, "conv_kernel": [20, 16], "conv_stride": [20, 16]}
POSITIONS = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
SMALL |= CONVOLUTIONS | POSITIONS


def enrolled() -> EmotionModel:
    """Tu et al.'s network with all that may go into a graph."""
    parts = Parts(speaker_embedding="mfcc_learned", projector="residual")
    model = EmotionModel(EMOTIONS, WIDTH, normalize="speaker", enrolment_prior=50.0, parts=parts)
    statistics = np.stack([np.linspace(-20, 20, WIDTH), np.linspace(1, 15, WIDTH)])
    model.set_feature_statistics(Statistics(statistics.astype(np.float32), 1))
    return model


def personal() -> EmotionModel:
    """A small HuBERT that gives unseen speakers the vectors of similar speakers."""
    parts = Parts(pooling="mean", speaker_embedding="first", unseen_speakers="similar", similar_speakers=2)
    config = {"model_type": "hubert", **SMALL}
    model = EmotionModel(
        EMOTIONS, 1, encoder="hubert", encoder_settings={"config": config}, normalize="utterance",
        speakers=["a", "b", "c"], parts=parts,
    )  # fmt: skip
    assert isinstance(model.speaker_embedding, PersonalVectors)
    torch.nn.init.normal_(model.speaker_embedding.vectors)
    torch.nn.init.normal_(model.speaker_embedding.voices)
    return model


def residual() -> EmotionModel:
    """The bundled model's kind, its batch norms awake, standardised by the clip: a graph with a mean of its own."""
    parts = Parts(pooling="attentive", embedding_norm="speaker")
    settings = {"channels": 16, "hidden_features": 4, "hidden_frames": 6}
    model = EmotionModel(
        EMOTIONS, WIDTH, encoder="residual_tdnn", encoder_settings=settings, normalize="utterance", parts=parts
    )
    given = example(model, (40, 60, 90, 30), seed=3)
    clips = Batch(torch.from_numpy(given.inputs), torch.from_numpy(given.lengths))
    with torch.no_grad():
        for _ in range(20):
            model.train()(clips)
    return model


def large(family: str) -> EmotionModel:
    """A small encoder of the pre-norm kind; the exporter calls inner values of WavLM like the outputs."""
    sizes = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
    settings = {"config": {"model_type": family, **SMALL, **sizes}, "output": "weighted_sum"}
    return EmotionModel(EMOTIONS, 1, encoder="hubert", encoder_settings=settings, normalize="utterance")


def wavlm() -> EmotionModel:
    return large("wavlm")


def wav2vec2() -> EmotionModel:
    return large("wav2vec2")


def assert_any_batch_is_alike(own: Recognizer, exported: Recognizer, model: EmotionModel) -> None:
    """Other sizes and lengths than the graph was traced with, the shortest clip among them, and noise for padding."""
    shortest = model.encoder.shortest
    for factors in ((1,), (7, 1, 90), (3, 60, 1, 44, 20)):
        given = example(model, [factor * shortest for factor in factors], seed=len(factors))
        expected, found = own.network(given), exported.network(given)
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-4)
        if len(factors) > 1:
            assert np.ptp(expected[1], axis=0).max() > 1e-3  # clips can be told apart
        noisy = given.inputs.copy()
        for clip, length in zip(noisy, given.lengths, strict=True):
            clip[length:] = 9.0
        again, _ = exported.network(replace(given, inputs=noisy))
        np.testing.assert_allclose(again, found[0], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", [enrolled, residual, personal, wavlm, wav2vec2])
def test_exported_models_answer_as_pytorch_does(make: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = make().eval()
    front_end = {"front_end": "waveform"} if model.encoder.front_end == "waveform" else MFCC
    model.save(tmp_path / "model", front_end)
    parity = export_onnx(tmp_path / "model", tmp_path / "out")
    assert parity.worst < 1e-5
    graph = (tmp_path / "out" / "model.onnx").read_bytes()
    assert str(Path(onnx_graph.__file__).parents[1]).encode() not in graph  # anybody may read it
    assert len(graph) < 2 * (tmp_path / "out" / "model.safetensors").stat().st_size + 300_000
    own, exported = Recognizer.load(tmp_path / "model"), Recognizer.load(tmp_path / "out")
    assert exported.info["runs_on"] == "ONNX, fp32, cpu"
    assert_any_batch_is_alike(own, exported, model)
    for one, other in zip(own(SOUNDS), exported(SOUNDS), strict=True):
        assert other.scores == pytest.approx(one.scores, abs=1e-5)
        assert other.embedding == pytest.approx(one.embedding, abs=1e-4)
    for one, answer in zip(SOUNDS, exported(SOUNDS), strict=True):
        assert exported(one).scores == pytest.approx(answer.scores, abs=1e-5)
    if own.folder.widths:
        profile = own.enrol(SOUNDS[:2])
        profile = replace(profile, said=dict.fromkeys(profile.said, 1))  # as varied as can be, so that it counts
        by_torch, by_graph = own(SOUNDS, profile=profile), exported(SOUNDS, profile=profile)
        assert (
            max(abs(one.scores["anger"] - own(two).scores["anger"]) for one, two in zip(by_torch, SOUNDS, strict=True))
            > 1e-4
        )
        for one, other in zip(by_torch, by_graph, strict=True):
            assert other.scores == pytest.approx(one.scores, abs=1e-5)


def test_a_graph_knows_no_names() -> None:
    """What a model makes of a batch without names is what its graph makes of tensors."""
    torch.manual_seed(0)
    model = personal().eval()
    batch = replace(example(model, (4000, 2500)), context=None).mapped(torch.from_numpy)
    with torch.no_grad():
        expected = model(batch)
        logits, embedding = onnx_graph.Graph(model, ("features", "lengths"))(batch.inputs, batch.lengths)
    assert logits.numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert embedding.shape == (2, 16)
