"""Encoders of transformers: their config, from a folder, huggingface.co or a recipe, and their weights."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import transformers
from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import StrictDataclassError
from pydantic import Field, StrictBool, StrictFloat, StrictInt
from safetensors import SafetensorError
from transformers.utils import logging

from serene.errors import SereneError, unknown

# a recipe's values are words: "128" becomes 128 and "true" True; what has a type already keeps it
Value = Annotated[
    StrictBool | StrictInt | StrictFloat | list[int] | int | float | bool | str | None,
    Field(union_mode="left_to_right"),
]
Config = dict[str, Value]
FAMILIES = {
    "hubert": transformers.HubertModel,
    "wav2vec2": transformers.Wav2Vec2Model,
    "wavlm": transformers.WavLMModel,
}
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
PATIENCE = 5  # seconds to wait for huggingface.co
NOT_THE_ENCODERS = {"_name_or_path", "architectures", "dtype", "id2label", "label2id", "transformers_version"}
NOT_READ = (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError)


def described(weights: str | None, config: Config | None) -> tuple[transformers.PretrainedConfig, Path | None]:
    """Read what encoder is meant; return its transformers config and the folder that holds its weights.

    Args:
        weights: a folder, or a name on huggingface.co; it is downloaded where it is not on this machine yet.
        config: settings of a transformers config, for random weights; there is no folder then.

    Raises:
        SereneError: both or none are given, nothing is found, or the config is not one of a known encoder.
    """
    if (weights is None) == (config is None):
        raise SereneError(
            "An encoder needs either model.weights (a folder, or a name on huggingface.co such as "
            "facebook/hubert-base-ls960) or model.config (such as {model_type: hubert, num_hidden_layers: 2}, "
            f"for random weights); {'none' if weights is None else 'both'} of them were given."
        )
    if weights is None:
        return _configured(dict(config or {}), "model.config", known_only=True), None
    folder = _folder(weights)
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SereneError(f"Cannot read {folder / CONFIG}: {error}") from error
    return _configured(values, str(folder / CONFIG)), folder


def plain(config: transformers.PretrainedConfig) -> Config:
    """Write all of a config that decides what an encoder computes as plain data, which `described` reads back."""
    values = json.loads(config.to_json_string(use_diff=False))
    return {key: values[key] for key in sorted(_settings(type(config)) & set(values))}


def cut(config: transformers.PretrainedConfig, layers: int | None) -> bool:
    """Make a config that of its first so many transformer layers; tell whether any was cut off."""
    whole = config.num_hidden_layers
    if layers is None:
        return False
    if not 1 <= layers <= whole:
        raise SereneError(f"model.layers is {layers}, but the encoder has {whole} layers; 1 to {whole} was expected.")
    config.num_hidden_layers = layers
    return layers < whole


def built(config: transformers.PretrainedConfig, folder: Path | None) -> transformers.PreTrainedModel:
    """Build an encoder with the weights of a folder, of any task's model, or with random ones.

    Raises:
        SereneError: the config contradicts itself, or the weights cannot be read or do not fit it.
    """
    family = FAMILIES[config.model_type]
    if folder is None:
        try:
            return family(config)
        except (ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError) as error:
            raise SereneError(f"transformers cannot build an encoder of model.config: {error!r}") from error
    try:
        with _silence():
            model, report = family.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except NOT_READ as error:
        raise SereneError(f"Cannot read the weights in {folder}: {error}") from error
    missing = set(report["missing_keys"]) - {"masked_spec_embed"}  # only SpecAugment uses it
    misfits = [f"{key} is missing" for key in sorted(missing)]
    misfits += [f"{key} is {tuple(a)}, not {tuple(b)}" for key, a, b in sorted(report["mismatched_keys"])]
    if misfits:
        more = f" and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise SereneError(f"The weights in {folder} do not fit the config there: {'; '.join(misfits[:3])}{more}.")
    return model


def _configured(values: Any, source: str, *, known_only: bool = False) -> transformers.PretrainedConfig:
    if not isinstance(values, Mapping):
        raise SereneError(f"{source} is {values!r}; a mapping was expected, such as {{model_type: hubert}}.")
    family = str(values.get("model_type", "hubert"))
    if family not in FAMILIES:
        raise SereneError(f"{source}: {unknown('model_type', family, FAMILIES)}")
    kind = FAMILIES[family].config_class
    for key in values if known_only else ():
        if key not in _settings(kind):
            raise SereneError(unknown(f"setting in {source}", key, _settings(kind)))
    try:
        config = kind.from_dict({**values, "apply_spec_augment": False, "layerdrop": 0.0})
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise SereneError(f"{source} is no config of transformers: {error}") from error
    if getattr(config, "add_adapter", False):
        raise SereneError(f"{source} has add_adapter, convolutions after the encoder, which serene does not read.")
    return config


def _settings(kind: type[transformers.PretrainedConfig]) -> set[str]:
    return set(kind().to_dict()) - NOT_THE_ENCODERS


def _folder(weights: str) -> Path:
    """Return the folder that holds an encoder, which may be one of the hub's cache."""
    folder = Path(weights).expanduser()
    if not folder.is_dir():
        return _from_cache(weights) or _from_hub(weights)
    lacking = [] if (folder / CONFIG).exists() else [CONFIG]
    if not any((folder / f"{name}{index}").exists() for name in WEIGHTS for index in ("", ".index.json")):
        lacking.append(" or ".join(WEIGHTS))
    if lacking:
        raise SereneError(f"The folder {folder} lacks {' and '.join(lacking)}, which an encoder is loaded from.")
    return folder


def _from_cache(name: str) -> Path | None:
    with contextlib.suppress(ValueError):  # of what can be no name
        config = try_to_load_from_cache(name, CONFIG)
        if isinstance(config, str) and any((Path(config).parent / file).exists() for file in WEIGHTS):
            return Path(config).parent
    return None


def _from_hub(name: str) -> Path:
    try:
        # asked first, since it answers at once where there is no network: a download would be tried again and again
        listed = {file.rfilename for file in HfApi().model_info(name, timeout=PATIENCE).siblings or ()}
        weights = next((file for file in WEIGHTS if file in listed), WEIGHTS[0])
        hf_hub_download(name, weights)
        return Path(hf_hub_download(name, CONFIG)).parent
    except Exception as error:  # of the hub or of its transport, which differ from version to version
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SereneError(
            f"There is no folder '{name}', the cache of huggingface_hub has no such encoder, and huggingface.co does "
            f"not give it ({reason}). Download {CONFIG}, preprocessor_config.json and {' or '.join(WEIGHTS)} from "
            f"https://huggingface.co/{name} into any folder, and set model.weights=FOLDER."
        ) from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
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
