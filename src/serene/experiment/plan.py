"""A recipe meets its corpus: labels chosen, splits proved, the run's folder begun, before anything is trained."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from serene import protocols
from serene.audio.augment import Augment
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.evaluation.columns import check_names
from serene.evaluation.speakers import facts_of
from serene.experiment.corpus import Progress, load_corpus, silent
from serene.experiment.run import Run, Trial
from serene.experiment.sections import Recipe
from serene.experiment.trial import store_of, stream_of
from serene.files import write_text
from serene.models import weights
from serene.models.training_speakers import training_clips_of, training_speakers_of
from serene.protocols import Split
from serene.protocols.split import in_order
from serene.task import Task
from serene.training.pretraining import Stage, plan_stages
from serene.training.stages import Pretraining, pretraining_of


@dataclass(frozen=True)
class Plan:
    """A recipe that has met its corpus: everything that is decided before training.

    Attributes:
        recipe: the settings.
        task: what is learnt.
        splits: the protocol's folds, all of them.
        run: where the trials go.
        speakers: the clips of the speaker corpus, where the recipe names one.
        stages: what the encoder goes through first.
        store: folder of computed features.
    """

    recipe: Recipe
    task: Task
    splits: tuple[Split, ...]
    speakers: tuple[Utterance, ...]
    stages: tuple[Stage, ...]
    run: Run
    store: Path

    @property
    def trials(self) -> list[tuple[Split, Trial]]:
        """The folds and seeds that the recipe asks for."""
        wanted = self.recipe.run
        chosen = [split for split in self.splits if wanted is None or split.fold in wanted]
        return [(split, self.run.trial(split.fold, seed)) for split in chosen for seed in self.recipe.seeds]


def make_plan(recipe: Recipe, runs: Path, progress: Progress = silent) -> Plan:
    """Read the corpus, choose the labels, prove the splits, and begin or take up the run's folder.

    Raises:
        SereneError: whatever is wrong with recipe, corpus or protocol, before anything is trained.
    """
    recipe.training.make()  # these refuse what makes no sense before anything is written
    store = store_of(recipe, runs / "store")
    Augment(recipe.features.augment, recipe.features.augment_probability)
    encoder, parts = recipe.model.encoder, recipe.model.parts
    recipe.method.make().check(parts)
    encoder.maker.check(**encoder.settings)
    stages = _stages(recipe, runs, progress)
    beginnings = [stages[-1].identity] if stages else _weights(recipe, store)
    manifest = load_corpus(recipe.corpus, runs, progress)
    speakers = load_corpus(recipe.speakers, runs, progress, "speakers") if recipe.speakers else None
    labelled, task = choose(manifest, target=recipe.labels.target, use=recipe.labels.use, join=recipe.labels.join)
    check_names(task)
    splits = protocols.make_splits(recipe.protocol.name, labelled, recipe.protocol.settings)
    if recipe.needs & {"features", "cepstra"}:
        splits = [split.with_unlabelled(recipe.features.enrolment_clips, manifest) for split in splits]
    if recipe.calibration:  # each speaker is enrolled with all unlabelled clips before the first is answered
        splits = [replace(split, unlabelled=in_order((*split.validation, *split.test))) for split in splits]
    if before := _trained_before(recipe, stages, manifest):
        both = [before | {u.id: u for u in split.unlabelled} for split in splits]
        splits = [replace(s, unlabelled=in_order(used.values())) for s, used in zip(splits, both, strict=True)]
    if any(not split.validation for split in splits) and recipe.training["select_on"] != "last":
        raise SereneError("The protocol keeps no validation part; set training.select_on to 'last'.")
    others = speakers.utterances if speakers else ()
    met = training_speakers_of(recipe.frozen_weights)
    for split in splits:
        stream_of(recipe, others, split, store)
        if met is not None and (recipe.run is None or split.fold in recipe.run):
            met.check(split, "the model behind features.weights")
    folds = [split.fold for split in splits]
    for fold in recipe.run or ():
        if fold not in folds:
            raise SereneError(f"protocol.run asks for fold '{fold}'; the folds are {', '.join(folds)}.")
    digests = [labelled.digest, *([speakers.digest] if speakers else []), *beginnings]
    digests += [manifest.digest] if any(split.unlabelled for split in splits) else []
    digests += [labelled.digest_of(("id", *task.columns))] if task.columns else []
    run = Run.begin(runs, recipe, "+".join(digests))
    write_text(run.folder / "corpus.json", json.dumps(manifest.summarise(), indent=2) + "\n")
    write_text(run.folder / "speakers.json", json.dumps(facts_of(manifest), indent=2) + "\n")
    return Plan(recipe, task, tuple(splits), others, stages, run, runs / "store")


def _stages(recipe: Recipe, runs: Path, progress: Progress) -> tuple[Stage, ...]:
    if not recipe.stages:
        return ()
    before = pretraining_of(recipe.name, recipe.model.encoder, recipe.features.normalize, recipe.stages)
    return plan_pretraining(before, runs, progress)


def plan_pretraining(recipe: Pretraining, runs: Path, progress: Progress) -> tuple[Stage, ...]:
    """Read the corpora of an encoder's stages, and find out what each begins with."""
    return tuple(plan_stages(recipe, runs, lambda corpus, where: load_corpus(corpus, runs, progress, where)))


def _trained_before(recipe: Recipe, stages: tuple[Stage, ...], manifest: Manifest) -> dict[str, Utterance]:
    """Give the clips that the encoder was trained on, unlabelled: in its stages, or before it came to this recipe."""
    own = {u.corpus for u in manifest}
    hashes = training_clips_of(recipe.frozen_weights) | training_clips_of(recipe.initial_weights)
    trained = {u.id: u for u in manifest if u.audio_hash in hashes}
    return trained | {u.id: u for stage in stages for u in stage.trained if u.corpus in own}


def _weights(recipe: Recipe, store: Store) -> list[str]:
    """Identify the weights that an encoder begins with, wherever they lie, and what a frozen one's outputs hang on."""
    frozen = [store.front_end.identity] if recipe.frozen_weights else []
    begun = recipe.initial_weights
    return frozen if begun is None else [*frozen, weights.digest(begun)]
