"""HuBERT, wav2vec 2.0 and WavLM over waveforms, with frames that neither padding nor batch-mates can change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from serene.errors import SereneError
from serene.models import pretrained
from serene.models.encoder import Inside
from serene.models.layered import LayeredEncoder, Output, Trained, drop_attention_output_alone
from serene.models.masking import MaskedBatchNorm, mask_of


class Hubert(LayeredEncoder):
    """A self-supervised encoder of transformers, fine-tuned or frozen.

    Its weights carry the keys of the transformers model, `transformer`, which saves and loads them as ever. What it
    computes on a single clip is the same too; in a batch, the first convolution's group norm (Base) takes its
    statistics over each clip's own frames, and no layer sees padding. SpecAugment and layer drop are off.

    Args:
        width: 1, a waveform's.
        weights: a folder with `config.json` and the weights, or a name on huggingface.co.
        config: a transformers config (`model_type`: hubert, wav2vec2 or wavlm) for an encoder with random weights.
        layers: keep the first so many transformer layers, and neither load nor compute the others.
        output: frames of the last layer kept, or a sum of the first layer's input and all layers' outputs, weighted
            by a learned softmax that starts even (SUPERB, Yang et al. 2021). The layer norm that ends the pre-norm
            (Large) families belongs to the last layer of the whole encoder alone: neither a cut nor a sum has it.
        train: everything, all but the convolutions (`transformer`), low-rank adapters on the queries and values (LoRA,
            Hu et al. 2021), nothing, or the last so many layers. A weighted sum is always learned.
        lora_rank: of the adapters.
        checkpointing: compute each layer again on the way back instead of keeping its activations.
        attention_output_dropout: of what each layer's attention gives, before it is added to what went in, and no other
            dropout anywhere (Kang et al. 2023); the config's own dropouts without it.

    Attributes:
        stride: samples from one frame to the next.

    Raises:
        SereneError: the encoder is not described or not found, or its weights, layers or config do not fit.
        MissingExtra: LoRA without `peft`.
    """

    front_end = "waveform"
    stock = True
    normalize = "utterance"
    families = pretrained.FAMILIES

    def __init__(
        self,
        width: int,
        *,
        weights: str | None = None,
        config: pretrained.Config | None = None,
        layers: int | None = None,
        output: Output = "last",
        train: Trained | int = "transformer",
        lora_rank: int = 8,
        checkpointing: bool = False,
        attention_output_dropout: float | None = None,
    ) -> None:
        """Load the encoder, or make one with random weights."""
        super().__init__()
        if width != 1:
            raise SereneError(f"This encoder reads waveforms, 1 value per sample; {width} per frame were given.")
        described, folder = pretrained.described(weights, config)
        self.rebuilt = {"weights": None, "config": pretrained.plain(described), "layers": layers, "output": output}
        self.rebuilt |= {"train": train, "lora_rank": lora_rank, "checkpointing": checkpointing}
        self.rebuilt["attention_output_dropout"] = attention_output_dropout
        cut = pretrained.cut(described, layers)
        drop_attention_output_alone(described, attention_output_dropout)
        self.transformer = pretrained.built(described, folder)
        for layer in self.layers:
            layer.dropout.p = layer.dropout.p if attention_output_dropout is None else attention_output_dropout
        self.pre_norm = bool(described.do_stable_layer_norm)
        self.steps = tuple(zip(described.conv_kernel, described.conv_stride, strict=True))
        self.stride = math.prod(described.conv_stride)
        self.out_width, self.convolved_width = described.hidden_size, described.conv_dim[-1]
        self.shortest = receptive_field(self.steps)
        _make_exact(self.transformer)
        self.begin(cut, output, train, lora_rank, checkpointing)

    def mask_after(self, mask: Tensor) -> Tensor:
        """Turn a mask of samples (batch, sample) into one of the frames that see sound alone: (batch, frame)."""
        return _mask_after(mask, self.steps)

    @property
    def layers(self) -> Any:
        """The transformer's layers."""
        return self.transformer.encoder.layers

    @property
    def convolutions(self) -> nn.Module:
        """All before the projection to the layers' width."""
        return self.transformer.feature_extractor

    @property
    def final_norm(self) -> nn.Module | None:
        """Of pre-norm (Large) families; in the others the norm comes before the first layer."""
        return self.transformer.encoder.layer_norm if self.pre_norm else None

    def convolved(self, values: Tensor, mask: Tensor) -> Tensor:
        """Convolve waveforms (batch, sample, 1): (batch, frame, convolved_width)."""
        layers: Any = self.convolutions.conv_layers
        first, *rest = layers
        frames = values.squeeze(-1).masked_fill(~mask, 0).unsqueeze(1)
        if isinstance(first.layer_norm, nn.GroupNorm):
            frames = _channel_norm(first.layer_norm, first.conv(frames), _mask_after(mask, self.steps[:1]))
            frames = first.activation(frames)
        else:
            frames = first(frames)
        for layer in rest:
            frames = layer(frames)
        return frames.transpose(1, 2)

    def entered(self, frames: Tensor, sound: Tensor, inside: Inside) -> Tensor:
        """Project the frames, hide some, and add where they stand."""
        encoder = self.transformer.encoder
        frames = _first(self.transformer.feature_projection(frames))
        if inside.masked is not None:
            hider = self.transformer.masked_spec_embed.to(frames.dtype)
            frames = torch.where(inside.masked.unsqueeze(-1), hider, frames)
        frames = frames.masked_fill(~sound.unsqueeze(-1), 0)
        frames = frames + _positions(encoder.pos_conv_embed, frames, sound)
        return encoder.dropout(frames if self.pre_norm else encoder.layer_norm(frames))

    def upper(self, frames: Tensor, sound: Tensor, first: int) -> Iterator[Tensor]:
        """Give what comes out of each layer; WavLM's first one makes the position bias that all of them read."""
        carried: dict[str, Tensor] = {}
        if first and isinstance(self.layers[0].attention, WavLMAttention):
            bias = self.layers[0].attention.compute_bias(frames.shape[1], frames.shape[1])
            carried["position_bias"] = bias.repeat(len(frames), 1, 1)
        for layer in self.layers[first:]:
            output = self.run(layer, frames, attention_mask=sound[:, None, None, :], **carried)
            frames = _first(output)
            if isinstance(layer.attention, WavLMAttention):
                carried["position_bias"] = output[1]
            yield frames


class _Attention(WavLMAttention):
    """WavLM's attention through its own projections, which adapters wrap, and PyTorch's fused kernel."""

    def torch_multi_head_self_attention(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, hidden_states: Tensor, attention_mask: Tensor, gated_position_bias: Tensor, *_: Any
    ) -> tuple[Tensor, None]:
        batch, frames, _width = hidden_states.shape
        split = (batch, frames, self.num_heads, self.head_dim)
        projections = (self.q_proj, self.k_proj, self.v_proj)
        query, key, value = (project(hidden_states).view(split).transpose(1, 2) for project in projections)
        bias = gated_position_bias.view(batch, self.num_heads, frames, frames).masked_fill(~attention_mask, -torch.inf)
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, bias.to(query.dtype), self.dropout if self.training else 0.0
        )
        heads = attended.unbind(dim=1)  # joined so, since a view of them fits no other length where a graph is exported
        return self.out_proj(torch.cat(heads, dim=-1)), None


def _make_exact(model: nn.Module) -> None:
    """Exchange the layers that mix padding in or go around adapters; parameters and keys stay as they are."""
    for module in model.modules():
        if isinstance(module, WavLMAttention):
            module.__class__ = _Attention
        elif isinstance(module, nn.BatchNorm1d):  # before the positional convolution of some HuBERTs
            module.__class__ = MaskedBatchNorm


def _channel_norm(norm: nn.GroupNorm, frames: Tensor, sound: Tensor) -> Tensor:
    """Apply a group norm of one channel per group to (batch, channel, frame), its statistics over sound alone.

    These are the encoder's largest arrays, so the frames are overwritten rather than copied.
    """
    silence, count = ~sound.unsqueeze(1), sound.sum(dim=1).clamp(min=1)[:, None, None]
    wide = frames.float().masked_fill_(silence, 0)
    centred = wide.sub_(wide.sum(dim=-1, keepdim=True) / count).masked_fill_(silence, 0)
    variance = torch.linalg.vector_norm(centred, dim=-1, keepdim=True).square() / count
    scale = norm.weight[:, None] * torch.rsqrt(variance + norm.eps)
    return torch.addcmul(norm.bias[:, None], centred, scale).to(frames.dtype)


def _positions(embed: Any, frames: Tensor, sound: Tensor) -> Tensor:
    """Give the convolutional position embedding of (batch, frame, feature) whose padding is zero."""
    if getattr(embed, "batch_norm", None) is not None:
        frames = embed.batch_norm(frames, sound).masked_fill(~sound.unsqueeze(-1), 0)
    return embed.activation(embed.padding(embed.conv(frames.transpose(1, 2)))).transpose(1, 2)


def _mask_after(mask: Tensor, steps: tuple[tuple[int, int], ...]) -> Tensor:
    lengths, longest = mask.sum(dim=1), mask.shape[1]
    for kernel, stride in steps:
        lengths, longest = (lengths - kernel) // stride + 1, (longest - kernel) // stride + 1
    return mask_of(lengths, longest)


def receptive_field(steps: Sequence[tuple[int, int]]) -> int:
    """Count the samples that one frame sees, after convolutions of so many (kernel, stride)."""
    samples = 1
    for kernel, stride in reversed(steps):
        samples = (samples - 1) * stride + kernel
    return samples


def _first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
