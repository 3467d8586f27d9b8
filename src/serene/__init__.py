"""serene: speech emotion recognition that holds up on unseen speakers.

The path of an utterance, left to right; each noun is defined in the first folder that makes it::

    disk --> corpora --> protocols --> audio --> models <-- methods <-- training        experiment drives it
             Manifest    Split         Batch     scores     (how it learns)
                                                    |
                                evaluation --> reporting        inference --> serving, export, CLI
                                Predictions    Report           Emotion
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serene.errors import SereneError
from serene.registry import load as _load

if TYPE_CHECKING:
    from serene.corpora.manifest import Manifest, Utterance
    from serene.corpora.prepare import prepare
    from serene.evaluation.predictions import Predictions
    from serene.evaluation.report import Report
    from serene.experiment.recipe import load as load_recipe
    from serene.experiment.recipe import load_table
    from serene.experiment.train import train
    from serene.inference.emotion import Emotion
    from serene.inference.recognizer import Recognizer
    from serene.models.model import EmotionModel
    from serene.protocols import Split, make_splits

__version__ = "0.1.0"
__all__ = [
    "Emotion",
    "EmotionModel",
    "Manifest",
    "Predictions",
    "Recognizer",
    "Report",
    "SereneError",
    "Split",
    "Utterance",
    "load_recipe",
    "load_table",
    "make_splits",
    "prepare",
    "train",
]
_HOMES = {
    "Emotion": "serene.inference.emotion:Emotion",
    "EmotionModel": "serene.models.model:EmotionModel",
    "Manifest": "serene.corpora.manifest:Manifest",
    "Predictions": "serene.evaluation.predictions:Predictions",
    "Recognizer": "serene.inference.recognizer:Recognizer",
    "Report": "serene.evaluation.report:Report",
    "Split": "serene.protocols:Split",
    "Utterance": "serene.corpora.manifest:Utterance",
    "load_recipe": "serene.experiment.recipe:load",
    "load_table": "serene.experiment.recipe:load_table",
    "make_splits": "serene.protocols:make_splits",
    "prepare": "serene.corpora.prepare:prepare",
    "train": "serene.experiment.train:train",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `import serene` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'serene' has no attribute '{name}'")
    return _load(name, _HOMES, "public name")


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
