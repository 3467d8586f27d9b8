"""A model folder's ONNX file answers by onnxruntime, on a CPU, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from serene.errors import SereneError
from serene.inference.clip import Inputs, joined

OUTPUTS = ("logits", "embedding")
QUIET = 3  # errors only: its warnings speak of the machine's devices


class OnnxModel:
    """A session; several threads may call it at once.

    Args:
        path: the ONNX file.
        emotions: how many outputs are expected.
        threads: that one call uses.
        precision: of the file, for people.

    Raises:
        SereneError: the file cannot be read, or is no graph of this project.
    """

    def __init__(self, path: Path, emotions: int, *, threads: int = 1, precision: str = "fp32") -> None:
        """Load the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = QUIET
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library has a dozen exceptions of its own, and no common name
            raise SereneError(f"{path} is not a readable ONNX file: {error}") from error
        self.inputs = [given.name for given in self.session.get_inputs()]
        shapes = {made.name: made.shape for made in self.session.get_outputs()}
        known = set(Inputs.__dataclass_fields__)
        if not {"features", "lengths"} <= set(self.inputs) <= known or shapes.get("logits", [0])[-1] != emotions:
            raise SereneError(f"{path} does not fit its folder's config.json; export it again: serene export.")
        # quantised products scale what they multiply by the largest value of the batch: batch-mates would change scores
        self.alone = precision == "int8"
        self.what = f"ONNX, {precision}, cpu"

    def __call__(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Give logits (batch, emotion) and embeddings (batch, feature)."""
        if self.alone or inputs.waveforms:
            return joined(map(self._run, inputs.apart()))
        return self._run(inputs)

    def _run(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        given = {name: getattr(inputs, name) for name in self.inputs}
        logits, embeddings = self.session.run(list(OUTPUTS), given)
        return np.asarray(logits), np.asarray(embeddings)
