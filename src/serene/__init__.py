"""serene: speech emotion recognition that holds up on speakers it has never heard.

The path of an utterance, left to right; each noun is defined in the first folder that makes it::

    disk --> corpora --> protocols --> audio --> models <-- methods <-- trainer
             Manifest     Split         Batch    scores     (how it learns)
                                                   |
                                               evaluation --> Report
                                               Predictions
"""

from __future__ import annotations

import sys as _sys
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING

from serene.registry import load as _load

if TYPE_CHECKING:
    from serene.audit import audit
    from serene.corpora.manifest import Manifest, Utterance
    from serene.corpora.prepare import prepare
    from serene.errors import SereneError
    from serene.evaluation.predictions import Predictions
    from serene.evaluation.report import Report
    from serene.experiment import train
    from serene.models.model import EmotionModel
    from serene.protocols import Split, make_splits

__version__ = "0.1.0"
__all__ = [
    "EmotionModel",
    "Manifest",
    "Predictions",
    "Report",
    "SereneError",
    "Split",
    "Utterance",
    "audit",
    "make_splits",
    "prepare",
    "train",
]
_HOMES = {
    "EmotionModel": "serene.models.model",
    "Manifest": "serene.corpora.manifest",
    "Predictions": "serene.evaluation.predictions",
    "Report": "serene.evaluation.report",
    "SereneError": "serene.errors",
    "Split": "serene.protocols",
    "Utterance": "serene.corpora.manifest",
    "audit": "serene.audit",
    "make_splits": "serene.protocols",
    "prepare": "serene.corpora.prepare",
    "train": "serene.experiment",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `import serene` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'serene' has no attribute '{name}'")
    return _load(f"{_HOMES[name]}:{name}", {}, "public name")


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]


class _Package(_ModuleType):
    """The package itself: importing the module `serene.audit` does not hide the public function `audit`."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, _ModuleType)):
            super().__setattr__(name, value)


_sys.modules[__name__].__class__ = _Package
