"""A model folder answers by PyTorch: where it has no ONNX file, on a GPU, or in bfloat16."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.inference.clip import Inputs, joined
from serene.inference.folder import ModelFolder
from serene.models.model import EmotionModel

HALVED = (nn.Linear, nn.Conv1d)  # of the encoder; norms and statistics stay in full precision


class TorchModel:
    """An EmotionModel at rest; several threads may call it at once.

    Args:
        folder: holds the weights.
        device: `auto` for a GPU where there is one, or a device as torch names it.
        precision: `fp32` or `bf16`.
        threads: that torch uses, in the whole process; torch's own choice without it.

    Raises:
        SereneError: the weights are missing or do not fit, there is no such device, or the precision is another's.
    """

    def __init__(
        self, folder: ModelFolder, *, device: str = "auto", precision: str = "fp32", threads: int | None = None
    ) -> None:
        """Load the weights and bring them to the device."""
        if threads is not None:
            torch.set_num_threads(threads)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        model = EmotionModel.load(folder.path)
        try:
            self.device = torch.device(device)
            self.model = model.to(self.device)
        except (RuntimeError, AssertionError) as error:  # the latter is what torch without CUDA raises
            raise SereneError(f"There is no device '{device}' here: {error}") from error
        self.half = precision == "bf16"
        if self.half:
            for module in self.model.encoder.modules():
                if isinstance(module, HALVED):
                    module.to(torch.bfloat16)
        self.what = f"PyTorch, {precision}, {device}"

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Give logits (batch, emotion) and embeddings (batch, feature)."""
        if self.device.type == "cpu" and inputs.waveforms:
            return joined(map(self._run, inputs.apart()))
        return self._run(inputs)

    @torch.inference_mode()
    def _run(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            batch = self._batch(inputs)
            embeddings = self.model.embed(batch).float()
        if self.model.parts.enrols_embeddings and batch.enrolment is not None and batch.enrolled is not None:
            embeddings = self.model.enrolled(embeddings, batch.enrolment, batch.enrolled)
        logits = self.model.classify(self.model.hidden(embeddings))  # small, and what scores hang on: in full precision
        return logits.cpu().numpy(), embeddings.cpu().numpy()

    def _batch(self, inputs: Inputs) -> Batch:
        def tensor(array: np.ndarray | None) -> Tensor | None:
            return None if array is None else torch.from_numpy(array).to(self.device)

        features, lengths = torch.from_numpy(inputs.features), torch.from_numpy(inputs.lengths)
        clips = len(lengths)
        nobody, nothing = torch.full((clips,), -1), torch.zeros(clips, 0)
        batch = Batch(features, lengths, nothing, nobody, tuple(f"clip {n + 1}" for n in range(clips))).to(self.device)
        known = {name: tensor(getattr(inputs, name)) for name in ("enrolment", "enrolled", "voice")}
        return replace(batch, **known)
