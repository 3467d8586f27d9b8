"""What a model card says to people, section by section in Markdown: no figure that was not measured, no name of a person.

A section is a heading and its text, or nothing where there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serene.evaluation.card_metadata import licence_of, pretrained, published, upstream_words
from serene.evaluation.predictions import MOST_CLASSES

NAMES = {"ua": "UA (mean recall over classes)", "wa": "WA (share of right answers)", "macro_f1": "macro-F1"}
TARGETS = {
    "emotion": "the corpus's own labels; in acted speech, what the actor was asked for",
    "emotion_perceived": "what most listeners heard",
    "votes": "the shares of the listeners' votes",
    "dimensions": "the corpus's numbers, on its own scale",
    "speaker": "who speaks",
}
USE = """```python
import serene

recognizer = serene.Recognizer.load("FOLDER")  # where these files lie, or their name on the Hugging Face hub
answer = recognizer("a.wav")
print({printed})
```

On the command line: `serene predict a.wav --model FOLDER`."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a card is of.

    Attributes:
        content: what `report.json` holds, of all folds and seeds of the run.
        fold: that this very model was trained in.
        seed: of its training.
        facts: of its training, as `environment.json` holds them.
        config: of the model, as `config.json` holds it.
        preprocessor: as `preprocessor_config.json` holds it.
        met: how many speakers it was trained on, and how many others it was selected by; None where unknown.
        elsewhere: what reports on other corpora hold.
        cold_start: clips of the speaker that were heard before -> figure with `low` and `high`.
        licence: of the weights; None where nobody has chosen one.
    """

    content: Mapping[str, Any]
    fold: str
    seed: int
    facts: Mapping[str, Any]
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any]
    met: tuple[int, int] | None = None
    elsewhere: Sequence[Mapping[str, Any]] = ()
    cold_start: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    licence: str | None = None

    @property
    def dimensional(self) -> bool:
        """Whether the model gives values of dimensions."""
        return "dimensions" in self.content

    @property
    def classes(self) -> list[str]:
        """The classes or dimensions."""
        return self.content["dimensions" if self.dimensional else "classes"]

    @property
    def fold_words(self) -> str:
        """Name the fold; one that is called by a test speaker of somebody's own corpus is counted instead."""
        people = {one["speaker"] for one in self.content["per_speaker"]}
        if self.fold in people and not published(str(self.content.get("corpus"))):
            return f"{self.content['folds'].index(self.fold) + 1} (of {len(self.content['folds'])} in order)"
        return self.fold


def sections(subject: Subject) -> list[str]:
    """Give all sections, in the order in which they are read."""
    parts = (_head, _use, _limits, _data, _protocol, _figures, _speakers, _leak, _calibration, _elsewhere, _cold_start)
    return [text for text in (part(subject) for part in parts) if text]


def _head(s: Subject) -> str:
    kind = "dimensions" if s.dimensional else "speakers" if s.content.get("target") == "speaker" else "emotions"
    many = f"{len(s.classes):,} {kind}" if len(s.classes) != 1 else kind.removesuffix("s")
    listed = f": {', '.join(map(_plain, s.classes))}" if len(s.classes) <= MOST_CLASSES else ""
    does = "gives values of" if s.dimensional else "scores"
    stamps = [f"> * {_plain(stamp[:1].upper() + stamp[1:])}" for stamp in s.content["stamps"]]
    warned = ["> **Read this before comparing its figures with others:**", ">", *stamps] if stamps else []
    lines = [f"# {_plain(s.content['title'])}", f"Hears a clip of speech and {does} {many}{listed}.", _headline(s)]
    return "\n\n".join([*lines, *(["\n".join(warned)] if warned else [])])


def _headline(s: Subject) -> str:
    unseen = "On speakers whom it has never heard" if s.content["speaker_independent"] else "In its test"
    if s.dimensional:
        found = [f"CCC of {_plain(name)} {number(s.content['metrics'][f'ccc_{name}'])}" for name in s.classes]
        first = f"**{unseen}: {', '.join(found)}** (1 is perfect agreement, 0 none)"
    else:
        found = f"UA {percent(s.content['metrics']['ua'])}"
        first = f"**{unseen}: {found}**, where chance is {share(1 / len(s.classes))}"
    where = f"{s.content['n_utterances']:,} clips of {s.content['n_speakers']:,} speakers of {_corpus(s.content)}"
    return f"{first}. In brackets, here and below: 95 % intervals over speakers. Measured on {where}."


def _use(s: Subject) -> str:
    lines = ["## How to load it", USE.format(printed="answer.scores" if s.dimensional else "answer.label, answer.scores")]
    if s.config.get("normalize") == "speaker" or s.config["parts"]["speaker_embedding"].startswith("mfcc"):
        lines.append(
            "It makes use of knowing the speaker: `serene enrol CLIP ... --model FOLDER -o PROFILE.json` makes a profile "
            "of unlabelled clips, and `serene predict a.wav --model FOLDER --profile PROFILE.json` uses it."
        )
    if s.preprocessor.get("front_end") == "frozen":
        lines.append("It reads the outputs of a pretrained encoder, whose weights are not among these files.")
    if s.config["encoder"] == "hubert":
        lines.append(
            "`serene export FOLDER -o OTHER --to transformers` writes a folder that plain transformers loads, where the "
            "model's structure has its like there, and says why where it has not."
        )
    return "\n\n".join(lines)


def _limits(s: Subject) -> str:
    data, languages = s.content.get("data") or {}, s.content.get("languages")
    heard = f"It learnt from {data['speakers']:,} speakers at most" if data else "It learnt from few speakers"
    tongue = f", in {' and '.join(name.capitalize() for name in languages)}" if languages else ""
    other = "" if s.elsewhere else " How it does on another corpus was not measured."
    lines = [
        "Meant for research on speech, and for tools whose users know what is listening to them.",
        f"* Its answers imitate labels: {TARGETS.get(str(s.content.get('target')), TARGETS['emotion'])}. They tell how a "
        "clip sounds, and not what somebody feels, thinks or is about to do.",
        "* Not for decisions about people, such as hiring, teaching, policing, insuring or diagnosing.",
        f"* {heard}{tongue}. Other accents, ages, rooms, microphones and ways of speaking may fare worse.{other}",
    ]
    return "## Intended use and limits\n\n" + lines[0] + "\n\n" + "\n".join(lines[1:])


def _data(s: Subject) -> str:
    data, lines = s.content.get("data") or {}, []
    counted = (
        f"{data['utterances']:,} clips of {data['speakers']:,} speakers, {data['hours']:.2f} hours" if data else "clips"
    )
    chosen = s.content.get("only") or {}
    only = "; of these, those with " + ", ".join(f"{k} {_plain(v)}" for k, v in chosen.items()) if chosen else ""
    lines.append(f"* {_corpus(s.content)}: {counted}{only}. {_licence(str(s.content.get('corpus')))}")
    other = s.content.get("speaker_corpus")
    if other:
        lines.append(f"* `{_plain(other)}`, for its speakers alone. {_licence(str(other))}")
    upstream = pretrained(s.content)
    if upstream:
        lines.append(
            f"* The encoder began with the weights {upstream_words(upstream)}. What they were trained on, and under "
            "which licence they are given away, is for their own card to say."
        )
    weights = f"given away under {s.licence}" if s.licence else "under no licence that this card knows of"
    lines.append(f"* The weights in this folder are {weights}; what the data's licences ask for holds beside it.")
    return "## Data\n\n" + "\n".join(lines)


def _licence(corpus: str) -> str:
    licence, citation = licence_of(corpus)
    said = f"Licence: {licence}." if licence else "Its reader states no licence."
    return f"{said} Cite: {citation}." if citation else said


def _protocol(s: Subject) -> str:
    folds, seeds, facts = len(s.content["folds"]), len(s.content["seeds"]), s.facts
    apart = "are strangers to the training" if s.content["speaker_independent"] else "**are not strangers** to training"
    heard = "was heard without labels" if s.content["saw_unlabelled_test_audio"] else "was not heard, not even unlabelled"
    lines = [
        f"* Protocol: {_plain(s.content['protocol'])}. Test speakers {apart}; their other audio {heard}.",
        f"* Selection: {_plain(s.content['selection'])}.",
        f"* The figures are of all {_count(folds, 'fold')} and {_count(seeds, 'seed')} that were run: of "
        f"{_count(folds * seeds, 'model')} at most, trained alike. **This folder holds one of them: fold "
        f"{_plain(s.fold_words)}, seed {s.seed}**, epoch {facts['selected_epoch']} of {facts['epochs_run']}.{_own(s)}",
    ]
    if s.met:
        trained, validated = s.met
        lines.append(f"* This one was trained on {_count(trained, 'speaker')} and selected by {validated:,} more.")
    if s.content.get("recipe_hash"):
        lines.append(f"* Method `{_plain(s.content.get('method'))}`, run `{s.content['recipe_hash']}`.")
    return "## How it was trained and measured\n\n" + "\n".join(lines)


def _own(s: Subject) -> str:
    """Give the figure of the model's own fold, where there are several."""
    key = f"ccc_{s.classes[0]}" if s.dimensional else "ua"
    own = s.content["metrics_mean_of_folds"][key]["folds"].get(s.fold)
    if own is None or len(s.content["folds"]) < 2:
        return ""
    figure = f"CCC of {_plain(s.classes[0])} {own:.3f}" if s.dimensional else f"UA {share(own)}"
    return f" Its fold alone, over the seeds: {figure}."


def _figures(s: Subject) -> str:
    said, rows = number if s.dimensional else percent, []
    for key, figure in s.content["metrics"].items():
        before = (s.content["validation"] or {}).get(key)
        std = "" if figure["std"] is None else f"{figure['std']:.3f}" if s.dimensional else share(figure["std"])
        rows.append([_metric(key), said(figure), std, said(before) if before else "none"])
    parts = ["## Figures", _table(["", "test", "deviation over seeds", "validation"], rows)]
    recalls = s.content.get("per_class_recall") or {}
    if recalls and len(recalls) <= MOST_CLASSES:
        parts.append(_table(["", "recognised"], [[_plain(name), share(recall)] for name, recall in recalls.items()]))
    return "\n\n".join(parts)


def _speakers(s: Subject) -> str:
    found = s.content["speaker_spread"]
    spreads = {f"CCC of {name}": one for name, one in found.items()} if s.dimensional else {"UA": found}
    said = (lambda value: "none" if value is None else f"{value:.3f}") if s.dimensional else share
    lines = [
        f"Speaker by speaker, {_plain(name)} is {said(one['worst'])} for the worst and {said(one['best'])} for the best; "
        f"{said(one['worst_tenth'])} for the worst tenth on average."
        for name, one in spreads.items()
    ]
    return "\n\n".join(["## Speakers and groups", *lines, *_groups(s)])


def _groups(s: Subject) -> list[str]:
    keys = [f"ccc_{name}" for name in s.classes] if s.dimensional else ["ua"]
    said, tables = number if s.dimensional else percent, []
    for column, groups in (s.content.get("per_group") or {}).items():
        rows = []
        for name, one in groups.items():
            figures = [said(one["metrics"][key]) if one["metrics"] else "too few speakers" for key in keys]
            rows.append([_plain(name), f"{one['n_speakers']:,}", f"{one['n_utterances']:,}", *figures])
        tables.append(_table([column, "speakers", "clips", *map(_metric, keys)], rows))
    return tables or ["Results by group were not measured: the corpus does not say which speakers are of which."]


def _leak(s: Subject) -> str:
    leak, lines = s.content["leak"] or {}, []
    for part, found in (("test", leak), ("training", leak.get("train_speakers") or {})):
        if found.get("accuracy") is not None:
            lines.append(
                f"A fresh probe names the right {part} speaker, of {found['n_speakers']:.4g}, from the embedding for "
                f"{share(found['accuracy'])} of the clips; chance is {share(found['chance'])}, always naming the most "
                f"frequent one {share(found['majority'])}."
            )
    return "## Speaker leak\n\n" + ("\n\n".join(lines) or "How much of the speaker is left was not measured.")


def _calibration(s: Subject) -> str:
    found = s.content.get("reliability")
    if s.dimensional or s.content.get("target") == "speaker" and not found:
        return ""
    temperature = s.config.get("temperature", 1.0)
    scaled = f"This model divides its logits by {temperature:.4g}, which was fitted on validation clips (temperature "
    how = "scaling)." if temperature != 1 else ""
    lines = [scaled + how] if how else ["The scores of this model are not scaled by a temperature."]
    if not found:
        return "\n\n".join(["## Calibration", *lines, "The run's scores are no probabilities; how far they are off is open."])
    lines.append(
        f"Expected calibration error, 15 bins: {percent(found['ece'])}. Where it answers nothing whose highest score "
        "is below a threshold (`--abstain`):"
    )
    rows = [[f"{o['threshold']:g}", share(o["answered"]), share(o["risk"])] for o in found["coverage"]]
    return "\n\n".join(["## Calibration", *lines, _table(["threshold", "answered", "of these wrong"], rows)])


def _elsewhere(s: Subject) -> str:
    if not s.elsewhere:
        return ""
    said, rows, notes = number if s.dimensional else percent, [], []
    keys = list(dict.fromkeys(key for one in s.elsewhere for key in one["metrics"]))
    for one in s.elsewhere:
        figures = [said(one["metrics"][key]) if key in one["metrics"] else "" for key in keys]
        rows.append([_corpus(one), f"{one['n_utterances']:,}", f"{one['n_speakers']:,}", *figures])
        notes += [f"* {_corpus(one)}: {_plain(stamp)}" for stamp in one["stamps"]]
    head = ["", "clips", "speakers", *map(_metric, keys)]
    words = "The models of all folds and seeds, none of which was trained on these corpora:"
    return "\n\n".join(["## On other corpora", words, _table(head, rows), *(["\n".join(notes)] if notes else [])])


def _cold_start(s: Subject) -> str:
    if not s.cold_start:
        return ""
    said = number if s.dimensional else percent
    rows = [[_plain(clips), said(figure)] for clips, figure in s.cold_start.items()]
    table = _table(["clips of the speaker heard before, unlabelled", "CCC" if s.dimensional else "UA"], rows)
    return f"## Cold start\n\n{table}"


def percent(figure: Mapping[str, float | None]) -> str:
    """Write a share and its interval: `61.3 % [58.2 to 64.1]`."""
    if figure.get("low") is None:
        return share(figure["value"])
    return f"{share(figure['value'])} [{100 * (figure['low'] or 0):.1f} to {100 * (figure['high'] or 0):.1f}]"


def number(figure: Mapping[str, float | None]) -> str:
    """Write a CCC and its interval."""
    if figure["value"] is None:
        return "none"
    low, high = figure.get("low"), figure.get("high")
    return f"{figure['value']:.3f}" + (f" [{low:.3f} to {high:.3f}]" if low is not None and high is not None else "")


def share(value: float | None) -> str:
    """Write a share in percent; `none` where there is none."""
    return "none" if value is None else f"{100 * value:.1f} %"


def _metric(key: str) -> str:
    return NAMES.get(key) or _plain(
        f"CCC of {key.removeprefix('ccc_').removesuffix('_of_speakers')}"
        + (", mean of speakers' own" if key.endswith("_of_speakers") else "")
    )


def _corpus(content: Mapping[str, Any]) -> str:
    return f"`{_plain(content.get('corpus') or 'an unnamed corpus')}`"


def _count(how_many: int, what: str) -> str:
    return f"{how_many:,} {what}{'' if how_many == 1 else 's'}"


def _plain(value: object) -> str:
    """Write what somebody may have called anything so that Markdown takes it for text."""
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
    return text.replace("*", "\\*").replace("[", "\\[").replace("_", "\\_")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
