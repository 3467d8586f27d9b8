"""What a run over many sounds did, as plain data and in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from serene.inference.answer_file import Row
from serene.inference.features import REMARKS
from serene.inference.sources import Clips


@dataclass
class Summary:
    """What a run did."""

    output: str | None  # the file that was written; None where the rows went to a stream
    files: int = 0  # rows
    failed: int = 0  # of them, those with an error
    without_label: int = 0  # of them, those with a note in place of a label: no speech, or uncertain
    seconds: float = 0.0  # of sound in the rows
    resumed: int = 0  # rows that an earlier run had left
    passed_over: int = 0  # files in the folders whose names are not those of sounds
    anew: str | None = None  # why what an earlier run had left could not be used, if so
    first_error: str | None = None
    remarked: dict[str, int] = field(default_factory=dict)  # rows with each of the remarks on sounds that are answered
    noun: str = "file"  # what a row is of
    enrolled: Clips | None = None  # unlabelled clips that each speaker is enrolled with
    adapted_to: str | None = None  # whose clips the model was adapted to

    def counting(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Count rows as they go by."""
        for row in rows:
            self.files += 1
            self.failed += row["error"] is not None
            remarks = [remark for remark in REMARKS if remark in (row["note"] or "")]
            self.without_label += row["note"] is not None and not remarks
            self.remarked |= {remark: self.remarked.get(remark, 0) + 1 for remark in remarks}
            self.seconds += row["duration"] or 0.0
            self.first_error = self.first_error or row["error"]
            yield row

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say it in sentences, one to a line."""
        where = "" if self.output is None else f" -> {self.output}"
        length = f"{self.seconds:.1f} seconds" if self.seconds < 60 else f"{self.seconds / 60:.1f} minutes"
        told = {
            f"Note: {self.anew}": self.anew,
            f"Answered before the run was interrupted: {self.resumed} of them.": self.resumed,
            f"Without a label: {self.without_label}, whose notes say why.": self.without_label,
            **{f"Noted {remark}: {count}.": True for remark, count in self.remarked.items()},
            f"Failed: {self.failed}, whose rows say why. The first: {self.first_error}": self.failed,
            f"Passed over: {self.passed_over}, whose names do not end as a sound's does.": self.passed_over,
        }
        if self.enrolled is not None:
            own = "all" if self.enrolled == "all" else f"up to {self.enrolled}"
            told[f"Each speaker is enrolled with {own} of their unlabelled clips, which are answered as well."] = True
        told[f"Adapted to the {self.adapted_to}, without their labels."] = self.adapted_to
        head = f"{self.files} {self.noun}{'s' * (self.files != 1)}, {length} of sound{where}"
        return [head, *(line for line, there_is_such in told.items() if there_is_such)]
