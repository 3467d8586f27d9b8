"""A model folder's ONNX file answers by onnxruntime, on a CPU, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.models.network import Network

INPUTS = ("features", "lengths", "enrolment", "enrolled", "voice")  # that a graph may have
OUTPUTS = ("logits", "embedding")
QUIET = 3  # errors only: its warnings speak of the machine's devices


class OnnxNetwork(Network):
    """A session; several threads may call it at once.

    Args:
        path: the ONNX file.
        outputs: how many are expected.
        threads: that one call uses.
        precision: of the file, for people.

    Raises:
        SereneError: the file cannot be read, or is no graph of this project.
    """

    def __init__(self, path: Path, outputs: int, *, threads: int = 1, precision: str = "fp32") -> None:
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
        if not {"features", "lengths"} <= set(self.inputs) <= {*INPUTS} or shapes.get("logits", [0])[-1] != outputs:
            raise SereneError(f"{path} does not fit its folder's config.json; export it again: serene export.")
        # quantised products scale what they multiply by the largest value of the batch: batch-mates would change scores
        self.exact = precision != "int8"
        self.what = f"ONNX, {precision}, cpu"

    def __call__(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Give outputs (batch, name) and embeddings (batch, feature)."""
        known = graph_inputs(batch)
        outputs, embeddings = self.session.run(list(OUTPUTS), {name: np.asarray(known[name]) for name in self.inputs})
        return np.asarray(outputs), np.asarray(embeddings)


def graph_inputs(batch: Batch) -> dict[str, Any]:
    """Name what a batch brings as a graph's inputs are named: `enrolment` and `enrolled` are statistics and counts."""
    named, context = {"features": batch.inputs, "lengths": batch.lengths}, batch.context
    if context is None:
        return named
    own = context.embeddings or context.features
    named |= {} if own is None else {"enrolment": own.moments, "enrolled": own.count}
    return named | ({} if context.cepstra is None else {"voice": context.cepstra})
