"""A recipe meets its corpus: clips read or prepared, labels chosen, splits proved, the run's folder begun."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serene import inside, protocols
from serene.audio.augment import Augment, Copy
from serene.audio.input_spec import FrontEnd
from serene.audio.speaker_stream import SpeakerStream
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import MANIFESTS, Manifest, Utterance
from serene.corpora.parquet import is_manifest
from serene.corpora.prepare import folder_of, hashed, prepare
from serene.corpora.utterances import Utterances
from serene.errors import SereneError, quoted
from serene.evaluation.columns import check_names
from serene.evaluation.speakers import facts_of
from serene.experiment.run import OF_THE_CORPUS, Run, Trial
from serene.experiment.sections import Recipe, SpeakerSettings
from serene.files import write_text
from serene.models import weights
from serene.models.prefix import Prefix
from serene.models.training_speakers import training_clips_of, training_speakers_of
from serene.protocols import Split
from serene.protocols.split import RANDOM_SHARES, in_order
from serene.settings import CorpusSettings
from serene.task import Task
from serene.training.stages import Pretraining, pretraining_of
from serene.trust import accept

if TYPE_CHECKING:
    from serene.training.pretraining import Stage

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much


def silent(_what: str, _done: int, _of: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Plan:
    """A recipe that has met its corpus: everything that is decided before training.

    Attributes:
        recipe: the settings.
        task: what is learnt.
        splits_of: seed -> the protocol's folds, all that can be made; the same for every seed, unless it follows it.
        of_folds: how many the protocol has.
        run: where the trials go.
        speakers: the clips of the speaker corpus, where the recipe names one.
        stages: what the encoder goes through first.
        store: folder of computed features.
    """

    recipe: Recipe
    task: Task
    splits_of: dict[int, tuple[Split, ...]]
    of_folds: int
    speakers: Utterances
    stages: tuple[Stage, ...]
    run: Run
    store: Path

    @property
    def splits(self) -> tuple[Split, ...]:
        """The folds of the first seed."""
        return self.splits_of[self.recipe.seeds[0]]

    @property
    def trials(self) -> list[tuple[Split, Trial]]:
        """The folds and seeds that the recipe asks for."""
        wanted, seeds = self.recipe.run, self.recipe.seeds
        chosen = ([s for s in self.splits_of[seed] if wanted is None or s.fold in wanted] for seed in seeds)
        pairs = ((split, seed) for own in zip(*chosen, strict=True) for split, seed in zip(own, seeds, strict=True))
        return [(split, self.run.trial(split.fold, seed)) for split, seed in pairs]


def make_plan(recipe: Recipe, runs: Path, progress: Progress = silent) -> Plan:
    """Read the corpus, choose the labels, prove the splits, and begin or take up the run's folder.

    Raises:
        SereneError: whatever is wrong with recipe, corpus or protocol, before anything is trained.
    """
    accept(name for name in (recipe.frozen_weights, recipe.initial_weights) if name)  # its models name them too
    store = _checked(recipe, runs)
    stages = _stages(recipe, runs, progress)
    beginnings = [stages[-1].identity] if stages else _weights(recipe, store)
    manifest = load_corpus(recipe.corpus, runs, progress)
    corpus = load_corpus(recipe.speakers, runs, progress, "speakers") if recipe.speakers else None
    speakers = corpus.utterances if corpus else Utterances.of(())
    labelled, task = choose(manifest, target=recipe.labels.target, use=recipe.labels.use, join=recipe.labels.join)
    check_names(task)
    splits_of, of_folds = _splits_of(recipe, labelled, manifest, _trained_before(recipe, stages, manifest))
    splits = [split for own in splits_of.values() for split in own]
    met = training_speakers_of(store.front_end)
    for split in splits:
        if recipe.run is not None and split.fold not in recipe.run:
            continue
        stream_of(recipe, speakers, split, store)
        if met is not None:
            met.check(split, "the model behind features.weights" if recipe.frozen_weights else "the bundled model")
    digests = [labelled.digest, *([corpus.digest] if corpus else []), *beginnings]
    digests += [manifest.digest] if any(split.unlabelled for split in splits) else []
    digests += [labelled.digest_of(("id", *task.columns))] if task.columns else []
    run = Run.begin(runs, recipe, "+".join(digests))
    for name, facts in zip(OF_THE_CORPUS, (manifest.summarise(), facts_of(manifest)), strict=True):
        if not (run.folder / name).exists():  # finished trials answer for what the first one met
            write_text(run.folder / name, json.dumps(facts, indent=2) + "\n")
    return Plan(recipe, task, splits_of, of_folds, speakers, stages, run, runs / "store")


def _checked(recipe: Recipe, runs: Path) -> Store:
    """Refuse settings that make no sense together, before anything is written."""
    recipe.training.make()
    Augment(recipe.features.augment, recipe.features.augment_probability)
    encoder = recipe.model.encoder
    recipe.method.make().check(recipe.model.parts)
    encoder.maker.check(**encoder.settings)
    return Store(runs / "store", recipe.front_end.make())


def stored_by(recipe: Recipe, beginning: Path | None = None) -> FrontEnd:
    """Give what a recipe's trainings read from the store: its encoder's frozen part where nothing reaches below it.

    Args:
        recipe: the settings.
        beginning: the encoder that the recipe's stages made.
    """
    front_end, encoder = recipe.front_end.make(), recipe.model.encoder
    if beginning is not None:
        encoder = encoder.but(weights=str(beginning), config=None)
    if not encoder.maker.freezes(**encoder.settings) or recipe.reaches_below:
        return front_end
    normalize = recipe.features.normalize
    return Prefix(front_end=front_end, encoder=encoder.name, settings=encoder.settings, normalize=normalize)


def copies_of(recipe: Recipe, store: Store) -> tuple[Store, ...]:
    """Give the stores of the changed copies of training clips, where the recipe asks for such."""
    own, front_end = recipe.features, store.front_end
    made = {"front_end": front_end, "changes": own.augment, "probability": own.augment_probability}
    return tuple(Store(store.folder.parent, Copy(**made, number=n + 1)) for n in range(own.augment_copies))


def _splits_of(
    recipe: Recipe, labelled: Manifest, manifest: Manifest, before: dict[str, Utterance]
) -> tuple[dict[int, tuple[Split, ...]], int]:
    """Make the splits of each seed, once unless the protocol follows it; and count the protocol's folds."""
    rest = (labelled, manifest, before)
    if recipe.protocol_of(recipe.seeds[0]) is recipe.protocol:
        made = dict.fromkeys(recipe.seeds, _splits(recipe, *rest))
    else:
        made = {seed: _splits(replace(recipe, protocol=recipe.protocol_of(seed)), *rest) for seed in recipe.seeds}
    return {seed: splits for seed, (splits, _) in made.items()}, made[recipe.seeds[0]][1]


def _splits(
    recipe: Recipe, labelled: Manifest, manifest: Manifest, before: dict[str, Utterance]
) -> tuple[tuple[Split, ...], int]:
    """Make the protocol's splits, each with the unlabelled clips that it is measured with; and count its folds."""
    own = recipe.protocol
    splits, of_folds = protocols.make_some_splits(own.name, labelled, own.settings, recipe.run)
    if recipe.needs & {"features", "cepstra"}:
        splits = [split.with_unlabelled(recipe.features.enrolment_clips, manifest) for split in splits]
    if recipe.calibration:  # all of a speaker's clips are at hand before the first is answered
        splits = [
            replace(split, unlabelled=in_order(Utterances.joined((split.validation, split.test)))) for split in splits
        ]
    if before:
        splits = [replace(s, unlabelled=in_order((before | {u.id: u for u in s.unlabelled}).values())) for s in splits]
    if any(not split.validation for split in splits) and recipe.training["select_on"] != "last":
        raise SereneError("The protocol keeps no validation part; set training.select_on to 'last'.")
    folds = [split.fold for split in splits]
    for fold in recipe.run or ():
        if fold not in folds:
            raise SereneError(f"protocol.run asks for fold '{quoted(fold)}'; the folds are {quoted(', '.join(folds))}.")
    return tuple(splits), of_folds


def _stages(recipe: Recipe, runs: Path, progress: Progress) -> tuple[Stage, ...]:
    if not recipe.stages:
        return ()
    before = pretraining_of(recipe.name, recipe.model.encoder, recipe.features.normalize, recipe.stages)
    return plan_pretraining(before, runs, progress)


def plan_pretraining(recipe: Pretraining, runs: Path, progress: Progress) -> tuple[Stage, ...]:
    """Read the corpora of an encoder's stages, and find out what each begins with."""
    from serene.training.pretraining import plan_stages  # transformers' encoders take seconds to import

    return tuple(plan_stages(recipe, runs, lambda corpus, where: load_corpus(corpus, runs, progress, where)))


def _trained_before(recipe: Recipe, stages: tuple[Stage, ...], manifest: Manifest) -> dict[str, Utterance]:
    """Give the clips that the encoder was trained on, unlabelled: in its stages, or before it came to this recipe."""
    own = manifest.utterances.counts("corpus")
    hashes = training_clips_of(recipe.frozen_weights) | training_clips_of(recipe.initial_weights)
    trained = {u.id: u for u in manifest.utterances.where("audio_hash", hashes.__contains__)}
    return trained | {u.id: u for stage in stages for u in stage.trained if u.corpus in own}


def stream_of(recipe: Recipe, speakers: Utterances, split: Split, store: Store) -> SpeakerStream | None:
    """Give the stream of the speaker corpus, without whoever validates or tests, should both corpora be one."""
    if recipe.speakers is None:
        return None
    shares = split.validation_rule in RANDOM_SHARES  # its speakers are training's, and may be trained on
    unseen = split.test if shares else Utterances.joined((split.test, split.validation))
    names = set(zip(unseen.values("corpus"), unseen.values("speaker"), strict=True))
    scored = set(Utterances.joined((split.validation, split.test)).values("audio_hash"))
    people = zip(speakers.values("corpus"), speakers.values("speaker"), strict=True)
    others = speakers.take(np.fromiter((person not in names for person in people), bool, len(speakers)))
    return SpeakerStream(
        others.where("audio_hash", lambda own: own not in scored),
        store,
        batch_size=recipe.speakers.batch_size,
        crop=recipe.speakers.crop,
        enrol=recipe.features.normalize == "speaker",
        enrolment_clips=recipe.features.enrolment_clips,
    )


def _weights(recipe: Recipe, store: Store) -> list[str]:
    """Identify the weights that an encoder begins with, wherever they lie, and what a frozen one's outputs hang on."""
    frozen = [] if store.front_end.folder is None else [store.front_end.identity]
    begun = recipe.initial_weights
    return frozen if begun is None else [*frozen, weights.digest(begun)]


def load_corpus(
    settings: CorpusSettings | SpeakerSettings, runs: Path, progress: Progress = silent, section: str = "corpus"
) -> Manifest:
    """Read a recipe's manifest, or prepare its corpus folder: once, as long as the folder does not change."""
    path = folder_of(settings.name, settings.path)
    if path is None:
        raise SereneError(
            f"The recipe does not say where the corpus '{settings.name}' lies: add {section}.path=FOLDER, or the "
            "manifest that `serene prepare` made."
        )
    if _is_prepared(settings.name, path):
        manifest = _read(path, settings.name, section, progress)
    elif (kept := _kept_manifest(runs, settings.name, path)).exists() and settings.name != "table":
        manifest = Manifest.read(kept)
    else:  # a table is prepared each time: its own file does not tell whether the clips it names have changed
        manifest = prepare(settings.name, path, progress=lambda done, of: progress("decoding", done, of))
        manifest.write(_kept_manifest(runs, settings.name, path))  # `synthetic` has made its folder only now
    return manifest.only(settings.only, where=f"{section}.only") if settings.only else manifest


def files_of(plan: Plan) -> list[Path]:
    """Name the small files that a plan hangs on: its manifests, and what its run's folder says it is of."""
    runs, recipe = plan.run.folder.parent, plan.recipe
    found = [plan.run.folder / OF_THE_CORPUS[0]]
    for own in filter(None, (recipe.corpus, recipe.speakers)):
        path = folder_of(own.name, own.path)
        assert path is not None  # or there would be no plan
        found.append(path if _is_prepared(own.name, path) else _kept_manifest(runs, own.name, path))
    return found


def _is_prepared(corpus: str, path: Path) -> bool:
    """Tell a manifest from a corpus that has to be read first."""
    if corpus == "huggingface" and path.suffix.lower() == inside.PARQUET:
        return is_manifest(path)
    return path.suffix.lower() in MANIFESTS and corpus != "table"


def _read(path: Path, corpus: str, section: str, progress: Progress) -> Manifest:
    """Read a manifest, and make sure that it is of the corpus that the recipe, and so every report, names."""
    manifest = Manifest.read(path)
    others = set(manifest.utterances.counts("corpus")) - {corpus, None}
    if others:
        raise SereneError(
            f"{path} is of the corpus {' and '.join(sorted(map(str, others)))}, not of '{corpus}'; "
            f"set {section}.name to what it is."
        )
    return hashed(manifest, lambda done, of: progress("decoding", done, of))


def _kept_manifest(runs: Path, corpus: str, folder: Path) -> Path:
    """Name the prepared manifest of a corpus folder by its files' names, sizes and times, without reading them."""
    if not folder.exists() and corpus != "huggingface":  # which may lie on a hub
        return runs / "manifests" / f"{corpus}-absent.jsonl"  # the reader says what is missing, and where it is had
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    lines = [f"{p.relative_to(folder)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in paths]
    digest = hashlib.sha256("\n".join([str(folder.resolve()), *lines]).encode()).hexdigest()[:12]
    return runs / "manifests" / f"{corpus}-{digest}.jsonl"
