"""A trained model answers for any sound: numpy and onnxruntime; torch only where it is asked for."""

from __future__ import annotations

NETWORKS = {
    "onnx": "serene.inference.onnx_model:OnnxModel",
    "torch": "serene.inference.torch_model:TorchModel",
}
