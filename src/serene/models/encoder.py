"""Encoder: what turns features into frames that have looked around themselves, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Inside:
    """What is done inside an encoder that convolves first and looks around then (HuBERT and its kin).

    Attributes:
        convolved: changes what comes out of the convolutions (batch, frame, feature), or only looks at it.
        masked: bool (batch, frame) of frames that a learned vector takes the place of.
        first: (batch, out_width) added to every frame that goes into the first layer.
        prefix: (batch, out_width) put before the frames as one more; it does not come out again.
    """

    convolved: Callable[[Tensor], Tensor] | None = None
    masked: Tensor | None = None
    first: Tensor | None = None
    prefix: Tensor | None = None


@dataclass(frozen=True)
class Frames:
    """Frames of a batch and which of them are sound.

    Attributes:
        values: (batch, frame, feature).
        mask: bool (batch, frame).
        speaker: what the batch says of who speaks, where the model asks for it: indices (batch,) or mean cepstra
            (batch, coefficient).
        inside: what is done inside the encoder, where a method asks for it.
        encoded: whether they are what the encoder's frozen part gives, and the rest of it is to go on from there.
    """

    values: Tensor
    mask: Tensor
    speaker: Tensor | None = None
    inside: Inside | None = None
    encoded: bool = False


class Encoder(nn.Module):
    """A module over (batch, frame, feature) and a mask (batch, frame), built as `Class(width, *, settings)`.

    Attributes:
        front_end: what makes its input, an entry of `serene.audio.FRONT_ENDS`.
        normalize: what its input is standardised by, where a recipe does not say.
        shortest: fewest frames of a clip that it can take.
        out_width: features per frame coming out.
        head_width: units of the heads' hidden layers, where a recipe does not say.
        stock: whether transformers has its like, to which such a model can be exported.
        takes_inside: whether `forward` and `rest` take an `Inside` as a third argument.
        depth: how far up nothing trains, as the encoder counts; None where everything does.
        stride: frames going in from one coming out to the next.
        window: frames that are read at once at most, longer clips in windows of so many; None for any number.
        windows: how many of one length the clips are cut into, where that was done already, as in a graph.
        rebuilt: settings that build the architecture again without the files it began with; None for the settings as
            they were given.
    """

    front_end = "mfcc"
    normalize = "training_set"
    shortest = 1
    out_width: int
    head_width: int
    stock = False
    takes_inside = False
    depth: int | None = None
    stride = 1
    window: int | None = None
    windows: int | None = None
    rebuilt: dict[str, Any] | None = None

    @classmethod
    def check(cls, **settings: Any) -> None:
        """Refuse, by a SereneError, settings that nothing can be built of, before anything is read or trained."""

    @classmethod
    def features(cls, **settings: Any) -> dict[str, Any]:
        """Say which settings of its front end follow from its own, where a recipe does not give them."""
        return {}

    @classmethod
    def freezes(cls, **settings: Any) -> bool:
        """Tell whether a part at the bottom never trains, so that what it makes of a clip can be stored."""
        return False

    @property
    def blocks(self) -> list[nn.Module]:
        """Parts that train and may be shared out among processes; each is called as a whole, and none is in another."""
        return [self]

    @property
    def fixed(self) -> str:
        """Names what `prefix` gives, the outputs of the part at the bottom that never trains."""
        raise NotImplementedError

    @property
    def prefix_width(self) -> int:
        """Features per frame of what `prefix` gives."""
        raise NotImplementedError

    def prefix(self, values: Tensor, mask: Tensor) -> Tensor:
        """Give what that part makes of an input (batch, frame, feature): (batch, merged frame, prefix_width)."""
        raise NotImplementedError

    def rest(self, frames: Tensor, sound: Tensor, inside: Inside | None = None) -> Tensor:
        """Go on from there, with the mask of its frames: what `forward` gives."""
        raise NotImplementedError

    def mask_after(self, mask: Tensor) -> Tensor:
        """Return the mask (batch, frame) of what comes out: every frame that goes in, unless frames are merged."""
        return mask
