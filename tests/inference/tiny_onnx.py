"""A model folder whose graph can be followed by hand: logits are a clip's mean features times numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

WIDTH = 13  # cepstra without deltas
EMOTIONS = ("anger", "happiness", "neutral")
WEIGHTS = np.zeros((WIDTH, len(EMOTIONS)), np.float32)
WEIGHTS[0], WEIGHTS[1] = (0.2, -0.1, 0.05), (0.01, 0.02, -0.03)
MFCC = {"front_end": "mfcc", "deltas": 0}
PARTS = {
    "pooling": "mean",
    "projector": "none",
    "hidden": [],
    "head": "linear",
    "head_dropout": 0.0,
    "speaker_embedding": "none",
}


def write_folder(path: Path, *, graph: bool = True, speaker: bool = False, **config: Any) -> Path:
    """Write a folder of which everything but the weights is real; `config` overrides its config.json."""
    path.mkdir(parents=True, exist_ok=True)
    own = {"format": 1, "model_type": "serene", "emotions": list(EMOTIONS), "encoder": "tdnn_bilstm"}
    own |= {"encoder_settings": {}, "normalize": "speaker" if speaker else "none", "enrolment_prior": 0.0}
    own |= {"width": WIDTH, "parts": PARTS, "speakers": [], "dimensions": False}
    (path / "config.json").write_text(json.dumps(own | config))
    (path / "preprocessor_config.json").write_text(json.dumps(MFCC))
    (path / "model.safetensors").write_bytes(b"any bytes have a digest")
    if graph:
        onnx.save(mean_graph(speaker=speaker), path / "model.onnx")
    return path


def mean_graph(*, speaker: bool = False) -> onnx.ModelProto:
    """Make the graph; with `speaker` the mean is first standardised by the speaker's mean and deviation."""
    given = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "frame", WIDTH]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["features", "frames"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["lengths"], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["counts", "last"], ["column"]),
        helper.make_node("Div", ["sum", "column"], ["mean" if speaker else "embedding"]),
    ]
    constants = {"frames": np.array([1]), "last": np.array([-1]), "weights": WEIGHTS}
    if speaker:
        given.append(helper.make_tensor_value_info("enrolment", TensorProto.FLOAT, ["batch", 2, WIDTH]))
        given.append(helper.make_tensor_value_info("enrolled", TensorProto.INT64, ["batch"]))
        constants |= {"first": np.array(0), "second": np.array(1)}
        nodes += [
            helper.make_node("Gather", ["enrolment", "first"], ["own_mean"], axis=1),
            helper.make_node("Gather", ["enrolment", "second"], ["own_deviation"], axis=1),
            helper.make_node("Sub", ["mean", "own_mean"], ["centred"]),
            helper.make_node("Div", ["centred", "own_deviation"], ["embedding"]),
        ]
    nodes.append(helper.make_node("MatMul", ["embedding", "weights"], ["logits"]))
    made = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(EMOTIONS)]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH]),
    ]
    known = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "mean", given, made, known)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
