"""Encoder: what turns features into frames that have looked around themselves, and what it tells of itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Encoder(nn.Module):
    """A module over (batch, frame, feature) and a mask (batch, frame), built as `Class(width, *, settings)`.

    Attributes:
        front_end: what makes its input, an entry of `serene.audio.FRONT_ENDS`.
        normalize: what its input is standardised by, where a recipe does not say.
        shortest: fewest frames of a clip that it can take.
        out_width: features per frame coming out.
        head_width: units of the heads' hidden layers, where a recipe does not say.
        rebuilt: settings that build the architecture again without the files it began with; None for the settings as
            they were given.
    """

    front_end = "mfcc"
    normalize = "training_set"
    shortest = 1
    out_width: int
    head_width: int
    rebuilt: dict[str, Any] | None = None

    @classmethod
    def check(cls, **settings: Any) -> None:
        """Refuse settings that nothing can be built of, before anything is read or trained.

        Raises:
            SereneError: what is wrong with them.
        """

    def mask_after(self, mask: Tensor) -> Tensor:
        """Return the mask (batch, frame) of what comes out: every frame that goes in, unless frames are merged."""
        return mask
