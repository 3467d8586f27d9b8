"""What runs a model: its ONNX file where that serves, on a CPU and without torch; PyTorch otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from serene import registry
from serene.audio.batch import Batch
from serene.errors import MissingExtra, SereneError
from serene.inference.folder import BUNDLED, GRAPHS, TENSORS, ModelFolder
from serene.models.network import Network

NETWORKS = {"torch": "serene.models.scoring:torch_network"}
INPUTS = ("features", "lengths", "enrolment", "enrolled", "voice")  # that a graph may have
OUTPUTS = ("logits", "embedding")
WINDOW = "window"  # of a graph's metadata: frames that it reads at once, where it reads longer clips in windows
QUIET = 3  # errors only: its warnings speak of the machine's devices


def session_of(path: Path, threads: int = 1) -> Any:
    """Load an ONNX file into onnxruntime, on the CPU.

    Raises:
        SereneError: the file cannot be read.
    """
    import onnxruntime  # commands that answer for no sound do without

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # weights of 8 bits become float32 once
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library has a dozen exceptions of its own, and no common name
        raise SereneError(f"{path} is not a readable ONNX file: {error}") from error


class OnnxNetwork(Network):
    """A session of an ONNX file, whose outputs are so many; several threads may call it at once.

    Raises:
        SereneError: the file cannot be read, or is no graph of this project.
    """

    def __init__(self, path: Path, outputs: int, *, threads: int = 1, precision: str = "fp32") -> None:
        """Load the graph."""
        self.session = session_of(path, threads)
        self.inputs = [given.name for given in self.session.get_inputs()]
        shapes = {made.name: made.shape for made in self.session.get_outputs()}
        if not {"features", "lengths"} <= set(self.inputs) <= {*INPUTS} or shapes.get("logits", [0])[-1] != outputs:
            raise SereneError(f"{path} does not fit its folder's config.json; export it again: serene export.")
        window = self.session.get_modelmeta().custom_metadata_map.get(WINDOW)
        self.window = None if window is None else int(window)
        # quantised products scale what they multiply by the largest value of the batch: batch-mates would change scores
        self.exact = precision != "int8"
        self.what = f"ONNX, {precision}, cpu"

    def __call__(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Give outputs (batch, name) and embeddings (batch, feature)."""
        known = graph_inputs(batch, self.window)
        outputs, embeddings = self.session.run(list(OUTPUTS), {name: np.asarray(known[name]) for name in self.inputs})
        return np.asarray(outputs), np.asarray(embeddings)


def graph_inputs(batch: Batch, window: int | None = None) -> dict[str, Any]:
    """Name what a batch brings as a graph's inputs are named: `enrolment` and `enrolled` are statistics and counts.

    A graph that reads clips in windows of so many frames gets (batch, window, frame, feature).
    """
    named, context = {"features": batch.inputs, "lengths": batch.lengths}, batch.context
    if window is not None:
        clips, longest, width = batch.inputs.shape
        size = min(longest, window)
        filled = np.pad(batch.inputs, ((0, 0), (0, -longest % size), (0, 0)))
        named["features"] = filled.reshape(clips, -1, size, width)
    if context is None:
        return named
    own = context.embeddings or context.features
    named |= {} if own is None else {"enrolment": own.moments, "enrolled": own.count}
    return named | ({} if context.cepstra is None else {"voice": context.cepstra})


def network_of(folder: ModelFolder, device: str, precision: str, threads: int | None) -> Network:
    """Choose what runs a model.

    Args:
        folder: the model.
        device: `auto` or `cpu` for its ONNX file where it has one; what torch knows otherwise.
        precision: `fp32`, `int8` for the quantised file, `bf16` for PyTorch.
        threads: that a batch may use.

    Raises:
        SereneError: there is no such file, device or precision, or its files do not fit each other.
    """
    graph = folder.graph(precision) if precision in GRAPHS else None
    if graph is not None and device in ("auto", "cpu"):
        network = OnnxNetwork(graph, len(folder.task.names), threads=threads or 1, precision=precision)
        _refuse_misfit(folder, network.session)
        return network
    if graph is None and not (folder.path / TENSORS).is_file():
        raise SereneError(f"{folder.path} holds no weights: neither {GRAPHS['fp32']} nor {TENSORS} is there.")
    if graph is not None and not (folder.path / TENSORS).is_file():
        raise SereneError(f"{folder.path} holds no {TENSORS}, and answers on the CPU alone: drop device '{device}'.")
    if precision == "int8":
        raise SereneError(
            f"int8 needs {GRAPHS[precision]}, and a CPU. Make the file once, where torch is installed: "
            f"{_export(folder, ' --int8')}"
        )
    try:
        torch = registry.load("torch", NETWORKS, "network")
    except MissingExtra as error:
        raise _without_torch(folder, device, precision) from error
    return torch(folder.path, device=device, precision=precision, threads=threads)


def _refuse_misfit(folder: ModelFolder, session: Any) -> None:
    """Refuse a graph that reads what its folder's config does not speak of, or other widths of it."""
    own = folder.widths.get("embeddings", folder.widths.get("features", 0))
    widths = {"features": folder.config["width"], "enrolment": own, "voice": folder.widths.get("cepstra", 0)}
    for given in session.get_inputs():
        width, asked = widths.get(given.name), given.shape[-1]  # dynamic dimensions have names instead of numbers
        if width == 0 or (width and isinstance(asked, int) and asked != width):
            raise SereneError(
                f"The ONNX file in {folder.path} does not fit its config.json: it reads '{given.name}' of the width "
                f"{asked}, and {width} was expected. Export it again: serene export."
            )


def _without_torch(folder: ModelFolder, device: str, precision: str) -> SereneError:
    """Say what to do where torch is wanted and not installed."""
    install = "pip install 'serene-ser[train]'"
    if folder.graph("fp32") is None:
        return SereneError(
            f"{folder.path} has no {GRAPHS['fp32']} that would serve here, and torch is not installed. Make the file "
            f"once where it is: {_export(folder)} Or install torch: {install}."
        )
    asked = f"precision '{precision}'" if device in ("auto", "cpu") else f"device '{device}'"
    return SereneError(
        f"The {asked} needs torch, which is not installed: {install}. Without it all else runs on the CPU."
    )


def _export(folder: ModelFolder, option: str = "") -> str:
    """Say how a model gets its ONNX file: in its own folder, or in one for a copy of what came with the package."""
    if folder.path == BUNDLED:
        return f"serene export -o FOLDER --to onnx{option}, and then --model FOLDER."
    return f"serene export {folder.path} -o {folder.path} --to onnx{option}."
