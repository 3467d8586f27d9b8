"""An EmotionModel becomes an ONNX graph with any batch size and any length: tensors in, logits and embedding out."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serene.audio.batch import Batch
from serene.errors import MissingExtra, SereneError, first_line
from serene.inference.network import OUTPUTS, WINDOW, graph_inputs
from serene.models.model import EmotionModel
from serene.models.speaker_embedding import COEFFICIENTS, PersonalVectors
from serene.speaker import SpeakerContext, Statistics

SMALL = 4096  # numbers of a tensor that is not worth storing in 8 bits
EXAMPLE = 50  # frames of the example that the graph is traced with; of waveforms so many times what one frame sees


class Graph(nn.Module):
    """A model with nothing but tensors going in and coming out; the model is changed, so it should be a copy.

    Args:
        model: in evaluation mode.
        inputs: names of what goes in, some of `serene.inference.network.INPUTS`.
    """

    def __init__(self, model: EmotionModel, inputs: Sequence[str]) -> None:
        """Exchange what no graph can hold."""
        super().__init__()
        self.model, self.inputs = model, tuple(inputs)
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.LSTM):
                    setattr(module, name, OnnxLstm(child))
                elif isinstance(child, PersonalVectors):
                    setattr(module, name, UnseenSpeakerVector(child))
        model.encoder.shortest = 1  # a graph cannot look at lengths and refuse; who feeds it does

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits (batch, emotion) and embedding (batch, feature)."""
        known = dict(zip(self.inputs, given, strict=True))
        features, lengths = known.pop("features"), known.pop("lengths")
        if self.model.encoder.window is not None:
            self.model.encoder.windows = features.shape[1]
            features = features.flatten(1, 2)
        statistics = Statistics(known["enrolment"], known["enrolled"]) if "enrolment" in known else None
        asked = "embeddings" if "embeddings" in self.model.needs else "features"
        context = SpeakerContext(
            identity=torch.full_like(lengths, -1), cepstra=known.get("voice"), **{asked: statistics}
        )
        batch = Batch(features, lengths, context=context if known else None)
        standard = self.model.features(batch)
        speaker = self.model.speaker_embedding
        if isinstance(speaker, UnseenSpeakerVector) and speaker.similar:
            standard = replace(standard, speaker=self.model.voice(standard))
        embedding = self.model.embed_features(standard)
        if context.embeddings is not None:
            embedding = self.model.enrolled(embedding, context.embeddings)
        return self.model.classify(self.model.hidden(embedding)), embedding


class OnnxLstm(nn.Module):
    """One direction of an LSTM as ONNX's own operator.

    `torch.export` unrolls `nn.LSTM` to the example's length. ONNX wants time first and the gates in the order input,
    output, forget, cell; PyTorch keeps input, forget, cell, output.

    Args:
        lstm: a layer of one direction, batch first.
    """

    inputs: Tensor
    recurrent: Tensor
    bias: Tensor

    def __init__(self, lstm: nn.LSTM) -> None:
        """Put the gates in the operator's order."""
        super().__init__()

        def reordered(weights: Any) -> Tensor:
            entry, forget, cell, output = weights.detach().chunk(4)
            return torch.cat([entry, output, forget, cell])

        self.units = lstm.hidden_size
        self.register_buffer("inputs", reordered(lstm.weight_ih_l0)[None])
        self.register_buffer("recurrent", reordered(lstm.weight_hh_l0)[None])
        self.register_buffer("bias", torch.cat([reordered(lstm.bias_ih_l0), reordered(lstm.bias_hh_l0)])[None])

    def forward(self, frames: Tensor) -> tuple[Tensor, None]:
        """Map (batch, frame, feature) to (batch, frame, units)."""
        batch, length, _ = frames.shape
        hidden = torch.onnx.ops.symbolic(
            "LSTM",
            [frames.transpose(0, 1), self.inputs, self.recurrent, self.bias],
            attrs={"hidden_size": self.units},
            dtype=torch.float32,
            shape=(length, 1, batch, self.units),
            version=18,
        )
        return hidden.squeeze(1).transpose(0, 1), None


class UnseenSpeakerVector(nn.Module):
    """What `PersonalVectors` gives to somebody whom the model does not know: a graph is told no names.

    Args:
        personal: the vectors of those whom it knows.

    Attributes:
        similar: whether the vector depends on how the clip sounds, which then goes in.

    Raises:
        SereneError: the model refuses unseen speakers.
    """

    vectors: Tensor
    voices: Tensor

    def __init__(self, personal: PersonalVectors) -> None:
        """Keep those of whom there were clips, or the one vector that all unseen speakers get."""
        super().__init__()
        if personal.unseen == "refuse":
            raise SereneError(
                "This model answers for the speakers alone whom it knows by name, and a graph is told no names. "
                "Train it with model.unseen_speakers similar, mean or zero."
            )
        known = personal.voices.any(dim=1)
        self.similar, self.nearest = personal.unseen == "similar" and bool(known.any()), personal.similar
        nobody = torch.full((1,), -1, device=personal.vectors.device)
        vectors = personal.vectors.detach()[known] if self.similar else personal(nobody).detach()
        self.register_buffer("vectors", vectors)
        self.register_buffer("voices", functional.normalize(personal.voices[known], dim=-1))

    def forward(self, voice: Tensor) -> Tensor:
        """Map voices (batch, feature), or anything as long as the batch, to vectors (batch, feature)."""
        if not self.similar:
            return self.vectors.expand(voice.shape[0], -1)
        likeness = functional.normalize(voice, dim=-1) @ self.voices.T
        nearest = likeness.topk(min(self.nearest, len(self.vectors)), dim=1).indices
        return self.vectors[nearest].mean(dim=1)


def inputs_of(model: EmotionModel) -> tuple[str, ...]:
    """Name what a model's graph reads, in order: some of `serene.inference.network.INPUTS`."""
    own = ("enrolment", "enrolled") if model.needs & {"features", "embeddings"} else ()
    return ("features", "lengths", *own, *(("voice",) if "cepstra" in model.needs else ()))


def example(model: EmotionModel, lengths: Sequence[int], seed: int = 0) -> Batch:
    """Make random clips of so many frames, on the scale that the model was trained on, and all that it asks for."""
    draw, width = np.random.default_rng(seed), model.config["width"]
    mean, deviation = model.feature_mean.cpu().numpy(), model.feature_deviation.cpu().numpy()
    features = (mean + deviation * draw.standard_normal((len(lengths), max(lengths), width))).astype(np.float32)
    for clip, length in zip(features, lengths, strict=True):
        clip[length:] = 0
    clips, own = len(lengths), dict[str, Statistics]()
    if "features" in model.needs:
        moments = np.stack([mean, deviation]) * draw.uniform(0.8, 1.2, (clips, 2, width))
        own["features"] = Statistics(moments.astype(np.float32), draw.integers(100, 5000, clips))
    if "embeddings" in model.needs:
        moments = draw.uniform(0.5, 1.5, (clips, 2, model.embedding_width)).astype(np.float32)
        own["embeddings"] = Statistics(moments, draw.integers(0, 50, clips))
    cepstra = draw.normal(0, 5, (clips, COEFFICIENTS)).astype(np.float32) if "cepstra" in model.needs else None
    context = SpeakerContext(identity=np.full(clips, -1), cepstra=cepstra, **own)
    names = tuple(f"clip {n + 1}" for n in range(clips))
    return Batch(features, np.array(lengths, dtype=np.int64), ids=names, context=context if model.needs else None)


def trace(model: EmotionModel, path: Path) -> None:
    """Write a model's graph.

    Raises:
        MissingExtra: `onnx` or `onnxscript` is not installed.
        SereneError: the model holds something that no graph can hold.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "export")
    names = inputs_of(model)
    frames = EXAMPLE * model.encoder.shortest
    inputs = graph_inputs(example(model, (frames, frames * 2 // 3)), model.encoder.window and frames // 2)
    given = tuple(torch.from_numpy(inputs[name]) for name in names)
    shortest = model.encoder.shortest if model.encoder.shortest > 1 else None  # unsaid, it is found by tracing twice
    clip, frame = torch.export.Dim("batch"), torch.export.Dim("frame", min=shortest)
    frames_of = {1: frame} if model.encoder.window is None else {1: torch.export.Dim("window"), 2: frame}
    axes = tuple({0: clip} | (frames_of if name == "features" else {}) for name in names)
    graph = Graph(copy.deepcopy(model).cpu().eval(), names)
    with quiet(), torch.no_grad():
        try:
            called = {"input_names": names, "output_names": OUTPUTS, "dynamic_shapes": (axes,)}
            program: Any = torch.onnx.export(graph, given, dynamo=True, verbose=False, **called)
        except Exception as error:  # the exporter has several kinds, private ones among them
            reason = first_line(error.__cause__ or error)
            raise SereneError(
                f"The encoder {model.config['encoder']} cannot be exported to ONNX: {reason}. "
                "It answers by torch all the same."
            ) from error
        _clean(program.model.graph)
        if model.encoder.window is not None:
            program.model.metadata_props[WINDOW] = str(model.encoder.window)
        program.save(path)


def store_in_8_bits(path: Path) -> None:
    """Store a graph's large weights as whole numbers from -127 to 127, with a scale for each output or row.

    They are turned back when the file is loaded, and computed with in 32 bits: batch-mates change nothing, as they do
    where what is multiplied is quantised too, and nothing is faster.
    """
    import onnx

    model = onnx.load(path)
    graph, turned, kept = model.graph, [], []
    readers = {name: node for node in reversed(graph.node) for name in node.input}
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < SMALL:
            kept.append(tensor)
            continue
        axis = _output_axis(readers[tensor.name], values.ndim)
        scale = np.abs(values).max(axis=tuple(other for other in range(values.ndim) if other != axis), keepdims=True)
        scale = np.maximum(scale, np.finfo(np.float32).tiny) / 127
        whole, scales = f"{tensor.name}_whole", f"{tensor.name}_scale"
        kept.append(onnx.numpy_helper.from_array(np.round(values / scale).astype(np.int8), whole))
        kept.append(onnx.numpy_helper.from_array(scale.ravel(), scales))
        turned.append(onnx.helper.make_node("DequantizeLinear", [whole, scales], [tensor.name], axis=axis))
    nodes = [*turned, *graph.node]
    for field, values in ((graph.initializer, kept), (graph.node, nodes)):
        del field[:]
        field.extend(values)
    onnx.save(model, path)


def _output_axis(node: Any, dimensions: int) -> int:
    """Say along which axis of its weights a node's outputs lie: rows, but for products from the right."""
    if node.op_type == "MatMul":
        return dimensions - 1
    transposed = any(given.name == "transB" and given.i for given in node.attribute)
    return 1 if node.op_type == "Gemm" and not transposed else 0


def _clean(graph: Any) -> None:
    """Rename inner values that are called like an input or output; drop where in whose files each node comes from."""
    taken = {value.name for value in (*graph.inputs, *graph.outputs)}
    outer = {id(value) for value in graph.outputs}
    for node in graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            if value.name in taken and id(value) not in outer:
                value.name = f"{value.name}_inside"
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()
    graph.metadata_props.clear()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter and the quantiser from warning of their own making and of what is not needed here."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
