"""A model folder gets the ONNX file that answers without torch, held against PyTorch before anything is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serene import sound
from serene.audio import kind_of
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.evaluation import metrics
from serene.export.hub import SENT
from serene.export.onnx_graph import example, quiet, store_in_8_bits, trace
from serene.files import whole_folder
from serene.inference.folder import CARD, GRAPHS, TENSORS, ModelFolder
from serene.inference.network import OnnxNetwork
from serene.inference.recognizer import Recognizer
from serene.models.model import EmotionModel
from serene.models.scoring import TorchNetwork
from serene.reporting.model_card import onnx_card

ALLOWED = 1e-4  # largest difference from PyTorch's logits and embedding with which a graph is written
LENGTHS = ((50,), (20, 77, 31), (300, 12, 25, 44))  # of the clips that are compared, in frames of a front end
SAMPLES = ((16_000,), (8_000, 24_000, 11_111), (48_000, 5_000, 20_001, 9_999))  # the same of waveforms
TOGETHER = 64  # labelled clips that are held at once
KEPT = (*SENT, "trained_on.json")  # files of a model folder


@dataclass(frozen=True)
class Comparison:
    """One batch of random clips, by the graph and by PyTorch."""

    lengths: tuple[int, ...]
    unit: str  # of the lengths: frames of a front end, or samples
    logits: float  # largest absolute difference
    embedding: float
    cosine: float  # the smallest of a clip's two embeddings


@dataclass(frozen=True)
class Labelled:
    """What quantising costs on so many labelled clips, in UA, or in the mean CCC of dimensions."""

    measure: str
    clips: int
    fp32: float
    int8: float


@dataclass(frozen=True)
class Parity:
    """How far the full and the quantised graphs are from PyTorch, batch by batch, and what quantising costs."""

    fp32: tuple[Comparison, ...]
    int8: tuple[Comparison, ...] = ()
    small: tuple[Comparison, ...] = ()
    labelled: Labelled | None = None

    @property
    def worst(self) -> float:
        """The largest difference of the full graph."""
        return max(max(row.logits, row.embedding) for row in self.fp32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say it in sentences, one to a line."""
        said = []
        full = GRAPHS["fp32"]
        named = ((full, self.fp32), (GRAPHS["int8"], self.int8), (f"{full} with weights of 8 bits", self.small))
        for name, rows in named:
            said += [
                f"{name}, batch of {len(row.lengths)}, up to {max(row.lengths)} {row.unit}: logits differ from "
                f"PyTorch's by {row.logits:.1e} at most, embeddings by {row.embedding:.1e} (cosine {row.cosine:.6f})"
                for row in rows
            ]
        if self.labelled is not None:
            found, full, small = self.labelled, 100 * self.labelled.fp32, 100 * self.labelled.int8
            points = f"{full:.2f} % in fp32, {small:.2f} % in int8 ({100 * (found.int8 - found.fp32):+.2f} points)"
            said.append(f"{found.measure} on {found.clips} labelled clips: {points}")
        return said


def export_onnx(
    folder: str | Path,
    out: str | Path,
    *,
    int8: bool = False,
    small: bool = False,
    manifest: str | Path | None = None,
) -> Parity:
    """Write a complete model folder with an ONNX file, all or nothing.

    Args:
        folder: a model folder or hub name.
        out: the folder to write; it may be `folder` itself, and is replaced where it is such an export already.
        int8: also write a file whose matrix products are quantised dynamically.
        small: write a folder that can do nothing but answer, a quarter of the size: the graph's weights are stored in
            8 bits and computed with in 32, and `model.safetensors` is left out.
        manifest: labelled clips, on which the drop by quantising is measured.

    Raises:
        SereneError: the model cannot be exported, its graph differs from PyTorch by more than 1e-4, or `out` holds
            something else.
        MissingExtra: `onnx` or `onnxscript` is not installed.
    """
    known, out = ModelFolder.find(folder), Path(out).expanduser().resolve()
    own = out == known.path.resolve()
    _refuse(known, out, own and small)
    if manifest is not None and not int8:
        raise SereneError("A labelled manifest tells what int8 costs; export with --int8, or without the manifest.")
    labelled = None if manifest is None else Manifest.read(manifest)
    model = EmotionModel.load(known.trained)
    with whole_folder(out) as temporary:
        _copy(known.path, temporary, whole=own)
        trace(model, temporary / GRAPHS["fp32"])
        parity = Parity(_compared(model, known, temporary, "fp32"))
        if parity.worst > ALLOWED:
            raise SereneError(
                f"The graph differs from PyTorch by {parity.worst:.1e}; {ALLOWED:g} is allowed. Nothing was written."
            )
        if int8:
            _quantise(temporary / GRAPHS["fp32"], temporary / GRAPHS["int8"])
            cost = None if labelled is None else _labelled(temporary, labelled)
            parity = replace(parity, int8=_compared(model, known, temporary, "int8"), labelled=cost)
        if small:
            store_in_8_bits(temporary / GRAPHS["fp32"])
            parity = replace(parity, small=_compared(model, known, temporary, "fp32"))
            (temporary / TENSORS).unlink()
        card = onnx_card(known.card, known.name, GRAPHS["fp32"], parity.lines())
        (temporary / CARD).write_text(card, encoding="utf-8")
    return parity


def _refuse(known: ModelFolder, out: Path, loses: bool) -> None:
    if loses:
        raise SereneError(f"--small leaves out model.safetensors: name another folder than {out}, which would lose it.")
    if out != known.path.resolve():
        refuse_to_replace(out, lambda former: (former / GRAPHS["fp32"]).is_file())
    if kind_of(known.preprocessor).declared.weights == "elsewhere":
        raise SereneError(
            f"{known.path} reads the outputs of a frozen encoder, which its graph would lack. Train the same with "
            "model={encoder: hubert, train: none} and the encoder's weights: the encoder is part of that model."
        )


def refuse_to_replace(out: Path, is_export: Callable[[Path], bool]) -> None:
    """Leave alone whatever is not an earlier export: a folder is replaced with all that lies in it.

    Raises:
        SereneError: `out` is a file, or holds something that no export writes.
    """
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if (held and (held - set(KEPT) or not is_export(out))) or (out.exists() and not out.is_dir()):
        raise SereneError(f"{out} holds something else than an earlier export; name another folder.")


def _copy(folder: Path, out: Path, *, whole: bool) -> None:
    graphs = {name for graph in GRAPHS.values() for name in (graph, f"{graph}.data")}
    if whole:
        shutil.copytree(folder, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*graphs))
        return
    for name in KEPT:
        if name not in graphs and (folder / name).is_file():
            shutil.copy(folder / name, out)


def _compared(model: EmotionModel, folder: ModelFolder, exported: Path, precision: str) -> tuple[Comparison, ...]:
    graph = OnnxNetwork(exported / GRAPHS[precision], len(folder.task.names), precision=precision)
    reference = TorchNetwork(EmotionModel.load(folder.path))
    batches, unit = (LENGTHS, "frames") if model.encoder.shortest == 1 else (SAMPLES, "samples")
    batches = (*batches, (model.encoder.window + 100, 40)) if model.encoder.window else batches
    rows = []
    for seed, lengths in enumerate(batches):
        inputs = example(model, [max(length, model.encoder.shortest) for length in lengths], seed)
        (logits, one), (own_logits, other) = reference(inputs), graph(inputs)
        norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        cosines = (one * other).sum(axis=1) / np.maximum(norms, 1e-12)
        by_logits, by_embedding = np.abs(logits - own_logits).max(), np.abs(one - other).max()
        largest = float(by_logits), float(by_embedding), float(cosines.min())
        rows.append(Comparison(tuple(inputs.lengths.tolist()), unit, *largest))
    return tuple(rows)


def _quantise(path: Path, out: Path) -> None:
    """Quantise the weights of matrix products to 8 bits; what they are multiplied with is quantised as it comes."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    graph = onnx.load(path)
    del graph.graph.value_info[:]  # shapes of weights among them, which the quantiser turns round without a look here
    with quiet():  # it asks for a step that gains nothing here
        quantize_dynamic(graph, out, op_types_to_quantize=["MatMul", "Gemm"], extra_options={"MatMulConstBOnly": True})


def _labelled(folder: Path, manifest: Manifest) -> Labelled:
    """Score the clips of a manifest that have one of the model's labels by both graphs."""
    full, small = (Recognizer.load(folder, device="cpu", precision=precision) for precision in ("fp32", "int8"))
    clips = [clip for clip in manifest if full.folder.task.labels(clip)]
    if not clips:
        raise SereneError(f"No clip of the manifest has one of the model's labels: {', '.join(full.labels)}.")
    answers: dict[str, list[np.ndarray]] = {"fp32": [], "int8": []}
    truth: list[Utterance] = []
    for start in range(0, len(clips), TOGETHER):
        some = clips[start : start + TOGETHER]
        read = [full.extract(sound.read(clip.audio, clip.start, clip.duration), sound.SAMPLE_RATE) for clip in some]
        truth += [clip for clip, own in zip(some, read, strict=True) if own.note is None]
        for name, model in (("fp32", full), ("int8", small)):
            said = model.answer([own for own in read if own.note is None])
            answers[name] += [np.array([answer.scores[label] for label in full.labels]) for answer in said]
    metric, targets = full.folder.task.metric, full.folder.task.targets(truth).astype(np.float64)
    measured = {name: metrics.OF_TASK[metric](targets, np.stack(rows))[metric] for name, rows in answers.items()}
    return Labelled(metric.upper(), len(truth), measured["fp32"], measured["int8"])
