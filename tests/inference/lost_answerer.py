"""An actor that is killed once; in a module that Ray's workers can import."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from serene.inference.on_ray import Answerer


class LostOnce(Answerer):
    """Answers as ever, but for the first that is asked for the third block: it is killed, as a file says."""

    def __call__(self, asked: Mapping[str, Any]) -> dict[str, bytes]:
        """Answer for a block."""
        if asked["item"] == 2 and not (mark := self.here.folder / "killed").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(asked)
