"""A model folder, read without its weights: found on disk, on the hub or in the package, and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from serene.audio.mfcc import CEPSTRA
from serene.errors import SereneError
from serene.files import load_json, tidy
from serene.models import weights
from serene.models.parts import FORMAT, Parts
from serene.speaker import Need
from serene.task import Task, task_of_model

BUNDLED = Path(__file__).parents[1] / "bundled"
CONFIG, PREPROCESSOR, TENSORS, METRICS = "config.json", "preprocessor_config.json", "model.safetensors", "metrics.json"
CARD = "README.md"
GRAPHS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}  # by precision
TEMPERATURES = (1e-3, 1e3)  # far beyond what is fitted, where scores are still numbers
WANTED = [CONFIG, PREPROCESSOR, TENSORS, METRICS, *GRAPHS.values(), "*.onnx.data", CARD, "trained_on.json"]


@dataclass(frozen=True)
class ModelFolder:
    """What a model's files say of it.

    Attributes:
        path: the folder.
        name: for people: the folder's or hub's name, or `bundled`.
        config: of `config.json`.
        preprocessor: of `preprocessor_config.json`: the front end and its settings.
        parts: what stands around the encoder.
    """

    path: Path
    name: str
    config: dict[str, Any]
    preprocessor: dict[str, Any]
    parts: Parts

    @classmethod
    def find(cls, model: str | Path | None = None) -> ModelFolder:
        """Find and read a model: a folder, a name on the Hugging Face hub, or the bundled one.

        Raises:
            SereneError: there is none, a file is missing or damaged, or a newer serene wrote it.
            MissingExtra: a hub name, without `huggingface_hub`.
        """
        if model is None:
            if not (BUNDLED / CONFIG).is_file():
                raise SereneError("This installation has no bundled model; name one: a model folder or a hub name.")
            return cls.read(BUNDLED, "bundled")
        folder = Path(model).expanduser()
        if not folder.exists():
            tidy(folder)  # a run may have been killed while it replaced the folder
        if folder.is_dir():
            return cls.read(folder, folder.resolve().name)
        if "/" not in str(model) or Path(model).exists():
            raise SereneError(f"There is no model folder '{model}'; name one, or a hub name such as someone/model.")
        return cls.read(weights.from_hub(str(model), WANTED), str(model))

    @classmethod
    def read(cls, path: Path, name: str) -> ModelFolder:
        """Read a folder's small files.

        Raises:
            SereneError: as `find`.
        """
        config, preprocessor = _read(path / CONFIG), _read(path / PREPROCESSOR)
        if config.get("model_type") != "serene":
            raise SereneError(f"{path} holds a model of another project (model_type {config.get('model_type')!r}).")
        try:
            if not isinstance(config["format"], int):
                raise _odd(path, f"the format is {config['format']!r}")
            if config["format"] > FORMAT:
                raise SereneError(f"{path} was written by a newer serene (format {config['format']}); update serene.")
            folder = cls(path, name, config, preprocessor, Parts(**config["parts"]))
            odd = _oddity(folder)
        except (KeyError, TypeError, ValueError) as error:
            raise _odd(path, repr(error)) from error
        if odd:
            raise _odd(path, odd)
        return folder

    @cached_property
    def task(self) -> Task:
        """What the model predicts."""
        return task_of_model(self.config)

    @property
    def temperature(self) -> float:
        """What logits are divided by before they become probabilities."""
        return float(self.config.get("temperature", 1.0))

    @property
    def needs(self) -> frozenset[Need]:
        """What the model asks of who speaks."""
        return self.parts.needs(self.config["normalize"])

    @property
    def widths(self) -> dict[Need, int]:
        """How wide that is which a profile brings of a speaker, where the model asks for it; empty if for nothing."""
        known: dict[Need, int] = {"features": self.config["width"], "cepstra": CEPSTRA.spec.width}
        known["embeddings"] = self.config.get("embedding_width", 0)
        return {need: width for need, width in known.items() if need in self.needs}

    @property
    def metrics(self) -> dict[str, Any] | None:
        """What was measured of the model; None where the folder does not say."""
        return _read(self.path / METRICS) if (self.path / METRICS).is_file() else None

    @property
    def card(self) -> str | None:
        """The text of its model card; None where there is none."""
        path = self.path / CARD
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    @property
    def trained(self) -> Path:
        """The folder, whose weights torch reads.

        Raises:
            SereneError: there are none: the folder answers by its ONNX file alone.
        """
        if not (self.path / TENSORS).is_file():
            raise SereneError(
                f"{self.path} holds no {TENSORS}: it answers by its ONNX file, and nothing else. Name the folder "
                "that the training wrote."
            )
        return self.path

    def graph(self, precision: str) -> Path | None:
        """Give the ONNX file of a precision; None where the folder has none."""
        path = self.path / GRAPHS.get(precision, "")
        return path if path.is_file() else None

    @cached_property
    def identity(self) -> str:
        """Identify the model by its weights and front end, wherever the folder lies and whatever was added to it.

        A folder without `model.safetensors` is identified by its ONNX file.

        Raises:
            SereneError: there are no weights.
        """
        kept = next((name for name in (TENSORS, *GRAPHS.values()) if (self.path / name).is_file()), TENSORS)
        try:
            with (self.path / kept).open("rb") as file:
                found = file_digest(file, "sha256")
        except OSError as error:
            raise SereneError(f"Cannot read {self.path / kept}, which tells whose profile is whose: {error}") from error
        front_end = json.dumps(self.preprocessor, sort_keys=True)
        return sha256(found.digest() + front_end.encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = load_json(path)
    except FileNotFoundError as error:
        raise SereneError(f"{path.parent} is not a readable model folder: it has no {path.name}.") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SereneError(
            f"{path.parent} is not a readable model folder: {path.name} cannot be read ({why})."
        ) from error
    if not isinstance(content, dict):
        raise _odd(path.parent, f"{path.name} holds no mapping")
    return content


def _oddity(folder: ModelFolder) -> str | None:
    """Say what in a config cannot be meant; None where all is well."""
    emotions = folder.config["emotions"]
    if not isinstance(emotions, list) or not emotions or not all(isinstance(name, str) for name in emotions):
        return f"emotions are {emotions!r}"
    if len(set(emotions)) < len(emotions):
        return f"an emotion is there twice: {', '.join(emotions)}"
    if not TEMPERATURES[0] <= folder.temperature <= TEMPERATURES[1]:
        return f"the temperature is {folder.temperature}, and {TEMPERATURES[0]} to {TEMPERATURES[1]} was expected"
    if not isinstance(folder.config["width"], int) or folder.config["width"] < 1:
        return f"the width is {folder.config['width']!r}"
    wanted = {"normalize", "enrolment_prior", "dimensions"}
    wanted |= {"embedding_width"} if folder.parts.embedding_norm == "speaker" else set()
    missing = wanted - set(folder.config)
    if missing:
        return f"{', '.join(sorted(missing))} is missing"
    if {"features", "embeddings"} <= folder.needs:
        return "it standardises both features and embeddings by speaker"
    embedding = folder.config.get("embedding_width", 1)
    return None if isinstance(embedding, int) and embedding > 0 else f"the embedding_width is {embedding!r}"


def _odd(path: Path, what: str) -> SereneError:
    return SereneError(f"{path} is not a readable model folder: its config.json is odd ({what}).")
