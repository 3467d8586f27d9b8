"""Whom a model was trained on, kept in its folder, so that nobody is taken for unseen by mistake."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serene.audio.input_spec import FrontEnd
from serene.corpora import OWN
from serene.corpora.manifest import Utterance
from serene.corpora.utterances import Utterances
from serene.errors import SereneError
from serene.files import load_json
from serene.models import weights
from serene.protocols.split import RANDOM_SHARES, Split, some

FILE, CLIPS = "trained_on.json", "heard.json"
NAMELESS = OWN | {"None"}  # where no corpus is said
Person = tuple[str, str]  # corpus and speaker


@dataclass(frozen=True)
class TrainingSpeakers:
    """Corpus and speaker of each that a model or its frozen encoder was trained on, or whose clips chose the epoch."""

    trained: frozenset[Person]
    validated: frozenset[Person]

    @classmethod
    def made(
        cls, split: Split, speakers: Iterable[Utterance], before: TrainingSpeakers | None = None
    ) -> TrainingSpeakers:
        """Collect whom a training meets: a split, the speaker corpus, and whoever its encoder has met before."""
        trained = people(split.train) | people(speakers) | (before.trained if before else frozenset())
        return cls(trained, people(split.validation) | (before.validated if before else frozenset()))

    @classmethod
    def read(cls, folder: str | Path) -> TrainingSpeakers | None:
        """Read what a model folder says; None where it says nothing, as a folder of another project's does."""
        path = Path(folder) / FILE
        if not path.exists():
            return None
        try:
            kept = load_json(path)
            return cls(*(frozenset((corpus, name) for corpus, name in kept[part]) for part in ("trained", "validated")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SereneError(f"{path} is not readable: {error!r}.") from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, as the file holds them."""
        return {"trained": sorted(self.trained), "validated": sorted(self.validated)}

    @property
    def corpora(self) -> frozenset[str]:
        """The corpora that its speakers are of."""
        return frozenset(corpus for corpus, _ in self.trained | self.validated)

    def unseen(self, clips: Iterable[Utterance]) -> bool | None:
        """Say whether none of the speakers of some clips was met; None where they, or these, are of no named corpus."""
        found, known = people(clips), self.trained | self.validated
        if any(corpus not in NAMELESS for corpus, _ in found & known):
            return False
        return None if {corpus for corpus, _ in found | known} & NAMELESS else True

    def check(self, split: Split, name: str) -> None:
        """Refuse a split whose test speakers the model was trained on.

        Raises:
            SereneError: a test speaker was trained on or selected by, or a validation speaker trained on.
        """
        if not split.speaker_independent:
            return  # every report of such a split says that its speakers are shared
        known = people(split.test) & (self.trained | self.validated)
        if split.validation_rule not in RANDOM_SHARES:
            known |= people(split.validation) & self.trained
        if known:
            raise SereneError(
                f"Fold {split.fold}: {some(speaker for _, speaker in known)} should be unseen, and {name} was "
                "trained on them. Run the fold that it was trained on, or take another model."
            )


def people(clips: Iterable[Utterance]) -> frozenset[Person]:
    """Give corpus and speaker of everybody in some clips."""
    known = Utterances.of(clips)
    return frozenset(zip(map(str, known.values("corpus")), known.values("speaker"), strict=True))


def training_clips_of(name: str | None) -> frozenset[str]:
    """Read the hashes of the sounds that an encoder was pre-trained on, where this project did it; none otherwise."""
    path = None if name is None else weights.find(name) / CLIPS
    if path is None or not path.exists():
        return frozenset()
    try:
        return frozenset(map(str, load_json(path)))
    except (OSError, ValueError, TypeError) as error:
        raise SereneError(f"{path} is not readable: {error!r}.") from error


def training_speakers_of(front_end: FrontEnd) -> TrainingSpeakers | None:
    """Read whom the model behind a front end has met; None where there is none, and for those that tell nothing."""
    return None if front_end.folder is None else TrainingSpeakers.read(front_end.folder)
