"""What runs a model: its ONNX file where that serves, PyTorch otherwise."""

from __future__ import annotations

from typing import Any

from serene import registry
from serene.errors import MissingExtra, SereneError
from serene.inference import NETWORKS
from serene.inference.folder import BUNDLED, GRAPHS, TENSORS, ModelFolder
from serene.models.network import Network


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
        onnx = registry.load("onnx", NETWORKS, "network")
        network = onnx(graph, len(folder.task.names), threads=threads or 1, precision=precision)
        _refuse_misfit(folder, network.session)
        return network
    if graph is None and not (folder.path / TENSORS).is_file():
        raise SereneError(f"{folder.path} holds no weights: neither {GRAPHS['fp32']} nor {TENSORS} is there.")
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
