"""Which models have their like among the classifiers of transformers, and which one that is."""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from serene.models.hubert import Hubert
from serene.models.model import EmotionModel

STOCK = {
    "hubert": transformers.HubertForSequenceClassification,
    "wav2vec2": transformers.Wav2Vec2ForSequenceClassification,
    "wavlm": transformers.WavLMForSequenceClassification,
}
NOTHING = -1e4  # whose softmax is zero exactly, in half precision too


def obstacles(model: EmotionModel, preprocessor: dict[str, Any]) -> list[str]:
    """Say in a sentence each what of a model transformers' classifiers of audio have no place for.

    They are an encoder, its last frames or a weighted sum over its layers, a linear map, the mean over frames, and
    another linear map.
    """
    parts, reasons = model.parts, []
    if not isinstance(model.encoder, Hubert):
        reasons.append(
            f"Its encoder is {model.config['encoder']}; transformers knows HuBERT, wav2vec 2.0 and WavLM "
            "(model.encoder: hubert)."
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
    config.num_hidden_layers += added
    config.use_weighted_layer_sum = shares is not None
    config.classifier_proj_size = len(projector[1])
    config.id2label = dict(enumerate(model.task.names))
    config.label2id = {name: index for index, name in enumerate(model.task.names)}
    config.problem_type = model.task.problem
    stock: Any = STOCK[config.model_type](config)
    state = _state(encoder.transformer)
    last = f"encoder.layers.{config.num_hidden_layers - 1}."
    if added:
        state |= {k: torch.zeros_like(v) for k, v in stock.base_model.state_dict().items() if k.startswith(last)}
    stock.base_model.load_state_dict(state)
    with torch.no_grad():
        for layer, (weight, bias) in ((stock.projector, projector), (stock.classifier, classifier)):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        if shares is not None:
            stock.layer_weights.copy_(shares)
    return stock.eval()


def _shares(encoder: Hubert) -> Tensor | None:
    """Give what a softmax turns into shares of what goes into the first layer and comes out of each; None for the last.

    Shape: (1 + layer,), the layer that is added for it included.
    """
    own = encoder.layer_weights
    if own is None and (encoder.ends_in_norm or not encoder.pre_norm):
        return None
    if own is None:
        own = torch.full((1 + len(encoder.transformer.encoder.layers),), NOTHING)
        own[-1] = 0
    return torch.cat([own.detach(), own.new_full((1,), NOTHING)]) if encoder.pre_norm else own.detach()


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
