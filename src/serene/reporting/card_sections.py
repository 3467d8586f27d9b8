"""The sections of a model card: what the model does, how to load it, limits, data, training, and every figure."""

from __future__ import annotations

from serene import registry
from serene.audio import kind_of
from serene.evaluation.columns import MOST_CLASSES
from serene.models import ENCODERS
from serene.reporting.card_metadata import Subject, code, corpus_of, licence_of, plain, pretrained, table, upstream_name
from serene.reporting.figures import HEAD, SHARE, count, metric_name, metric_rows, probe_words, short_name, spreads

TARGETS = {
    "emotion": "the corpus's own, which in acted speech is what the actor was asked for",
    "emotion_perceived": "what most listeners perceived",
    "votes": "the shares of the listeners' votes",
    "dimensions": "the corpus's numbers, on its own scale",
    "speaker": "who speaks",
}
SELDOM = 0.1  # of a class's clips: a model that recognises fewer has hardly learnt it
DOES = {"probabilities": "scores", "values": "gives values of"}  # by what a task gives
PRINTED = {"probabilities": "answer.label, answer.scores", "values": "answer.scores"}
READS = {  # by where the front end's weights lie
    "none": "",
    "elsewhere": "It reads what a pretrained encoder gives, whose weights are not among these files.",
    "package": "It reads what the bundled model of serene gives, and answers with a release that has the same one.",
}
USE = """```python
import serene

recognizer = serene.Recognizer.load("FOLDER")  # these files' folder, or their name on the hub
answer = recognizer("a.wav")
print({printed})
```

On the command line: `serene predict a.wav --model FOLDER`."""


def head(s: Subject) -> list[str]:
    """Say what the model does and how well, in a few lines, and what to know before comparing that."""
    names = s.task.names
    listed = f": {', '.join(map(plain, names))}" if len(names) <= MOST_CLASSES else ""
    lines = [
        f"# {plain(s.content['title'])}",
        f"Takes a clip of speech and {DOES[s.task.gives]} {count(len(names), s.task.noun)}{listed}.",
        _headline(s),
    ]
    stamps = [f"> * {plain(stamp[:1].upper() + stamp[1:])}" for stamp in s.content["stamps"]]
    if stamps:
        lines.append("\n".join(["> **Read this before comparing its figures with others:**", ">", *stamps]))
    return lines


def _headline(s: Subject) -> str:
    metrics, task = s.content["metrics"], s.task
    found = ", ".join(f"{plain(short_name(key))} {s.unit.interval(metrics[key])}" for key in task.headline)
    beside = s.unit.hint or f", where chance is {SHARE.one(1 / len(task.names))}"
    unseen = "On unseen speakers" if s.content["speaker_independent"] else "In its test"
    clips, people = f"{s.content['n_utterances']:,} clips", count(s.content["n_speakers"], "speaker")
    where = f"{clips} of {people} of {corpus_of(s.content)}"
    return f"**{unseen}: {found}**{beside}; {where}. In brackets, here and below: 95 % intervals."


def use(s: Subject) -> list[str]:
    """Show how the folder is loaded, and what else can be made of it."""
    lines = [USE.format(printed=PRINTED[s.task.gives])]
    parts = s.config.get("parts", {})
    enrols = parts.get("embedding_norm") == "speaker" or parts.get("speaker_embedding", "").startswith("mfcc")
    if s.config["normalize"] == "speaker" or enrols:
        lines.append(
            "It gains from enrolment: `serene enrol CLIP ... --model FOLDER -o anna.json` makes a profile of "
            "unlabelled clips, and `serene predict a.wav --model FOLDER --profile anna.json` uses it. The clips "
            "should be a fair mixture of emotions: those of few count for less."
        )
    if s.preprocessor and (read := READS[kind_of(s.preprocessor).declared.weights]):
        lines.append(read)
    if registry.load(s.config["encoder"], ENCODERS, "encoder").stock:
        lines.append(
            "`serene export FOLDER -o OTHER --to transformers` makes a folder that plain transformers loads, if the "
            "model's structure has its like there; if not, it says why."
        )
    return lines


def limits(s: Subject) -> list[str]:
    """Say what the model is for, and what it is not for."""
    tongues = [plain(str(name).capitalize()) for name in s.content.get("languages") or ()]
    learnt = count(s.speakers[0], "speaker") if s.speakers else "the speakers of one corpus"
    spoken = f", who speak {' or '.join(tongues)}" if tongues else ""
    elsewhere = "" if s.elsewhere else " How it does on another corpus was not measured."
    lines = [
        f"* Its answers imitate labels: {TARGETS[s.content.get('target', 'emotion')]}. They tell how a clip sounds, "
        "not what somebody feels, thinks or is about to do.",
        "* It is not for decisions about people, such as hiring, teaching, policing, insuring or diagnosing.",
        f"* It learnt from {learnt}{spoken}. Other accents, ages, rooms, microphones and ways of speaking may fare "
        f"worse.{elsewhere}",
    ]
    meant = "It is meant for research on speech, and for tools whose users know what listens to them."
    return [meant, "\n".join(lines)]


def data(s: Subject) -> list[str]:
    """Name what was learnt from, with licences and citations."""
    known, chosen = s.content.get("data"), s.content.get("only") or {}
    name, other, upstream = str(s.content.get("corpus")), s.content.get("speaker_corpus"), pretrained(s.content)
    counted = corpus_of(s.content)
    if known:
        people = count(known["speakers"], "speaker")
        counted += f": {known['utterances']:,} clips of {people}, {known['hours']:.2f} hours"
    if chosen:
        counted += "; of these, those with " + ", ".join(f"{plain(key)} {code(value)}" for key, value in chosen.items())
    lines = [f"* {counted}. {_licence(name)}"]
    if other:
        lines.append(f"* {code(other)}, for its speakers alone. {_licence(str(other))}")
    if upstream:
        lines.append(
            f"* The encoder began with the weights {upstream_name(upstream)}. Whose speech they come from, and their "
            "licence, is for their own card to say."
        )
    given = (
        f"These weights are under {plain(s.licence)}"
        if s.licence
        else "Nobody has chosen a licence for these weights yet"
    )
    lines.append(f"* {given}; what the licences of the data ask for holds beside it.")
    return ["\n".join(lines)]


def _licence(corpus: str) -> str:
    licence, citation = licence_of(corpus)
    said = f"Licence: {licence}." if licence else "Its reader states no licence."
    return f"{said} Cite: {citation}." if citation else said


def training(s: Subject) -> list[str]:
    """Say by which protocol the figures came about, and which of the trained models this one is."""
    content, facts = s.content, s.facts
    apart = "are not in training" if content["speaker_independent"] else "**are in training too**"
    of_others = "enrolled with, or adapted to," if content["saw_unlabelled_test_audio"] else "given none of"
    folds, seeds = len(content["folds"]), len(content["seeds"])
    chosen, run = plain(facts["selected_epoch"]), plain(facts["epochs_run"])
    lines = [
        f"* Protocol: {plain(content['protocol'])}. Test speakers {apart}; the models are {of_others} "
        "their other, unlabelled clips.",
        f"* Selection: {plain(content['selection'])}.",
        f"* The figures are of all that was run: {count(folds, 'fold')}, {count(seeds, 'seed')}, each trained anew. "
        f"**This folder holds the model of fold {s.fold_words}, seed {s.seed}**, after epoch {chosen} "
        f"of {run}.{_own_fold(s)}",
    ]
    if s.speakers:
        trained, validated = s.speakers
        lines.append(f"* It was trained on {count(trained, 'speaker')} and selected by {count(validated, 'other')}.")
    if content.get("recipe_hash"):
        lines.append(f"* Method {code(content.get('method'))}, run {code(content['recipe_hash'])}.")
    return ["\n".join(lines)]


def _own_fold(s: Subject) -> str:
    """Give the figure of the model's own fold, where there are several."""
    key = s.task.headline[0]
    own = s.content["metrics_mean_of_folds"][key]["folds"].get(s.fold)
    if own is None or len(s.content["folds"]) < 2:
        return ""
    return f" That fold alone has {plain(short_name(key))} {s.unit.one(own)}."


def figures(s: Subject) -> list[str]:
    """Give the metrics with their intervals, and the recall of each class."""
    lines = [[plain(name), *cells] for name, *cells in metric_rows(s.task, s.content)]
    parts = [table(HEAD, lines)]
    recalls = s.content.get("per_class_recall") or {}
    if recalls and len(recalls) <= MOST_CLASSES:
        parts.append(table(["", "recognised"], [[plain(name), SHARE.one(recall)] for name, recall in recalls.items()]))
    return parts


def speakers(s: Subject) -> list[str]:
    """Say how far the speakers are apart, and the groups that the corpus tells apart; nobody is named."""
    one = s.unit.one
    lines = [
        f"{plain(short_name(key))} of single test speakers goes from {one(of['worst'])} to {one(of['best'])}; the "
        f"worst tenth has {one(of['worst_tenth'])} on average."
        for key, of in spreads(s.task, s.content).items()
    ]
    return lines + _groups(s)


def _groups(s: Subject) -> list[str]:
    keys, tables = s.task.headline, []
    for column, groups in (s.content.get("per_group") or {}).items():
        rows = []
        for name, own in groups.items():
            measured = [s.unit.interval(own["metrics"][key]) if own["metrics"] else "too few speakers" for key in keys]
            rows.append([plain(name), f"{own['n_speakers']:,}", f"{own['n_utterances']:,}", *measured])
        tables.append(table([plain(column), "speakers", "clips", *(plain(metric_name(key)) for key in keys)], rows))
    return tables or ["Groups of speakers were not compared: the corpus does not say who belongs to which."]


def probe(s: Subject) -> list[str]:
    """Say how much of the speaker is left in the embedding."""
    return ["\n".join(f"* {part}: {said}" for part, said in probe_words(s.content).items())]


def reliability(s: Subject) -> list[str]:
    """Say how far scores can be taken for probabilities, and what a threshold brings."""
    if s.task.gives != "probabilities":
        return []
    found, temperature = s.content.get("reliability"), s.config.get("temperature", 1.0)
    scaled = f"divides its logits by {temperature:.4g}, which was fitted to validation clips (temperature scaling)"
    how = f"In serene, this model {'does not scale its scores' if temperature == 1 else scaled}."
    if not found:
        return [how, "How far scores are from probabilities was not measured."]
    rows = [[f"{one['threshold']:g}", SHARE.one(one["answered"]), SHARE.one(one["risk"])] for one in found["coverage"]]
    said = (
        f"Expected calibration error (15 bins): {SHARE.interval(found['ece'])}. Where clips whose highest score is "
        "below a threshold are left unanswered (`serene predict --abstain`):"
    )
    return [how, said, table(["threshold", "clips answered", "of these wrong"], rows)]


def elsewhere(s: Subject) -> list[str]:
    """Give the model's figures on corpora that it was not trained on, and the classes that it misses there."""
    if not s.elsewhere:
        return []
    keys = list(dict.fromkeys(key for one in s.elsewhere for key in one["metrics"]))
    enrolled = any(one.get("cold_start") for one in s.elsewhere)
    rows, notes = [], []
    for one in s.elsewhere:
        measured = [s.unit.interval(one["metrics"][key]) if key in one["metrics"] else "not measured" for key in keys]
        measured += [s.unit.interval(one["cold_start"]["all"]) if one.get("cold_start") else "not measured"] * enrolled
        rows.append([corpus_of(one), f"{one['n_utterances']:,}", f"{one['n_speakers']:,}", *measured])
        notes += [f"* {corpus_of(one)}: {plain(stamp)}" for stamp in one["stamps"]]
    last = f"{plain(short_name(s.task.headline[0]))}, each speaker enrolled with all of their unlabelled clips"
    head = ["", "clips", "speakers", *(plain(metric_name(key)) for key in keys), *[last] * enrolled]
    own = ["The figures are of the model in this folder."] * all("fold" in one for one in s.elsewhere)
    return [*own, table(head, rows), *_recalls(s), *["\n".join(notes)] * bool(notes)]


def _recalls(s: Subject) -> list[str]:
    """Give the recall of each class on other corpora, and name the classes that are hardly ever recognised there."""
    recalls = {corpus_of(one): one.get("per_class_recall") or {} for one in s.elsewhere}
    shown = [name for name in s.task.names if any(found.get(name) is not None for found in recalls.values())]
    if not shown or len(s.task.names) > MOST_CLASSES:
        return []
    rows = [[plain(name), *(SHARE.one(found.get(name), "–") for found in recalls.values())] for name in shown]
    missed = []
    for corpus, found in recalls.items():
        seldom = {name: found[name] for name in shown if found.get(name) is not None and found[name] < SELDOM}
        told = ", ".join(f"{plain(name)} {SHARE.one(share)}" for name, share in seldom.items())
        missed += [f"on {corpus} {told}"] if seldom else []
    parts = [table(["recognised", *recalls], rows)]
    warning = f"**Hardly ever recognised** (fewer than one clip in ten): {'; '.join(missed)}."
    return [*parts, *[warning] * bool(missed)]


def cold_start(s: Subject) -> list[str]:
    """Give accuracy by how many of a speaker's clips are enrolled, where that was measured."""
    if not s.cold_start:
        return []
    rows = [[plain(clips), s.unit.interval(figure)] for clips, figure in s.cold_start.items()]
    head = ["unlabelled clips of the speaker", plain(short_name(s.task.headline[0]))]
    said = (
        "Each test speaker is enrolled with so many of their own unlabelled clips, or with all that there are if these "
        "are fewer. The enrolled clips are answered as well; so never compare with a system that is given one clip at "
        "a time."
    )
    return [said, table(head, rows)]


SECTIONS = {  # below the head: title -> paragraphs; a section without any is left out
    "How to load it": use,
    "Intended use and limits": limits,
    "Data": data,
    "How it was trained and measured": training,
    "Figures": figures,
    "Speakers and groups": speakers,
    "Speaker probe": probe,
    "Reliability": reliability,
    "On other corpora": elsewhere,
    "Cold start": cold_start,
}
