"""Encoders of transformers: read from a folder or the hub, or described by a recipe; checked, and built."""

from __future__ import annotations

import contextlib
import functools
import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from pydantic import Field, StrictBool, StrictFloat, StrictInt
from safetensors import SafetensorError
from transformers.utils import logging

from serene.errors import SereneError, unknown
from serene.files import load_json
from serene.models.weights import CONFIG, find

# a recipe's values are words: "128" becomes 128 and "true" True; what has a type already keeps it
Value = Annotated[
    StrictBool | StrictInt | StrictFloat | list[int] | int | float | bool | str | None,
    Field(union_mode="left_to_right"),
]
Config = dict[str, Value]
Families = Mapping[str, Any]  # model_type of a config -> the class of transformers that reads it
FAMILIES: Families = {
    "hubert": transformers.HubertModel,
    "wav2vec2": transformers.Wav2Vec2Model,
    "wavlm": transformers.WavLMModel,
}
EXAMPLES = {"hubert": "facebook/hubert-base-ls960", "whisper": "openai/whisper-base"}
STILL = {"apply_spec_augment": False, "layerdrop": 0.0, "encoder_layerdrop": 0.0}  # settings that are always so
NOT_THE_ENCODERS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
RUNS = {"attn_implementation", "_attn_implementation", "_attn_implementation_internal", "auto_map"}  # names code
NOT_READ = (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError)


def described(
    weights: str | None, config: Config | None, families: Families = FAMILIES
) -> tuple[transformers.PretrainedConfig, Path | None]:
    """Read what encoder is meant; return its transformers config and the folder that holds its weights.

    Args:
        weights: a folder, or a name on huggingface.co.
        config: settings of a transformers config, for random weights; there is no folder then.
        families: those that the encoder may be of.

    Raises:
        SereneError: both or none are given, nothing is found, or the config is not one of a known encoder.
    """
    if (weights is None) == (config is None):
        first = next(iter(families))
        raise SereneError(
            "An encoder needs either model.weights (a folder, or a name on huggingface.co such as "
            f"{EXAMPLES[first]}) or model.config (such as {{model_type: {first}, num_hidden_layers: 2}}, "
            f"for random weights); {'none' if weights is None else 'both'} of them were given."
        )
    if weights is None:
        return _configured(dict(config or {}), "model.config", families, known_only=True), None
    folder = find(weights)
    try:
        values = load_json(folder / CONFIG)
    except (OSError, ValueError) as error:
        raise SereneError(f"Cannot read {folder / CONFIG}: {error}") from error
    return _configured(values, str(folder / CONFIG), families), folder


def plain(config: transformers.PretrainedConfig) -> Config:
    """Write all of a config that decides what an encoder computes as plain data, which `described` reads back."""
    values = json.loads(config.to_json_string(use_diff=False))
    known = _settings(type(config)) & set(values)
    return {key: values[key] for key in sorted(known) if not isinstance(values[key], dict)}


def cut(config: transformers.PretrainedConfig, layers: int | None) -> bool:
    """Make a config that of its first so many transformer layers; tell whether any was cut off."""
    whole = config.num_hidden_layers
    if layers is None:
        return False
    if not 1 <= layers <= whole:
        raise SereneError(f"model.layers is {layers}, but the encoder has {whole} layers; 1 to {whole} was expected.")
    set_layers(config, layers)
    return layers < whole


def set_layers(config: transformers.PretrainedConfig, layers: int) -> None:
    """Give a config another number of layers, whose name depends on the family, and on the version of transformers."""
    config.num_hidden_layers = layers
    if hasattr(config, "encoder_layers"):
        config.encoder_layers = layers


def built(
    config: transformers.PretrainedConfig,
    folder: Path | None,
    families: Families = FAMILIES,
    renamed: dict[str, str] | None = None,
) -> Any:
    """Build an encoder with the weights of a folder, of any task's model, or with random ones.

    Args:
        config: of a family.
        folder: holds the weights; None for random ones.
        families: those that the encoder may be of.
        renamed: patterns of the files' keys -> what they become in the encoder.

    Raises:
        SereneError: the config contradicts itself, or the weights cannot be read or do not fit it.
    """
    family = families[config.model_type]
    if folder is None:
        try:
            return family(config)
        except (ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError) as error:
            raise SereneError(f"transformers cannot build an encoder of model.config: {error!r}") from error
    try:
        with silence():
            model, report = family.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                key_mapping=renamed,
            )
    except NOT_READ as error:
        unsafe = isinstance(error, pickle.UnpicklingError)  # torch's own words say how to run the file's code
        reason = "pytorch_model.bin is damaged or holds more than tensors: save model.safetensors" if unsafe else error
        raise SereneError(f"Cannot read the weights in {folder}: {reason}") from error
    missing = set(report["missing_keys"]) - {"masked_spec_embed"}  # only SpecAugment uses it
    misfits = [f"{key} is missing" for key in sorted(missing)]
    reshaped = (key if isinstance(key, str) else key[0] for key in report["mismatched_keys"])  # transformers 4 or 5
    misfits += [f"{key} has another shape" for key in sorted(reshaped)]
    if misfits:
        more = f" and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise SereneError(f"The weights in {folder} do not fit the config there: {'; '.join(misfits[:3])}{more}.")
    return model


def _configured(
    values: Any, source: str, families: Families, *, known_only: bool = False
) -> transformers.PretrainedConfig:
    first = next(iter(families))
    if not isinstance(values, Mapping):
        raise SereneError(f"{source} is {values!r}; a mapping was expected, such as {{model_type: {first}}}.")
    family = str(values.get("model_type", first))
    if family not in families:
        raise SereneError(f"{source}: {unknown('model_type', family, families)}")
    kind = families[family].config_class
    for key in values if known_only else ():
        if key not in _settings(kind):
            raise SereneError(unknown(f"setting in {source}", key, _settings(kind)))
    values = {key: value for key, value in values.items() if key not in RUNS}  # of kernels, some on the hub
    try:
        config = kind.from_dict({**values, **{key: STILL[key] for key in STILL.keys() & _settings(kind)}})
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise SereneError(f"{source} is no config of transformers: {error}") from error
    if getattr(config, "add_adapter", False):
        raise SereneError(f"{source} has add_adapter, convolutions after the encoder, which serene does not read.")
    return config


@functools.cache  # to make a config takes a hundredth of a second, and every setting asks
def _settings(kind: type[transformers.PretrainedConfig]) -> set[str]:
    return set(kind().to_dict()) - NOT_THE_ENCODERS


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep transformers from reporting heads that are not loaded, which is what is wanted, and from drawing a bar."""
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
