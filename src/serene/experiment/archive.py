"""Finished runs in one file: what is small of each, the same bytes for the same runs, and read without trusting it."""

from __future__ import annotations

import bz2
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from serene.errors import SereneError
from serene.experiment.run import OF_THE_CORPUS, Run
from serene.experiment.run_report import COLD_START, shift_of
from serene.experiment.sections import Recipe
from serene.files import whole_file, write_text
from serene.training.stages import StageSettings

ARCHIVE = "runs.tar.bz2"  # bzip2 has one implementation: the same text gives the same bytes everywhere
OF_THE_RUN = ("recipe.yaml", "report.json", COLD_START.as_posix(), *OF_THE_CORPUS)
OF_THE_TRAINING = ("environment.json", "probes.json", "log.jsonl")
OF_THE_TRIAL = (*OF_THE_TRAINING, "shift.json", "predictions.csv")
MEMBER = re.compile(
    rf"(?!\.\.?/)[^/\\]+/({'|'.join(map(re.escape, OF_THE_RUN))}"
    rf"|fold-[^/\\]+/seed-\d+/({'|'.join(map(re.escape, OF_THE_TRIAL))}))"
)
PLACE = ("run", "fold", "seed", "model")  # of a model folder of ours


def finished(folder: Path) -> list[Run]:
    """Open the runs of a folder of which a trial has finished."""
    found = [Run.open(path.parent) for path in sorted(folder.glob("*/recipe.yaml"))]
    return [run for run in found if any(run.folder.glob("fold-*/seed-*/predictions.csv*"))]


def keep(run: Run, folder: Path) -> None:
    """Copy what is small of a run's finished trials: no models, no embeddings, no word of where the corpus lay."""
    for trial in run.finished():
        target = folder / trial.folder.relative_to(run.folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in OF_THE_TRAINING:
            if (trial.folder / name).exists():
                shutil.copyfile(trial.folder / name, target / name)
        shift = shift_of(trial)
        if shift is not None:  # embeddings are not kept
            write_text(target / "shift.json", json.dumps(shift) + "\n")
        trial.predictions().write(target / "predictions.csv")
    for name in (*OF_THE_CORPUS, COLD_START):
        if (run.folder / name).exists():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(run.folder / name, folder / name)
    write_text(folder / "recipe.yaml", _nowhere(run.recipe).to_yaml())


def pack(runs: Path, archive: Path) -> None:
    """Write every file of a folder of kept runs into one archive: in the order of names, without times and owners."""
    files = {path.relative_to(runs).as_posix(): path for path in runs.rglob("*") if path.is_file()}
    with whole_file(archive) as temporary, tarfile.open(temporary, "w:bz2", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = files[name].stat().st_size
            with files[name].open("rb") as file:
                tar.addfile(entry, file)


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Read an archive without unpacking it.

    Yields:
        Name, such as `<run>/fold-1/seed-0/log.jsonl`, and content of each file.

    Raises:
        SereneError: as `unpack` does, as soon as it is known.
    """
    try:
        with bz2.open(archive) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for entry in tar:
                file = tar.extractfile(entry) if entry.isreg() and MEMBER.fullmatch(entry.name) else None
                if file is None:
                    raise _not_ours(archive, f"it holds '{entry.name}'")
                yield entry.name, file.read()
            while packed.read(tarfile.RECORDSIZE):  # to the end, where the last checksum is
                pass
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        raise _not_ours(archive, f"it is cut, damaged or something else ({error})") from error


def unpack(archive: Path, folder: Path) -> None:
    """Write an archive's files into a folder of scratch.

    Raises:
        SereneError: it is cut, damaged or no archive of `serene leaderboard`: it holds something beside the small files
            of runs, or not all that a run needs. The folder may then hold a part of it.
    """
    names = set()
    for name, content in members(archive):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        names.add(name)
    runs = {name.partition("/")[0] for name in names}
    trials = {name.rpartition("/")[0] for name in names if name.count("/") > 2}
    needed = [f"{run}/recipe.yaml" for run in runs]
    needed += [f"{trial}/{name}" for trial in trials for name in ("environment.json", "predictions.csv")]
    missing = min({*needed} - names, default=None) if trials else "predictions.csv"
    if missing:
        raise _not_ours(archive, f"it has no {missing}")


def _not_ours(archive: Path, reason: str) -> SereneError:
    return SereneError(
        f"{archive} is not an archive of runs: {reason}. Expected was a whole {ARCHIVE} that `serene leaderboard` "
        "wrote; fetch it again, or give a folder of runs."
    )


def _nowhere(recipe: Recipe) -> Recipe:
    """Take out of a recipe where things lie on this machine."""
    speakers = recipe.speakers and replace(recipe.speakers, path=None)
    stages = tuple(map(_stage_nowhere, recipe.stages))
    placed = recipe.with_weights(_unplaced)
    return replace(placed, corpus=replace(recipe.corpus, path=None), speakers=speakers, stages=stages)


def _stage_nowhere(stage: StageSettings) -> StageSettings:
    files = {key: _unplaced(value) for key, value in asdict(stage.targets).items() if isinstance(value, str)}
    corpora = [replace(corpus, path=None) for corpus in stage.corpora]
    return replace(stage, corpora=corpora, targets=replace(stage.targets, **files))


def _unplaced(weights: str) -> str:
    """Keep the name of weights: a hub's, a folder's own, and of a model folder of ours its place in the runs."""
    path = Path(weights)
    if path.name == PLACE[-1]:
        return "/".join(path.parts[-len(PLACE) :])
    return path.name if path.is_absolute() else weights
