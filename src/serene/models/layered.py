"""An encoder of transformers as layers over convolutions: cut, summed, adapted, and trained from some depth upwards."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from serene.errors import MissingExtra, SereneError
from serene.models import pretrained
from serene.models.encoder import Encoder, Inside

CONVOLUTIONS = -1  # depth of a frozen prefix that ends below the first layer's input
Output = Literal["last", "weighted_sum"]
Trained = Literal["all", "transformer", "lora", "none"]
DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "dropout")  # of configs


class LayeredEncoder(Encoder):
    """Base of encoders that convolve first and look around then, in layers of one width.

    A subclass builds `transformer`, calls `begin`, and says what its convolutions, its first layer's input and its
    layers are.

    Attributes:
        families: model_type of a config of transformers -> the class that reads it.
        transformer: of transformers, whose keys its weights carry.
        convolved_width: features per frame that the convolutions give.
        ends_in_norm: whether a norm follows the last layer: neither a cut nor a sum has it.
        trains: what the recipe says.
        depth: how far up nothing trains: in layers, 0 for the first layer's input, -1 for the convolutions alone; None
            where everything trains.
        layer_weights: of the learned sum over the first layer's input and all layers' outputs; None without it.
    """

    families: ClassVar[Mapping[str, Any]]
    transformer: Any  # no type tells its parts
    convolved_width: int

    takes_inside = True
    head_width = 256

    def begin(self, cut: bool, output: Output, train: Trained | int, lora_rank: int, checkpointing: bool) -> None:
        """Decide what trains, once the transformer is built."""
        count = len(self.layers)
        if isinstance(train, int) and not 1 <= train <= count:
            raise SereneError(f"model.train is {train}, but the encoder has {count} layers; 1 to {count} was expected.")
        if lora_rank < 1:
            raise SereneError(f"model.lora_rank is {lora_rank}; at least 1 was expected.")
        self.trains, self.checkpointing = train, checkpointing
        depths = {"all": None, "transformer": CONVOLUTIONS, "lora": CONVOLUTIONS, "none": count}
        self.depth: Any = (
            count - train if isinstance(train, int) else depths[train]
        )  # of layers; 0: the first one's input
        self.layer_weights = nn.Parameter(torch.zeros(count + 1)) if output == "weighted_sum" else None
        self.ends_in_norm = self.final_norm is not None and not cut and output == "last"
        still = [parameter for parameter in self.transformer.parameters() if not parameter.requires_grad]
        if train == "lora":
            _add_adapters(self.transformer, lora_rank)
        self._free_what_trains()
        for parameter in still:  # such as positions that were made, not learned
            parameter.requires_grad = False

    def _free_what_trains(self) -> None:
        above = self.layers[self.depth :] if isinstance(self.trains, int) else ()
        self.transformer.requires_grad_(self.trains in ("all", "transformer"))
        for part in (*above, self.final_norm if above and self.ends_in_norm else None):
            if part is not None:
                part.requires_grad_(True)
        if self.trains == "transformer":
            self.convolutions.requires_grad_(False)
        if self.final_norm is not None and not self.ends_in_norm:
            self.final_norm.requires_grad_(False)
        for name, parameter in self.transformer.named_parameters():
            parameter.requires_grad |= "lora_" in name
            parameter.requires_grad &= name != "masked_spec_embed"

    @classmethod
    def check(cls, **settings: Any) -> None:
        """Refuse weights that are not there, a config of nothing known, and layers that do not exist."""
        config, _ = pretrained.described(settings.get("weights"), settings.get("config"), cls.families)
        pretrained.cut(config, settings.get("layers"))

    @classmethod
    def freezes(cls, **settings: Any) -> bool:
        """Tell whether something at the bottom never trains, and begins with weights that are known."""
        return settings["weights"] is not None and settings["train"] != "all"

    @property
    def layers(self) -> Any:
        """The layers kept, the first at the bottom."""
        raise NotImplementedError

    @property
    def blocks(self) -> list[nn.Module]:
        """The layers that train."""
        return list(self.layers[max(0, self.depth or 0) :])

    @property
    def convolutions(self) -> nn.Module:
        """What is at the very bottom, and only trains where everything does."""
        raise NotImplementedError

    @property
    def final_norm(self) -> nn.Module | None:
        """What follows the last layer of the whole encoder."""
        raise NotImplementedError

    def convolved(self, values: Tensor, mask: Tensor) -> Tensor:
        """Convolve an input (batch, frame, feature): (batch, merged frame, convolved_width)."""
        raise NotImplementedError

    def entered(self, frames: Tensor, sound: Tensor, inside: Inside) -> Tensor:
        """Turn what the convolutions give into what goes into the first layer: (batch, merged frame, out_width)."""
        raise NotImplementedError

    def upper(self, frames: Tensor, sound: Tensor, first: int) -> Iterator[Tensor]:
        """Give what comes out of each layer from `first` on, which reads the frames: (batch, frame, out_width)."""
        raise NotImplementedError

    def forward(self, values: Tensor, mask: Tensor, inside: Inside | None = None) -> Tensor:
        """Map an input (batch, frame, feature) and its mask (batch, frame) to (batch, merged frame, out_width)."""
        with contextlib.nullcontext() if self.trains == "all" else torch.no_grad():
            frames = self.run(self.convolved, values, mask)
        return self._joined(self._states(frames, self.mask_after(mask), inside or Inside()))

    @torch.no_grad()
    def prefix(self, values: Tensor, mask: Tensor) -> Tensor:
        """Give what the part at the bottom makes of which nothing trains: (batch, merged frame, prefix_width)."""
        frames = self.convolved(values, mask)
        if self.depth == CONVOLUTIONS:
            return frames
        states = list(islice(self._states(frames, self.mask_after(mask), Inside()), self.depth + 1))
        return states[-1] if self.layer_weights is None else torch.cat(states, dim=-1)

    def rest(self, frames: Tensor, sound: Tensor, inside: Inside | None = None) -> Tensor:
        """Go on from what `prefix` gave, with the mask of its frames (batch, merged frame)."""
        if self.depth == CONVOLUTIONS:
            return self._joined(self._states(frames, sound, inside or Inside()))
        states = frames.split(self.out_width, dim=-1)
        return self._joined(chain(states, self.upper(states[-1], sound, self.depth)))

    @property
    def fixed(self) -> str:
        """Names what `prefix` gives."""
        if self.depth == CONVOLUTIONS:
            return "convolutions"
        return f"layer{self.depth}" if self.layer_weights is None else f"layers0-{self.depth}"

    @property
    def prefix_width(self) -> int:
        """Features per frame of what `prefix` gives."""
        if self.depth == CONVOLUTIONS:
            return self.convolved_width
        return self.out_width * (1 if self.layer_weights is None else self.depth + 1)

    def train(self, mode: bool = True) -> LayeredEncoder:
        """Switch between training and evaluation; layers below the first that trains stay in evaluation."""
        super().train(mode)
        if self.depth is not None and self.depth != CONVOLUTIONS:
            self.transformer.eval()
            for layer in self.layers[self.depth :]:
                layer.train(mode)
        return self

    def run(self, part: Callable[..., Any], *inputs: Tensor, **others: Any) -> Any:
        """Call a part; where that is set, its activations are computed again on the way back instead of kept."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(part, *inputs, use_reentrant=False, **others)
        return part(*inputs, **others)

    def _states(self, frames: Tensor, sound: Tensor, inside: Inside) -> Iterator[Tensor]:
        """Give what goes into the first layer, then what comes out of each: (batch, merged frame, out_width)."""
        frames = inside.convolved(frames) if inside.convolved else frames
        frames = self.entered(frames, sound, inside)
        frames = frames if inside.first is None else frames + inside.first.unsqueeze(1)
        before = 0 if inside.prefix is None else 1
        if inside.prefix is not None:
            frames = torch.cat([inside.prefix.unsqueeze(1).to(frames.dtype), frames], dim=1)
            sound = torch.cat([sound[:, :1], sound], dim=1)  # a clip has at least one frame of sound
        for state in chain([frames], self.upper(frames, sound, 0)):
            yield state[:, before:]

    def _joined(self, states: Iterator[Tensor]) -> Tensor:
        """Give the weighted sum of the states, or the last, normed where the encoder ends so."""
        if self.layer_weights is not None:
            return functools.reduce(torch.add, map(torch.mul, self.layer_weights.softmax(dim=0), states))
        last = next(states)
        for state in states:  # one after the other, since a list would keep them all
            last = state
        return self.final_norm(last) if self.final_norm is not None and self.ends_in_norm else last


def drop_attention_output_alone(config: Any, probability: float | None) -> None:
    """Turn off the dropouts of a config of transformers where one of the attention's output takes their place.

    Raises:
        SereneError: it is no probability below 1.
    """
    if probability is None:
        return
    if not 0 <= probability < 1:
        raise SereneError(f"model.attention_output_dropout is {probability}; a probability below 1 was expected.")
    config.update({name: 0.0 for name in DROPOUTS if hasattr(config, name)})


def _add_adapters(model: nn.Module, rank: int) -> None:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtra("peft", "lora") from error
    adapters = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["q_proj", "v_proj"])
    peft.inject_adapter_in_model(adapters, model)
