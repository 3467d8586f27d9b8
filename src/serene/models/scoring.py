"""A model at rest scores: by PyTorch, and parts of a split: validation exactly as the test, and as it is served."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from serene.audio.batch import Batch
from serene.audio.dataset import Dataset
from serene.errors import SereneError
from serene.models import across
from serene.models.model import EmotionModel
from serene.models.network import Network

TOGETHER = 64  # clips of a batch, at most
HALVED = (nn.Linear, nn.Conv1d)  # of the encoder; norms and statistics stay in full precision


class TorchNetwork(Network):
    """An EmotionModel at rest, in `fp32` or `bf16`, on a device as torch names it; several threads may call it at once.

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
    """Load a model folder's weights, in `fp32` or `bf16`; the device `auto` is a GPU where there is one.

    `threads` sets how many torch uses in the whole process.

    Raises:
        SereneError: the weights are missing or do not fit, or there is no such device.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchNetwork(EmotionModel.load(path), device=device, precision=precision)


@dataclass(frozen=True)
class Scores:
    """What a model says of some clips, in the dataset's order.

    Attributes:
        ids: of the clips.
        outputs: float64 (utterance, name): probabilities, whose rows sum to 1, or values of dimensions.
        embeddings: float32 (utterance, feature), the vector that heads and probes read.
    """

    ids: tuple[str, ...]
    outputs: np.ndarray
    embeddings: np.ndarray


def score(model: EmotionModel, dataset: Dataset, *, batch_size: int = TOGETHER, device: str = "cpu") -> Scores:
    """Score every clip in full precision; neither order nor batch size changes a number.

    The model is left in the mode (training or evaluation) that it was in.
    """
    was_training = model.training
    model.eval()
    scores = scored(TorchNetwork(model, device=device), dataset, model.temperature, batch_size)
    model.train(was_training)
    return scores


def scored(network: Network, dataset: Dataset, temperature: float, batch_size: int = TOGETHER) -> Scores:
    """Score every clip by a network, whatever runs it; see `score`. Processes score a share each, and know all."""
    rows = {}
    size = network.clips(dataset.store.front_end.spec, batch_size)
    for batch in dataset.in_order(size, across.number(), across.processes()):
        outputs, embeddings = network(batch)
        for name, *row in zip(batch.ids, dataset.task.scores(outputs, temperature), embeddings, strict=True):
            rows[name] = row
    rows = dict(across.gathered(tuple(rows.items()))[0])
    ids = tuple(dataset.utterances.values("id"))
    return Scores(ids, np.stack([rows[i][0] for i in ids]), np.stack([rows[i][1] for i in ids]))
