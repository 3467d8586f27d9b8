"""A model folder becomes a stock folder of transformers, where its structure allows it, with the same logits."""

from __future__ import annotations

import copy
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from serene.audio.batch import Batch, padded
from serene.audio.log_mel import LONGEST
from serene.errors import SereneError
from serene.export.to_onnx import refuse_to_replace
from serene.files import regular, whole_folder
from serene.inference.features import FeatureExtractor
from serene.inference.folder import CARD, CONFIG, ModelFolder
from serene.models.layered import LayeredEncoder
from serene.models.model import EmotionModel
from serene.models.pretrained import set_layers, silence
from serene.models.scoring import TorchNetwork
from serene.reporting.model_card import stock_card
from serene.sound import SAMPLE_RATE

TOLERANCE = 1e-4  # of the largest logit
SECONDS = (0.5, 1.3, 3.1, 6.2)  # of the clips that are compared, beside the shortest that the encoder takes
LOUD, QUIET = 0.1, 10 ** (-50 / 20)  # their root mean square


@dataclass(frozen=True)
class Likeness:
    """How near plain transformers comes to the model that was exported."""

    architecture: str  # the class in transformers
    seconds: tuple[float, ...]  # durations of the clips that both answered for, one at a time
    differences: tuple[float, ...]  # largest absolute difference of the logits, per clip
    largest: float  # absolute logit of them all
    quiet: float | None  # the difference for a clip at -50 dB; None where samples are not standardised
    notes: tuple[str, ...]  # what to know when using it there

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say it in sentences, one to a line."""
        durations = ", ".join(f"{seconds:.3g}" for seconds in self.seconds)
        lines = [
            f"{self.architecture}: logits of clips of {durations} s differ by {max(self.differences):.1e} at most; "
            f"the largest logit is {self.largest:.3g}."
        ]
        if self.quiet is not None:
            lines.append(
                f"A clip at -50 dB differs by {self.quiet:.1e}: transformers adds 1e-7 to the variance that it divides "
                "by."
            )
        return [*lines, *self.notes]


def export_transformers(folder: str | Path | None, out: str | Path) -> Likeness:
    """Write a folder that `AutoModelForAudioClassification` and `AutoFeatureExtractor` read, and compare the two.

    Args:
        folder: a model folder, or its name on the hub; the bundled model without one.
        out: replaced where it is such an export already.

    Raises:
        SereneError: the model's structure has no like in transformers (a sentence per reason), `out` holds something
            else, or the logits differ, which leaves nothing behind.
    """
    source, out = ModelFolder.find(folder), Path(out).expanduser().resolve()
    refuse_to_replace(out, _is_stock)
    network = TorchNetwork(EmotionModel.load(source.trained))
    reasons = obstacles(network.model, source.preprocessor)
    if reasons:
        raise SereneError(f"{source.name} does not become a model of plain transformers. {' '.join(reasons)}")
    notes = _notes(network.model, source.preprocessor)
    extractor = _extractor(network.model)
    with whole_folder(out) as temporary, silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers, about its own ways
        stock_model(network.model).save_pretrained(temporary)
        extractor.save_pretrained(temporary)
        card = stock_card(source.card, source.name, notes, temperature=source.temperature, gives=source.task.gives)
        (temporary / CARD).write_text(card, encoding="utf-8")
        likeness = _compare(source, network, temporary, notes)
        if not max(likeness.differences) <= TOLERANCE * likeness.largest:
            raise SereneError(f"Not written, since transformers computes something else. {likeness.lines()[0]}")
    return likeness


def _compare(source: ModelFolder, network: TorchNetwork, folder: Path, notes: list[str]) -> Likeness:
    """Let plain transformers, which knows nothing of the model but the folder, answer for the same clips."""
    extractor: Any = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    stock: Any = transformers.AutoModelForAudioClassification.from_pretrained(folder, local_files_only=True)
    front_end = FeatureExtractor.of(source).front_end

    @torch.inference_mode()
    def both(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ours, _ = network(Batch(*padded([front_end(samples)]), ids=("",)))
        inputs = extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return ours[0], stock(**inputs).logits[0].float().numpy()

    most = source.preprocessor.get("longest") or source.preprocessor.get("pad") or max(SECONDS)
    lengths = [int(network.model.encoder.shortest), *(round(min(s, most) * SAMPLE_RATE) for s in SECONDS)]
    pairs = [both(_sound(length, LOUD)) for length in lengths]
    ours, theirs = both(_sound(lengths[-1], QUIET))
    return Likeness(
        type(stock).__name__,
        tuple(round(length / SAMPLE_RATE, 4) for length in lengths),
        tuple(float(np.abs(ours - theirs).max()) for ours, theirs in pairs),
        max(float(np.abs(ours).max()) for ours, _ in pairs),
        float(np.abs(ours - theirs).max()) if getattr(extractor, "do_normalize", False) else None,
        tuple(notes),
    )


def _extractor(model: EmotionModel) -> Any:
    """Make what turns sound into what the stock encoder reads."""
    if model.config["encoder"] == "whisper":
        return transformers.WhisperFeatureExtractor(feature_size=model.config["width"])
    return transformers.Wav2Vec2FeatureExtractor(
        sampling_rate=SAMPLE_RATE, do_normalize=model.normalize == "utterance", return_attention_mask=True
    )


def _sound(samples: int, level: float) -> np.ndarray:
    """Make noise (sample,) that swells and fades, at a root mean square."""
    noise = np.random.default_rng(samples).standard_normal(samples)
    noise *= 1 + np.sin(np.arange(samples) * 2 * np.pi * 4 / SAMPLE_RATE)
    return (noise * level / np.sqrt(np.square(noise).mean())).astype(np.float32)


def _notes(model: EmotionModel, preprocessor: dict[str, Any]) -> list[str]:
    """Say what one has to know who uses the export in the place of the model."""
    notes, temperature, longest = [], model.temperature, preprocessor.get("longest")
    if temperature != 1:
        notes.append(
            f"Its scores are softmax(logits / {temperature:.6g}); the pipeline of transformers does not divide."
        )
    if longest is not None:
        notes.append(
            f"It was trained on the first {longest:g} s of a clip; give the extractor truncation=True, "
            f"max_length={round(longest * SAMPLE_RATE)}."
        )
    if getattr(model.encoder.transformer.config, "feat_extract_norm", None) == "group":
        notes.append(
            "Give it one clip at a time: in transformers, the first convolution of this encoder reads the padding of a "
            "batch."
        )
    if model.encoder.final_norm is not None and not model.encoder.ends_in_norm:
        notes.append("Its last layer is of zeros and counts nothing: it keeps the norm that ends the encoder away.")
    if "embeddings" in model.needs:
        notes.append("It answers as for speakers of whom nothing is known: transformers has no profiles.")
    return notes


def _is_stock(folder: Path) -> bool:
    try:
        described = regular(folder / CONFIG).read_text(encoding="utf-8")
        return any(f'"{kind.__name__}"' in described for kind in STOCK.values())
    except (OSError, ValueError):
        return False


STOCK = {
    "hubert": transformers.HubertForSequenceClassification,
    "wav2vec2": transformers.Wav2Vec2ForSequenceClassification,
    "wavlm": transformers.WavLMForSequenceClassification,
    "whisper": transformers.WhisperForAudioClassification,
}
NOTHING = -1e4  # whose softmax is zero exactly, in half precision too


def obstacles(model: EmotionModel, preprocessor: dict[str, Any]) -> list[str]:
    """Say in a sentence each what of a model transformers' classifiers of audio have no place for.

    They are an encoder, its last frames or a weighted sum over its layers, a linear map, the mean over frames, and
    another linear map.
    """
    parts, reasons = model.parts, []
    if not model.encoder.stock:
        reasons.append(
            f"Its encoder is {model.config['encoder']}; transformers knows HuBERT, wav2vec 2.0 and WavLM "
            "(model.encoder: hubert), and Whisper (model.encoder: whisper)."
        )
    if parts.pooling != "mean":
        reasons.append(f"Its pooling is {parts.pooling}; transformers takes the mean (model.pooling: mean).")
    if parts.projector != "none":
        reasons.append(f"Its projector ({parts.projector}) is not linear (model.projector: none).")
    if parts.speaker_embedding != "none":
        reasons.append(f"It is told who speaks (model.speaker_embedding: {parts.speaker_embedding}).")
    if len(model.head.hidden) and parts.head != "linear":
        reasons.append(
            f"The hidden layers of its head ({parts.head}) are not linear (model.head: linear, or model.hidden: [])."
        )
    if model.normalize not in ("utterance", "none"):
        reasons.append(
            f"It standardises sound by the {model.normalize.replace('_', ' ')}; transformers does so by the clip or "
            "not at all (features.normalize: utterance or none)."
        )
    if model.encoder.window is not None and preprocessor.get("pad") != LONGEST:
        reasons.append(
            "It reads clips as long as they are; transformers fills them up to 30 s, and takes the mean over the "
            "filling too (features.pad: 30)."
        )
    if preprocessor.get("fill", "none") != "none":
        reasons.append("It fills short clips up; transformers takes them as they are (features.fill: none).")
    if preprocessor.get("scale", "none") != "none" and model.normalize == "none":
        reasons.append("It divides clips by their peak, which transformers does not (features.scale: none).")
    return reasons


def stock_model(model: EmotionModel) -> transformers.PreTrainedModel:
    """Make the transformers model that gives a model's logits, of a model without `obstacles`.

    Transformers' pre-norm encoders end in a layer norm that neither a cut nor a weighted sum of ours has, and whether
    its sums see the last layer before or after that norm depends on the version. So such an encoder gets one layer
    more, of zeros, which counts nothing in a weighted sum over all layers; a cut becomes a sum of one layer alone.

    Args:
        model: nothing of it is changed.
    """
    encoder, shares = model.encoder, _shares(model.encoder)
    config = copy.deepcopy(encoder.transformer.config)
    added = 0 if shares is None else len(shares) - 1 - config.num_hidden_layers
    projector, classifier = _linear_maps(model)
    set_layers(config, config.num_hidden_layers + added)
    config.use_weighted_layer_sum = shares is not None
    config.classifier_proj_size = len(projector[1])
    config.id2label = dict(enumerate(model.task.names))
    config.label2id = {name: index for index, name in enumerate(model.task.names)}
    config.problem_type = model.task.problem
    stock: Any = STOCK[config.model_type](config)
    own: Any = stock.encoder if config.model_type == "whisper" else stock.base_model
    state = _state(encoder.transformer)
    last = f"layers.{config.num_hidden_layers - 1}."
    if added:
        added_keys = (last, f"encoder.{last}")
        state |= {k: torch.zeros_like(v) for k, v in own.state_dict().items() if k.startswith(added_keys)}
    own.load_state_dict(state)
    with torch.no_grad():
        for layer, (weight, bias) in ((stock.projector, projector), (stock.classifier, classifier)):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        if shares is not None:
            stock.layer_weights.copy_(shares)
    return stock.eval()


def _shares(encoder: LayeredEncoder) -> Tensor | None:
    """Give what a softmax turns into shares of what goes into the first layer and comes out of each; None for the last.

    Shape: (1 + layer,), the layer that is added for it included.
    """
    own = encoder.layer_weights
    pre_norm = encoder.final_norm is not None
    if own is None and (encoder.ends_in_norm or not pre_norm):
        return None
    if own is None:
        own = torch.full((1 + len(encoder.layers),), NOTHING)
        own[-1] = 0
    return torch.cat([own.detach(), own.new_full((1,), NOTHING)]) if pre_norm else own.detach()


def _linear_maps(model: EmotionModel) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Give weights and biases of the projector and the classifier: the mean over frames lets linear maps pass."""
    width = model.embedding_width
    weight, bias = torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    norm: Any = model.embedding_norm
    if norm is not None:  # over the training set, as for a speaker of no clips
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        weight, bias = torch.diag(scale), -scale * norm.running_mean.double()
    for layer in model.head.hidden:
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight.double() @ weight, layer.weight.double() @ bias + layer.bias.double()
    last, (mean, scale) = model.head.classify, model.output_scale
    return (weight, bias), (scale[:, None] * last.weight, scale * last.bias + mean)


def _state(transformer: nn.Module) -> dict[str, Tensor]:
    """Give an encoder's tensors by their plain keys; what adapters learnt goes into the weights that they wrap."""
    plain = {k.replace(".base_layer.", "."): v for k, v in transformer.state_dict().items() if "lora_" not in k}
    for name, module in transformer.named_modules():
        learnt: Any = getattr(module, "get_delta_weight", None)
        if learnt is not None:
            plain[f"{name}.weight"] = plain[f"{name}.weight"] + learnt("default")
    return plain
