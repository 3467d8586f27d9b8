"""Whisper's encoder (Radford et al. 2022) over log-mel energies, of clips as long as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from serene.errors import SereneError
from serene.models import pretrained
from serene.models.encoder import Inside
from serene.models.layered import LayeredEncoder, Output, Trained, drop_attention_output_alone
from serene.models.masking import mask_of

KEYS = {r"^(model\.)?encoder\.": ""}  # of whole checkpoints, and of encoders alone
STRIDE = 2  # mel frames of 10 ms to a frame


class Whisper(LayeredEncoder):
    """The encoder of OpenAI's Whisper, of any size, fine-tuned or frozen.

    It was trained on clips filled up with silence to 30 s. Here positions are cut to the clip instead, and neither
    padding nor batch-mates change a frame: `features.pad: 30` gives the original's input. A clip of more than 30 s is
    read in windows of 30 s, whose frames are joined.

    Args:
        width: mel filters, 80, or 128 for large-v3.
        weights: a folder with `config.json` and the weights of the whole model or of its encoder alone, or a name on
            huggingface.co, such as openai/whisper-base.
        config: a transformers config (`model_type: whisper`) for an encoder with random weights.
        layers: keep the first so many layers, and neither load nor compute the others.
        output: frames of the last layer kept, or a sum of the first layer's input and all layers' outputs, weighted
            by a learned softmax that starts even. The layer norm that ends the encoder belongs to the last layer of
            the whole encoder alone: neither a cut nor a sum has it.
        train: everything, all but the convolutions (`transformer`), low-rank adapters on the queries and values (LoRA,
            Hu et al. 2021), nothing, or the last so many layers. A weighted sum is always learned.
        lora_rank: of the adapters.
        checkpointing: compute each layer again on the way back instead of keeping its activations.
        attention_output_dropout: of what each layer's attention gives, before it is added to what went in, and no other
            dropout anywhere (Kang et al. 2023); the config's own dropouts without it.

    Attributes:
        stride: frames going in from one coming out to the next.
        positions: frames that it has positions for.

    Raises:
        SereneError: the encoder is not described or not found, or its weights, layers, filters or config do not fit.
        MissingExtra: LoRA without `peft`.
    """

    front_end = "log_mel"
    normalize = "none"
    stock = True
    families: ClassVar = {"whisper": WhisperEncoder}
    stride = STRIDE
    takes_inside = False

    def __init__(
        self,
        width: int,
        *,
        weights: str | None = None,
        config: pretrained.Config | None = None,
        layers: int | None = None,
        output: Output = "last",
        train: Trained | int = "none",
        lora_rank: int = 8,
        checkpointing: bool = False,
        attention_output_dropout: float | None = None,
    ) -> None:
        """Load the encoder, or make one with random weights."""
        super().__init__()
        described, folder = pretrained.described(weights, config, self.families)
        if width != described.num_mel_bins:
            raise SereneError(
                f"This encoder reads {described.num_mel_bins} mel filters, and {width} were given: set "
                f"features.filters to {described.num_mel_bins}."
            )
        self.rebuilt = {"weights": None, "config": pretrained.plain(described), "layers": layers, "output": output}
        self.rebuilt |= {"train": train, "lora_rank": lora_rank, "checkpointing": checkpointing}
        self.rebuilt["attention_output_dropout"] = attention_output_dropout
        cut = pretrained.cut(described, layers)
        drop_attention_output_alone(described, attention_output_dropout)
        self.transformer = pretrained.built(described, folder, self.families, KEYS)
        self.transformer.embed_positions.requires_grad_(False)  # sines, that were never learned
        if attention_output_dropout is not None:
            for layer in self.layers:  # whose own dropout, one for attention and feed-forward, is off
                layer.self_attn.out_proj.register_forward_hook(partial(_dropped, attention_output_dropout))
        self.positions = described.max_source_positions
        self.window = STRIDE * self.positions
        self.out_width = self.convolved_width = described.d_model
        self.begin(cut, output, train, lora_rank, checkpointing)

    @classmethod
    def features(cls, **settings: Any) -> dict[str, Any]:
        """Say how many mel filters the encoder reads, where its config is at hand."""
        config, given = settings.get("config"), settings.get("weights")
        if given is not None and Path(str(given)).expanduser().is_dir():
            config = pretrained.plain(pretrained.described(str(given), None, cls.families)[0])
        asked = config.get("num_mel_bins") if isinstance(config, Mapping) else None
        return {} if asked is None else {"filters": asked}  # weights of the hub, or missing: whoever loads them says so

    @property
    def layers(self) -> Any:
        """The transformer's layers."""
        return self.transformer.layers

    @property
    def convolutions(self) -> nn.Module:
        """Both of them."""
        return nn.ModuleList([self.transformer.conv1, self.transformer.conv2])

    @property
    def final_norm(self) -> nn.Module | None:
        """Follows the last layer."""
        return self.transformer.layer_norm

    def mask_after(self, mask: Tensor) -> Tensor:
        """Turn a mask (batch, mel frame) into that of what comes out: a frame is sound where its first mel frame is."""
        windows, joined = self._windows(mask.unsqueeze(-1), STRIDE * self.positions)
        sound = windows.squeeze(-1).sum(dim=1)
        after = mask_of((sound + 1) // STRIDE, (windows.shape[1] - 1) // STRIDE + 1)
        return joined(after.unsqueeze(-1)).squeeze(-1)

    def convolved(self, values: Tensor, mask: Tensor) -> Tensor:
        """Convolve log-mel energies (batch, mel frame, filter): (batch, frame, out_width), each window by itself."""
        windows, joined = self._windows(values, STRIDE * self.positions)
        silence = ~self._windows(mask.unsqueeze(-1), STRIDE * self.positions)[0].transpose(1, 2)
        frames = windows.transpose(1, 2).masked_fill(silence, 0)
        # zeros after a clip's end are what the convolutions' own padding puts there: batch-mates change nothing
        frames = functional.gelu(self.transformer.conv1(frames)).masked_fill(silence, 0)
        return joined(functional.gelu(self.transformer.conv2(frames)).transpose(1, 2))

    def entered(self, frames: Tensor, sound: Tensor, inside: Inside) -> Tensor:
        """Add where the frames stand in their window."""
        windows, joined = self._windows(frames, self.positions)
        positions = self.transformer.embed_positions.weight[: windows.shape[1]]
        return joined(windows + positions.to(frames.dtype))[:, : frames.shape[1]]

    def upper(self, frames: Tensor, sound: Tensor, first: int) -> Iterator[Tensor]:
        """Give what comes out of each layer, which looks around within a window."""
        windows, joined = self._windows(frames, self.positions)
        seen = self._windows(sound.unsqueeze(-1), self.positions)[0].squeeze(-1)
        seen = torch.cat([torch.ones_like(seen[:, :1]), seen[:, 1:]], dim=1)  # a window of padding sees something too
        for layer in self.layers[first:]:
            output = self.run(layer, windows, attention_mask=seen[:, None, None, :])
            windows = output[0] if isinstance(output, tuple) else output  # transformers 4 or 5
            yield joined(windows)[:, : frames.shape[1]]

    def _windows(self, frames: Tensor, most: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Cut (batch, frame, feature) into windows (batch * window, frame, feature); give what joins them again, too.

        Frames that fit one window are a window as long as they are.
        """
        batch, longest, width = frames.shape
        count, size = self.windows, longest // (self.windows or 1)
        if count is None:
            count, size = -(-longest // most), min(longest, most)
            frames = functional.pad(frames, (0, 0, 0, count * size - longest))
        windows = frames.reshape(batch * count, size, width)
        return windows, lambda made: made.reshape(batch, count * made.shape[1], made.shape[2])


def _dropped(probability: float, module: nn.Module, _: Any, output: Tensor) -> Tensor:
    return functional.dropout(output, probability, module.training)
