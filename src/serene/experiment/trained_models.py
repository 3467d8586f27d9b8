"""Trained models that meet a manifest: those of a run, or one of its own, and whether they have met its speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from serene.audio.dataset import Dataset, contexts_of
from serene.audio.store import Store
from serene.corpora.manifest import Utterance
from serene.experiment.run import Run
from serene.experiment.sections import Recipe
from serene.inference.folder import ModelFolder
from serene.models.training_speakers import TrainingSpeakers
from serene.speaker import Statistics
from serene.task import Task


@dataclass(frozen=True)
class Model:
    """A trained model that meets a manifest.

    Attributes:
        folder: its files.
        fold: that it was trained for.
        seed: of its training.
        training: embeddings of its training clips (utterance, feature), where these were kept.
    """

    folder: ModelFolder
    fold: str
    seed: int
    training: np.ndarray | None = None

    def dataset(self, clips: Sequence[Utterance], store: Store, task: Task, enrolled: int | None) -> Dataset:
        """Make a dataset of unseen speakers, each enrolled with all or so many of their own unlabelled clips."""
        needs = self.folder.needs
        contexts = contexts_of(clips, needs, store, clips=enrolled, known=self.folder.config["speakers"])
        if "embeddings" in needs:
            nothing = Statistics.of_nothing(self.folder.widths["embeddings"])
            contexts = {person: replace(known, embeddings=nothing) for person, known in contexts.items()}
        return Dataset(clips, store, task=task, speakers=(), contexts=contexts if needs else None)


@dataclass(frozen=True)
class Models:
    """Models of one kind, such as those of a run, and what is known of how they came about.

    Attributes:
        name: of the run or the model.
        members: at least one.
        place: folder of what is written.
        identity: of the run or the model.
        recipe: of the run.
        selection: how their epoch was selected.
    """

    name: str
    members: Sequence[Model]
    place: Path
    identity: str
    recipe: Recipe | None = None
    selection: str = "not known: a model on its own does not tell"

    @classmethod
    def of_run(cls, run: Run) -> Models:
        """Take the models that a run kept.

        Raises:
            SereneError: one is gone, or not as it was written.
        """
        members, trials = [], run.finished()
        for trial in trials:
            trial.check("model")
            folder, kept = ModelFolder.read(trial.folder / "model", run.folder.name), trial.embeddings("train")
            members.append(Model(folder, trial.fold, trial.seed, kept and kept[1]))
        selection = trials[0].facts()["selection"]
        return cls(run.folder.name, members, run.folder / "on", run.identity, run.recipe, selection)

    @classmethod
    def of_folder(cls, folder: ModelFolder, place: Path) -> Models:
        """Take one model; `place` is the folder of what is written."""
        name, identity = folder.name, folder.identity
        return cls(name, [Model(folder, "the model's", 0)], place / f"{name}-{identity}", identity)

    def unseen(self, clips: Sequence[Utterance]) -> bool | None:
        """Say whether none has met a speaker of some clips; None for unknown."""
        records = [TrainingSpeakers.read(model.folder.path) for model in self.members]
        found = {record and record.unseen(clips) for record in records}
        return False if False in found else None if None in found else True

    @property
    def target(self) -> str:
        """What they learnt, as a recipe says it."""
        return self.recipe.labels.target if self.recipe else self.members[0].folder.task.target

    @property
    def corpus(self) -> str | None:
        """The corpus that they learnt from, where that is known."""
        return self.recipe.corpus.name if self.recipe else None
