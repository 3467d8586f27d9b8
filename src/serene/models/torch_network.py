"""A model answers by PyTorch: while it is trained, where it has no ONNX file, on a GPU, or in bfloat16."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.models.model import EmotionModel
from serene.models.network import Network

HALVED = (nn.Linear, nn.Conv1d)  # of the encoder; norms and statistics stay in full precision


class TorchNetwork(Network):
    """An EmotionModel at rest; several threads may call it at once.

    Args:
        model: brought to the device.
        device: as torch names it.
        precision: `fp32` or `bf16`.

    Raises:
        SereneError: there is no such device.
    """

    def __init__(self, model: EmotionModel, *, device: str = "cpu", precision: str = "fp32") -> None:
        """Bring the weights to the device."""
        try:
            self.device = torch.device(device)
            self.model = model.to(self.device)
        except (RuntimeError, AssertionError) as error:  # the latter is what torch without CUDA raises
            raise SereneError(f"There is no device '{device}' here: {error}") from error
        self.on_cpu = self.device.type == "cpu"
        self.half = precision == "bf16"
        if self.half:
            for module in self.model.encoder.modules():
                if isinstance(module, HALVED):
                    module.to(torch.bfloat16)
        self.what = f"PyTorch, {precision}, {device}"

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Give outputs (batch, name) and embeddings (batch, feature) for a batch of arrays or tensors."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            embeddings = self.model.embed(batch.mapped(lambda array: torch.as_tensor(array).to(self.device))).float()
        outputs = self.model.classify(self.model.hidden(embeddings))  # small: in full precision
        return outputs.cpu().numpy(), embeddings.cpu().numpy()


def torch_network(path: str, *, device: str = "auto", precision: str = "fp32", threads: int | None = None) -> Network:
    """Load a model folder's weights.

    Args:
        path: the folder.
        device: `auto` for a GPU where there is one, or a device as torch names it.
        precision: `fp32` or `bf16`.
        threads: that torch uses, in the whole process; torch's own choice without it.

    Raises:
        SereneError: the weights are missing or do not fit, or there is no such device.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchNetwork(EmotionModel.load(path), device=device, precision=precision)
