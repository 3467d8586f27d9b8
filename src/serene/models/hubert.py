"""HuBERT, wav2vec 2.0 and WavLM over waveforms, with frames that neither padding nor batch-mates can change."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from serene.errors import MissingExtra, SereneError
from serene.models import pretrained
from serene.models.encoder import Encoder, Inside
from serene.models.masking import MaskedBatchNorm, mask_of

DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")  # of a config


class Hubert(Encoder):
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
        train: everything, all but the convolutions, low-rank adapters on the queries and values (LoRA, Hu et al.
            2021), or nothing, which keeps the encoder in evaluation mode. A weighted sum is always learned.
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
    takes_inside = True
    normalize = "utterance"
    head_width = 256
    transformer: Any  # of transformers: no type tells its parts

    def __init__(
        self,
        width: int,
        *,
        weights: str | None = None,
        config: pretrained.Config | None = None,
        layers: int | None = None,
        output: Literal["last", "weighted_sum"] = "last",
        train: Literal["all", "transformer", "lora", "none"] = "transformer",
        lora_rank: int = 8,
        checkpointing: bool = False,
        attention_output_dropout: float | None = None,
    ) -> None:
        """Load the encoder, or make one with random weights."""
        super().__init__()
        if width != 1:
            raise SereneError(f"This encoder reads waveforms, 1 value per sample; {width} per frame were given.")
        if lora_rank < 1:
            raise SereneError(f"model.lora_rank is {lora_rank}; at least 1 was expected.")
        if attention_output_dropout is not None and not 0 <= attention_output_dropout < 1:
            raise SereneError(
                f"model.attention_output_dropout is {attention_output_dropout}; a probability below 1 was expected."
            )
        described, folder = pretrained.described(weights, config)
        self.rebuilt = {"weights": None, "config": pretrained.plain(described), "layers": layers, "output": output}
        self.rebuilt |= {"train": train, "lora_rank": lora_rank, "checkpointing": checkpointing}
        self.rebuilt["attention_output_dropout"] = attention_output_dropout
        self.trains, self.checkpointing = train, checkpointing
        cut = pretrained.cut(described, layers)
        if attention_output_dropout is not None:
            described.update(dict.fromkeys(DROPOUTS, 0.0))
        self.transformer = pretrained.built(described, folder)
        for layer in self.transformer.encoder.layers:
            layer.dropout.p = layer.dropout.p if attention_output_dropout is None else attention_output_dropout
        self.pre_norm = bool(described.do_stable_layer_norm)
        self.ends_in_norm = self.pre_norm and not cut and output == "last"
        self.steps = tuple(zip(described.conv_kernel, described.conv_stride, strict=True))
        self.stride = math.prod(described.conv_stride)
        self.out_width = described.hidden_size
        self.shortest = receptive_field(self.steps)
        self.layer_weights = None
        if output == "weighted_sum":
            self.layer_weights = nn.Parameter(torch.zeros(described.num_hidden_layers + 1))
        _make_exact(self.transformer)
        self._free_what_trains(lora_rank)

    @classmethod
    def check(cls, **settings: Any) -> None:
        """Refuse weights that are not there, a config of nothing known, and layers that do not exist."""
        config, _ = pretrained.described(settings.get("weights"), settings.get("config"))
        pretrained.cut(config, settings.get("layers"))

    def forward(self, values: Tensor, mask: Tensor, inside: Inside | None = None) -> Tensor:
        """Map waveforms (batch, sample, 1) and a mask (batch, sample) to (batch, frame, out_width)."""
        inside = inside or Inside()
        samples = values.squeeze(-1).masked_fill(~mask, 0)
        with contextlib.nullcontext() if self.trains == "all" else torch.no_grad():
            frames = self._run(self._convolved, samples, mask)
        frames = inside.convolved(frames) if inside.convolved else frames
        states = self._states(frames, self.mask_after(mask), inside)
        if self.layer_weights is not None:
            shares = self.layer_weights.softmax(dim=0)
            return functools.reduce(torch.add, map(torch.mul, shares, states))
        last = frames
        for state in states:
            last = state
        return self.transformer.encoder.layer_norm(last) if self.ends_in_norm else last

    def mask_after(self, mask: Tensor) -> Tensor:
        """Turn a mask of samples (batch, sample) into one of the frames that see sound alone: (batch, frame)."""
        return _mask_after(mask, self.steps)

    def train(self, mode: bool = True) -> Hubert:
        """Switch between training and evaluation; an encoder of which nothing trains stays in evaluation."""
        super().train(mode)
        if self.trains == "none":
            self.transformer.eval()
        return self

    def _convolved(self, samples: Tensor, mask: Tensor) -> Tensor:
        first, *rest = self.transformer.feature_extractor.conv_layers
        frames = samples.unsqueeze(1)
        if isinstance(first.layer_norm, nn.GroupNorm):
            frames = _channel_norm(first.layer_norm, first.conv(frames), _mask_after(mask, self.steps[:1]))
            frames = first.activation(frames)
        else:
            frames = first(frames)
        for layer in rest:
            frames = layer(frames)
        return frames.transpose(1, 2)

    def _states(self, frames: Tensor, sound: Tensor, inside: Inside) -> Iterator[Tensor]:
        """Give what goes into the first transformer layer, then what comes out of each: (batch, frame, out_width)."""
        encoder = self.transformer.encoder
        frames = _first(self.transformer.feature_projection(frames))
        if inside.masked is not None:
            hider = self.transformer.masked_spec_embed.to(frames.dtype)
            frames = torch.where(inside.masked.unsqueeze(-1), hider, frames)
        frames = frames.masked_fill(~sound.unsqueeze(-1), 0)
        frames = frames + _positions(encoder.pos_conv_embed, frames, sound)
        frames = encoder.dropout(frames if self.pre_norm else encoder.layer_norm(frames))
        if inside.first is not None:
            frames = frames + inside.first.unsqueeze(1)
        before = 0 if inside.prefix is None else 1
        if inside.prefix is not None:
            frames = torch.cat([inside.prefix.unsqueeze(1).to(frames.dtype), frames], dim=1)
            sound = torch.cat([sound[:, :1], sound], dim=1)  # a clip has at least one frame of sound
        yield frames[:, before:]
        carried: dict[str, Tensor] = {}
        for layer in encoder.layers:
            output = self._run(layer, frames, attention_mask=sound[:, None, None, :], **carried)
            frames = _first(output)
            if isinstance(layer.attention, WavLMAttention):
                carried["position_bias"] = output[1]
            yield frames[:, before:]

    def _run(self, part: Callable[..., Any], *inputs: Tensor, **others: Any) -> Any:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(part, *inputs, use_reentrant=False, **others)
        return part(*inputs, **others)

    def _free_what_trains(self, lora_rank: int) -> None:
        if self.trains == "lora":
            _add_adapters(self.transformer, lora_rank)
        for name, parameter in self.transformer.named_parameters():
            idle = self.pre_norm and not self.ends_in_norm and name.startswith("encoder.layer_norm.")
            chosen = {"all": True, "transformer": not name.startswith("feature_extractor.")}
            chosen |= {"lora": "lora_" in name, "none": False}
            parameter.requires_grad = chosen[self.trains] and not idle and name != "masked_spec_embed"


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


def _add_adapters(model: nn.Module, rank: int) -> None:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtra("peft", "lora") from error
    adapters = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["q_proj", "v_proj"])
    peft.inject_adapter_in_model(adapters, model)


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
