"""A table's picture of ours: curves, training accuracy batch by batch, or embeddings laid out in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from serene.errors import SereneError
from serene.experiment.plan import load_corpus
from serene.files import whole_file
from serene.published import Picture
from serene.reporting import answer_plots, plots
from serene.reproduce.measures import Trained
from serene.reproduce.reproduction import Entry


def draw(
    picture: Picture, ours: Mapping[tuple[str, str], Entry], plain: Mapping[str, Trained], path: Path
) -> tuple[Path | None, Sequence[str]]:
    """Draw what was measured; None where nothing was. With it come sentences on what the picture shows."""
    figure, shown = None, list[str]()
    if picture.kind == "per_batch" and plain:
        figure = plots.per_batch({row: trained.batches(trained.trials[0]) for row, trained in plain.items()})
    elif picture.kind == "embeddings" and plain:
        systems = {row: _embeddings(trained) for row, trained in plain.items()}
        figure, shown = answer_plots.tsne_of_parts(systems), _of_whom(systems)
    elif picture.kind == "curves":
        found = {row: _line(picture, row, ours) for row in dict.fromkeys(row for row, _ in ours)}
        lines = {row: line for row, line in found.items() if line[0]}
        figure = plots.curves(lines, picture.x_label, picture.y_label, log_x=picture.log_x) if lines else None
    if figure is None:
        return None, shown
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=160)
    return path, shown


def _embeddings(trained: Trained) -> answer_plots.Parts:
    """Read the first training's embeddings of validation and training clips, with emotions and speakers.

    Raises:
        SereneError: they were not kept.
    """
    trial, runs = trained.trials[0], trained.run.folder.parent
    validation, training = trial.embeddings("validation"), trial.embeddings("train")
    if validation is None or training is None:
        raise SereneError(f"{trial.folder} has finished, and its embeddings are gone. Delete it and train again.")
    clips = {u.id: u for u in load_corpus(trained.recipe.corpus, runs)}
    answers = trial.predictions().select(part="validation", fold=trial.fold, seed=trial.seed)
    truth = dict(zip(answers.id.tolist(), (answers.names[place] for place in answers.truth.tolist()), strict=True))
    return answer_plots.Parts(
        validation=validation[1],
        emotions=[truth[name] for name in validation[0]],
        validated=[clips[name].speaker for name in validation[0]],
        training=training[1],
        trained=[clips[name].speaker for name in training[0]],
    )


def _of_whom(systems: Mapping[str, answer_plots.Parts]) -> list[str]:
    """Say whose clips the picture shows."""
    parts = next(iter(systems.values()))
    people, four = sorted(set(parts.validated)), answer_plots.some_speakers(parts.trained)
    shown = f"The picture shows the first run's validation clips by emotion, and clips of {len(four)} training speakers"
    told = [f"{shown} ({', '.join(four)}) by speaker, each layout by t-SNE."]
    if len(people) == 1:
        told.append(
            f"Validation is one speaker, {people[0]}: the picture by emotion is of nobody else, and says nothing of "
            "whether speakers are mixed there."
        )
    return told


def _line(picture: Picture, row: str, ours: Mapping[tuple[str, str], Entry]) -> plots.Line:
    """Give a row's places, its figures as shares, and the band of their intervals where they have one."""
    known = [(place, ours[row, column].ours) for column, place in picture.places.items() if (row, column) in ours]
    bands = [(one.low / 100, one.high / 100) for _, one in known if one.low is not None and one.high is not None]
    low, high = zip(*bands, strict=True) if len(bands) == len(known) and bands else (None, None)
    return [place for place, _ in known], [one.figure.value / 100 for _, one in known], low, high
