"""What a model card says before its figures: what the model does, how to load it, limits, data and training."""

from __future__ import annotations

from serene.evaluation.columns import MOST_CLASSES
from serene.reporting.card_metadata import licence_of, pretrained, upstream_words
from serene.reporting.card_words import Subject, code, corpus_of, count, decimal, plain, share

TARGETS = {
    "emotion": "the corpus's own, which in acted speech is what the actor was asked for",
    "emotion_perceived": "what most listeners heard",
    "votes": "the shares of the listeners' votes",
    "dimensions": "the corpus's numbers, on its own scale",
    "speaker": "who speaks",
}
USE = """```python
import serene

recognizer = serene.Recognizer.load("FOLDER")  # these files' folder, or their name on the hub
answer = recognizer("a.wav")
print({printed})
```

On the command line: `serene predict a.wav --model FOLDER`."""


def head(s: Subject) -> str:
    """Say what the model does and how well, in a few lines, and what to know before comparing that."""
    kind = "dimension" if s.dimensional else "speaker" if s.names_speakers else "emotion"
    does = "gives values of" if s.dimensional else "scores"
    listed = f": {', '.join(map(plain, s.classes))}" if len(s.classes) <= MOST_CLASSES else ""
    lines = [
        f"# {plain(s.content['title'])}",
        f"Hears a clip of speech and {does} {count(len(s.classes), kind)}{listed}.",
        _headline(s),
    ]
    stamps = [f"> * {plain(stamp[:1].upper() + stamp[1:])}" for stamp in s.content["stamps"]]
    if stamps:
        lines.append("\n".join(["> **Read this before comparing its figures with others:**", ">", *stamps]))
    return "\n\n".join(lines)


def _headline(s: Subject) -> str:
    metrics = s.content["metrics"]
    if s.dimensional:
        found = ", ".join(f"CCC of {plain(name)} {s.said(metrics[f'ccc_{name}'])}" for name in s.classes)
        beside = " (1 is perfect agreement, 0 none)"
    else:
        found, beside = f"UA {s.said(metrics['ua'])}", f", where chance is {share(1 / len(s.classes))}"
    unseen = "On speakers whom it has never heard" if s.content["speaker_independent"] else "In its test"
    where = (
        f"{s.content['n_utterances']:,} clips of {count(s.content['n_speakers'], 'speaker')} of {corpus_of(s.content)}"
    )
    return f"**{unseen}: {found}**{beside}; {where}. In brackets, here and below: 95 % intervals."


def use(s: Subject) -> str:
    """Show how the folder is loaded, and what else can be made of it."""
    lines = [
        "## How to load it",
        USE.format(printed="answer.scores" if s.dimensional else "answer.label, answer.scores"),
    ]
    parts = s.config.get("parts", {})
    hears_more = parts.get("embedding_norm") == "speaker" or parts.get("speaker_embedding", "").startswith("mfcc")
    if s.config["normalize"] == "speaker" or hears_more:
        lines.append(
            "It gains from knowing the speaker: `serene enrol CLIP ... --model FOLDER -o anna.json` makes a profile of "
            "clips without labels, and `serene predict a.wav --model FOLDER --profile anna.json` uses it. The "
            "clips should be a fair mixture: whoever is enrolled by angry ones alone will seem calm."
        )
    if s.preprocessor.get("front_end") == "frozen":
        lines.append("It reads what a pretrained encoder gives, whose weights are not among these files.")
    if s.config["encoder"] == "hubert":
        lines.append(
            "`serene export FOLDER -o OTHER --to transformers` makes a folder that plain transformers loads, if the "
            "model's structure has its like there; if not, it says why."
        )
    return "\n\n".join(lines)


def limits(s: Subject) -> str:
    """Say what the model is for, and what it is not for."""
    tongues = [str(name).capitalize() for name in s.content.get("languages") or ()]
    heard = f"It learnt from {count(s.met[0], 'speaker')}" if s.met else "It learnt from the speakers of one corpus"
    spoken = f", who speak {' or '.join(tongues)}" if tongues else ""
    elsewhere = "" if s.elsewhere else " How it does on another corpus was not measured."
    lines = [
        f"* Its answers imitate labels: {TARGETS[s.content.get('target', 'emotion')]}. They tell how a clip sounds, "
        "not what somebody feels, thinks or is about to do.",
        "* It is not for decisions about people, such as hiring, teaching, policing, insuring or diagnosing.",
        f"* {heard}{spoken}. Other accents, ages, rooms, microphones and ways of speaking may fare worse.{elsewhere}",
    ]
    meant = "It is meant for research on speech, and for tools whose users know what listens to them."
    return "\n\n".join(["## Intended use and limits", meant, "\n".join(lines)])


def data(s: Subject) -> str:
    """Name what was learnt from, with licences and citations."""
    known, chosen = s.content.get("data"), s.content.get("only") or {}
    name, other, upstream = str(s.content.get("corpus")), s.content.get("speaker_corpus"), pretrained(s.content)
    counted = corpus_of(s.content)
    if known:
        counted += (
            f": {known['utterances']:,} clips of {count(known['speakers'], 'speaker')}, {known['hours']:.2f} hours"
        )
    if chosen:
        counted += "; of these, those with " + ", ".join(f"{key} {code(value)}" for key, value in chosen.items())
    lines = [f"* {counted}. {_licence(name)}"]
    if other:
        lines.append(f"* {code(other)}, for its speakers alone. {_licence(str(other))}")
    if upstream:
        lines.append(
            f"* The encoder began with the weights {upstream_words(upstream)}. Whose speech they come from, and their "
            "licence, is for their own card to say."
        )
    given = f"These weights are under {s.licence}" if s.licence else "Nobody has chosen a licence for these weights yet"
    lines.append(f"* {given}; what the licences of the data ask for holds beside it.")
    return "\n\n".join(["## Data", "\n".join(lines)])


def _licence(corpus: str) -> str:
    licence, citation = licence_of(corpus)
    said = f"Licence: {licence}." if licence else "Its reader states no licence."
    return f"{said} Cite: {citation}." if citation else said


def training(s: Subject) -> str:
    """Say by which protocol the figures came about, and which of the trained models this one is."""
    content, facts = s.content, s.facts
    apart = "are strangers to training" if content["speaker_independent"] else "**are no strangers** to training"
    heard = (
        "was heard, without labels" if content["saw_unlabelled_test_audio"] else "was not heard, not even unlabelled"
    )
    folds, seeds = len(content["folds"]), len(content["seeds"])
    lines = [
        f"* Protocol: {plain(content['protocol'])}. Test speakers {apart}; their other audio {heard}.",
        f"* Selection: {plain(content['selection'])}.",
        f"* The figures are of all that was run: {count(folds, 'fold')}, {count(seeds, 'seed')}, each trained anew. "
        f"**This folder holds the model of fold {s.fold_words}, seed {s.seed}**, after epoch {facts['selected_epoch']} "
        f"of {facts['epochs_run']}.{_own_fold(s)}",
    ]
    if s.met:
        trained, validated = s.met
        lines.append(f"* It was trained on {count(trained, 'speaker')} and selected by {count(validated, 'other')}.")
    if content.get("recipe_hash"):
        lines.append(f"* Method {code(content.get('method'))}, run {code(content['recipe_hash'])}.")
    return "\n\n".join(["## How it was trained and measured", "\n".join(lines)])


def _own_fold(s: Subject) -> str:
    """Give the figure of the model's own fold, where there are several."""
    key = f"ccc_{s.classes[0]}" if s.dimensional else "ua"
    own = s.content["metrics_mean_of_folds"][key]["folds"].get(s.fold)
    if own is None or len(s.content["folds"]) < 2:
        return ""
    figure = f"CCC of {plain(s.classes[0])} {decimal(own)}" if s.dimensional else f"UA {share(own)}"
    return f" That fold alone has {figure}."
