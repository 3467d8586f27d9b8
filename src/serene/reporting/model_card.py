"""The model card: `README.md` and `metrics.json` of a model folder, from what was measured and nothing else.

Both go to whoever is given the model: no speaker is named in them, and no folder of anybody's machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serene.files import write_text
from serene.models.training_speakers import TrainingSpeakers
from serene.reporting import card_sections as sections
from serene.reporting.card_metadata import front_matter
from serene.reporting.card_subject import Subject
from serene.reporting.figures import Figure

CARD, METRICS = "README.md", "metrics.json"
SECTIONS = (
    *(sections.head, sections.use, sections.limits, sections.data, sections.training, sections.figures),
    *(sections.speakers, sections.probe, sections.reliability, sections.elsewhere, sections.cold_start),
)
KEPT = (  # of a report: what is no name, path or machine
    *("title", "corpus", "speaker_corpus", "languages", "target", "method", "normalize", "recipe_hash"),
    *("protocol", "speaker_independent", "selection", "saw_unlabelled_test_audio", "stamps"),
    *("classes", "dimensions", "seeds", "n_utterances", "n_speakers", "metrics", "validation", "gap"),
    *("per_class_recall", "confusion", "speaker_spread", "per_group", "speaker_probe", "reliability"),
)


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
    """Write `README.md` and `metrics.json` into a model folder.

    Args:
        folder: of the model.
        content: what `report.json` holds, of all folds and seeds of the model's run, without NaN.
        fold: that this very model was trained in.
        seed: of its training.
        facts: of its training, as `environment.json` holds them.
        elsewhere: what reports of the run's models on other corpora hold.
        cold_start: with how many unlabelled clips a speaker is enrolled, such as "none" or "10" -> the first headline
            figure: `value`, and `low` and `high` where there is an interval.
        licence: of the weights, as the Hugging Face hub writes it, such as `cc-by-4.0`.
    """
    folder = Path(folder)
    config, preprocessor = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("config", "preprocessor_config")
    )
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
    said = (section(subject) for section in SECTIONS)
    return f"---\n{top}---\n\n" + "\n\n".join(text for text in said if text) + "\n"


def numbers(subject: Subject) -> dict[str, Any]:
    """Give what `metrics.json` holds: which model this is, the report's figures, and those of other corpora."""
    kept = {key: subject.content[key] for key in KEPT if key in subject.content}
    own = {"fold": subject.fold_words, "seed": subject.seed, "temperature": subject.config.get("temperature", 1.0)}
    own |= {key: subject.facts[key] for key in ("selected_epoch", "epochs_run", "of_folds") if key in subject.facts}
    found: dict[str, Any] = {"model": own, **kept, "folds_run": len(subject.content["folds"])}
    others = ("corpus", "stamps", "n_utterances", "n_speakers", "metrics")
    found["elsewhere"] = [{key: one[key] for key in others if key in one} for one in subject.elsewhere]
    return found | ({"cold_start": dict(subject.cold_start)} if subject.cold_start else {})


def _counted(known: TrainingSpeakers, content: Mapping[str, Any]) -> tuple[int, int]:
    """Count the speakers of the run's corpus that a model was trained on, and the others that it was selected by."""
    other, corpus = content.get("speaker_corpus"), content.get("corpus")  # clips of one's own may name no corpus
    trained = {person for person in known.trained if person[0] == corpus or person[0] != other}
    return len(trained), len(known.validated - trained)
