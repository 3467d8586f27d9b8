"""The network exports to ONNX with any batch size and any length, and gives the same scores there."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from serene.audio.batch import Batch
from serene.models.model import EmotionModel

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


class OnnxLstm(nn.Module):
    """One direction as ONNX's LSTM operator; an export verb will need it too.

    `torch.export` unrolls or specialises `nn.LSTM` to the example's length, so the operator is named outright. ONNX
    wants time first and the gates in the order input, output, forget, cell; PyTorch keeps input, forget, cell, output.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()

        def reordered(weights: torch.Tensor) -> torch.Tensor:
            entry, forget, cell, output = weights.detach().chunk(4)
            return torch.cat([entry, output, forget, cell])

        self.units = lstm.hidden_size
        self.register_buffer("inputs", reordered(lstm.weight_ih_l0)[None])
        self.register_buffer("recurrent", reordered(lstm.weight_hh_l0)[None])
        self.register_buffer("bias", torch.cat([reordered(lstm.bias_ih_l0), reordered(lstm.bias_hh_l0)])[None])

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, None]:
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


class Graph(nn.Module):
    """Tensors in, tensors out: a Batch is no input that a graph knows."""

    def __init__(self, model: EmotionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.model(Batch(inputs, lengths, inputs.new_zeros(0), lengths.new_zeros(0), ()))


def export(model: EmotionModel, path: Path) -> None:
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.LSTM):
                setattr(module, name, OnnxLstm(child))
    batch, frame = torch.export.Dim("batch"), torch.export.Dim("frame")
    with warnings.catch_warnings():
        # of the exporter's own making: two inputs share the batch axis, and it copies deprecated tree specifications
        warnings.filterwarnings("ignore", "# The axis name: batch will not be used", UserWarning)
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        program = torch.onnx.export(
            Graph(model).eval(),
            (torch.randn(2, 50, 39), torch.tensor([50, 30])),
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: batch, 1: frame}, {0: batch}),
            input_names=["inputs", "lengths"],
            output_names=["logits"],
        )
    program.save(path)


@pytest.mark.slow
def test_the_exported_graph_gives_the_same_scores_at_any_length_and_batch_size(batch_of, awake, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = awake(EmotionModel(list("abcdef"), 39, normalize="utterance"))  # the graph with the most in it
    export(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for lengths in [(20,), (5, 77, 31), (300, 12, 1, 44, 90)]:
        batch = batch_of(*lengths, seed=len(lengths))
        with torch.no_grad():
            expected = model(batch)
        (scores,) = session.run(None, {"inputs": batch.inputs.numpy(), "lengths": batch.lengths.numpy()})
        torch.testing.assert_close(torch.from_numpy(scores), expected, rtol=0, atol=1e-5)
