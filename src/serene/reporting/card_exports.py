"""What `serene export` changes in a model's card: how near the export comes to the model, and how it is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNKNOWN = "What this model was trained on, and how well it does, is not recorded with it."
LOAD, GRAPH = "How to load it", "ONNX"
ONNX = """Compared with PyTorch when `{file}` was written, on random clips:

{found}

serene answers by it where torch is not installed."""
STOCK = """```python
import soundfile
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

extractor = AutoFeatureExtractor.from_pretrained("FOLDER")  # these files' folder, or their name on the hub
model = AutoModelForAudioClassification.from_pretrained("FOLDER")
samples, rate = soundfile.read("a.wav")  # one channel at 16,000 Hz
with torch.inference_mode():
    logits = model(**extractor(samples, sampling_rate=rate, return_tensors="pt")).logits[0]
print(dict(zip(model.config.id2label.values(), {values}.tolist())))
```

It was exported from a model of serene. These files need serene no more, and serene does not read them: its commands and
its profiles of speakers, where this card names them, are for the model itself."""


def onnx_card(card: str | None, name: str, file: str, lines: Sequence[str]) -> str:
    """Give the card of a folder with an ONNX file.

    Args:
        card: of the model, where it has one.
        name: of the model.
        file: the graph's name.
        lines: how near the graph comes to the model, a sentence each.
    """
    found = "\n".join(f"* {line}" for line in lines)
    return _with(card or _bare(name, "serene"), GRAPH, ONNX.format(file=file, found=found))


def stock_card(
    card: str | None, name: str, notes: Sequence[str], *, temperature: float = 1.0, gives: str = "probabilities"
) -> str:
    """Give the card of a folder of plain transformers: what was measured stays, how it is loaded does not.

    Args:
        card: of the model, where it has one.
        name: of the model.
        notes: what to know when it is used there, a sentence each.
        temperature: what logits are divided by before they become scores.
        gives: what the scores are, as the task says.
    """
    card = re.sub(
        r"^library_name:.*$", "library_name: transformers", card or _bare(name, "transformers"), count=1, flags=re.M
    )
    scaled = "logits" if temperature == 1 else f"(logits / {temperature:.6g})"
    shown = STOCK.replace("{values}", "logits" if gives == "values" else f"{scaled}.softmax(-1)")
    listed = "\n".join(f"* {note}" for note in notes)
    return _with(_section(GRAPH).sub("", card), LOAD, f"{shown}\n\n{listed}".rstrip())


def _bare(name: str, library: str) -> str:
    """Give the card of a model of which nothing was recorded."""
    top = f"---\nlibrary_name: {library}\npipeline_tag: audio-classification\ntags:\n- speech\n---\n"
    return f"{top}\n# {name}\n\n{UNKNOWN}\n"


def _with(card: str, title: str, text: str) -> str:
    """Put a section where the one of its title is, or at the end."""
    section = f"## {title}\n\n{text}\n"
    own = _section(title)
    if own.search(card):
        return own.sub(lambda _: f"{section}\n", card, count=1).rstrip() + "\n"
    return f"{card.rstrip()}\n\n{section}"


def _section(title: str) -> re.Pattern[str]:
    return re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
