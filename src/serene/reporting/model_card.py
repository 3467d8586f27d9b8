"""The model card: `README.md` and `metrics.json` of a model folder, from what was measured and nothing else.

Both go to whoever is given the model: no speaker is named in them, and no folder of anybody's machine. What
`serene export` writes has a card too: it says how near the export comes to the model, and how it is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serene.files import read_json, write_text
from serene.models.training_speakers import TrainingSpeakers
from serene.reporting.card_metadata import Subject, front_matter, plain
from serene.reporting.card_sections import SECTIONS, head
from serene.reporting.figures import Figure

CARD, METRICS = "README.md", "metrics.json"
KEPT = (  # of a report: what is no name, path or machine
    *("title", "corpus", "speaker_corpus", "languages", "target", "method", "normalize", "recipe_hash"),
    *("protocol", "speaker_independent", "selection", "saw_unlabelled_test_audio", "stamps"),
    *("classes", "dimensions", "seeds", "n_utterances", "n_speakers", "metrics", "validation", "gap"),
    *("per_class_recall", "confusion", "speaker_spread", "per_group", "speaker_probe", "reliability"),
)

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


def write_card(
    folder: str | Path,
    content: Mapping[str, Any],
    *,
    fold: str,
    seed: int,
    facts: Mapping[str, Any],
    elsewhere: Sequence[Mapping[str, Any]] = (),
    cold_start: Mapping[str, Figure] | None = None,
    licence: str | None = None,
) -> None:
    """Write `README.md` and `metrics.json` into a model folder, of what a `Subject` is made of; without NaN."""
    folder = Path(folder)
    config = read_json(folder / "config.json", "encoder", "normalize", "parts")
    preprocessor = read_json(folder / "preprocessor_config.json", "front_end")
    known = TrainingSpeakers.read(folder)
    subject = Subject(
        content=content,
        fold=fold,
        seed=seed,
        facts=facts,
        config=config,
        preprocessor=preprocessor,
        speakers=None if known is None else _counted(known, content),
        elsewhere=elsewhere,
        cold_start=cold_start or {},
        licence=licence,
    )
    write_text(folder / CARD, markdown(subject))
    write_text(folder / METRICS, json.dumps(numbers(subject), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def markdown(subject: Subject) -> str:
    """Give the whole card: front matter for the hub, then the sections that have something to say."""
    top = front_matter(subject.content, subject.elsewhere, subject.licence)
    found = ((title, section(subject)) for title, section in SECTIONS.items())
    said = [*head(subject), *(text for title, parts in found if parts for text in (f"## {title}", *parts))]
    return f"---\n{top}---\n\n" + "\n\n".join(said) + "\n"


def numbers(subject: Subject) -> dict[str, Any]:
    """Give what `metrics.json` holds: which model this is, the report's figures, and those of other corpora."""
    kept = {key: subject.content[key] for key in KEPT if key in subject.content}
    own = {"fold": subject.fold_words, "seed": subject.seed, "temperature": subject.config.get("temperature", 1.0)}
    own |= {key: subject.facts[key] for key in ("selected_epoch", "epochs_run", "of_folds") if key in subject.facts}
    found: dict[str, Any] = {"model": own, **kept, "folds_run": len(subject.content["folds"])}
    others = ("corpus", "stamps", "n_utterances", "n_speakers", "metrics", "per_class_recall")
    found["elsewhere"] = [{key: one[key] for key in others if key in one} for one in subject.elsewhere]
    return found | ({"cold_start": dict(subject.cold_start)} if subject.cold_start else {})


def _counted(known: TrainingSpeakers, content: Mapping[str, Any]) -> tuple[int, int]:
    """Count the speakers of the run's corpus that a model was trained on, and the others that it was selected by."""
    other, corpus = content.get("speaker_corpus"), content.get("corpus")  # clips of one's own may name no corpus
    trained = {person for person in known.trained if person[0] == corpus or person[0] != other}
    return len(trained), len(known.validated - trained)


def onnx_card(card: str | None, name: str, file: str, lines: Sequence[str]) -> str:
    """Give the card of a folder with an ONNX file, from the model's where it has one.

    Lines are how near the graph comes to the model, a sentence each.
    """
    found = "\n".join(f"* {line}" for line in lines)
    return _with(card or _bare(name, "serene"), GRAPH, ONNX.format(file=file, found=found))


def stock_card(
    card: str | None, name: str, notes: Sequence[str], *, temperature: float = 1.0, gives: str = "probabilities"
) -> str:
    """Give the card of a folder of plain transformers: what was measured stays, how it is loaded does not.

    Notes are what to know when it is used there, a sentence each. Logits are divided by the temperature before they
    become what the task gives.
    """
    library = "library_name: transformers"
    card = re.sub(r"^library_name:.*$", library, card or _bare(name, "transformers"), count=1, flags=re.M)
    scaled = "logits" if temperature == 1 else f"(logits / {temperature:.6g})"
    shown = STOCK.replace("{values}", "logits" if gives == "values" else f"{scaled}.softmax(-1)")
    listed = "\n".join(f"* {note}" for note in notes)
    return _with(_section(GRAPH).sub("", card), LOAD, f"{shown}\n\n{listed}".rstrip())


def _bare(name: str, library: str) -> str:
    """Give the card of a model of which nothing was recorded."""
    top = f"---\nlibrary_name: {library}\npipeline_tag: audio-classification\ntags:\n- speech\n---\n"
    return f"{top}\n# {plain(name)}\n\n{UNKNOWN}\n"


def _with(card: str, title: str, text: str) -> str:
    """Put a section where the one of its title is, or at the end."""
    section = f"## {title}\n\n{text}\n"
    own = _section(title)
    if own.search(card):
        return own.sub(lambda _: f"{section}\n", card, count=1).rstrip() + "\n"
    return f"{card.rstrip()}\n\n{section}"


def _section(title: str) -> re.Pattern[str]:
    return re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
