"""How figures are written for people, by a task's metric: what it is called, in percent or not, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serene.task import Task

Figure = Mapping[str, Any]
"""`value`, and `low`, `high` and `std` where there are such; each None where there is none."""

PROBE = (
    "from the embedding of a clip alone, a fresh probe names the right one of {speakers:,.4g} speakers for {linear} of "
    "the clips if it is linear, for {nonlinear} if it is not{texts}; chance is {chance}, always naming the most "
    "frequent speaker {majority}. Two clips of one speaker and of two are confused at an equal-error rate of {eer} "
    "(50 % is no difference)."
)
HEAD = ("", "test, folds pooled", "deviation over seeds", "test, mean of folds", "validation")
DIFFERENCE_COLUMNS = ("run", "metric", "difference", "95 % interval", "p")
NAMES = {"ua": "UA, mean recall over classes", "wa": "WA, share of right answers", "macro_f1": "macro-F1"}


@dataclass(frozen=True)
class Unit:
    """How the figures of a metric are written."""

    name: str
    scale: float  # what figures are multiplied by
    digits: int  # behind the point
    sign: str  # behind a figure
    differences: str  # what is said behind a difference of two
    hint: str  # how large a figure may be

    def bare(self, value: float | None, missing: str = "–") -> str:
        """Write a figure where its unit is said elsewhere."""
        return missing if value is None else f"{round(self.scale * value, self.digits) + 0.0:.{self.digits}f}"  # no -0

    def signed(self, difference: float) -> str:
        """Write a difference of two figures."""
        return f"{self.scale * difference:+.{self.digits}f}"

    def rough(self, value: float | None) -> str:
        """Write a figure with a digit less."""
        return replace(self, digits=self.digits - 1).bare(value)

    def one(self, value: float | None, missing: str = "none") -> str:
        """Write a figure: `61.3 %`, or `0.613`."""
        return missing if value is None else self.bare(value) + self.sign

    def interval(self, figure: Figure) -> str:
        """Write a figure with its interval, where it has one: `61.3 % [58.2 to 64.1]`."""
        low, high = figure.get("low"), figure.get("high")
        ends = "" if low is None or high is None else f" [{self.bare(low)} to {self.bare(high)}]"
        return self.one(figure["value"]) + ends


SHARE = Unit("UA", 100, 1, " %", "points of UA", "")
UNITS = {"ua": SHARE, "ccc": Unit("CCC", 1, 3, "", "of CCC", " (1 is perfect agreement, 0 none)")}


def metric_name(key: str) -> str:
    """Name a metric of a report."""
    dimension, of_speakers = key.removeprefix("ccc_").removesuffix("_of_speakers"), key.endswith("_of_speakers")
    return NAMES.get(key) or f"CCC of {dimension}" + ", mean of speakers' own" * of_speakers


def short_name(key: str) -> str:
    """Name a metric in a word, or two."""
    return metric_name(key).partition(",")[0]


def spreads(task: Task, content: Mapping[str, Any]) -> dict[str, Mapping[str, float | None]]:
    """Give how far the speakers are apart in each headline metric of a report."""
    found = content["speaker_spread"]
    return dict(zip(task.headline, {"ua": lambda: [found], "ccc": found.values}[task.metric](), strict=True))


def metric_rows(task: Task, content: Mapping[str, Any]) -> list[list[str]]:
    """Make a line under `HEAD` for each metric of a report."""
    unit, before, lines = UNITS[task.metric], content["validation"], []
    for key, test in content["metrics"].items():
        folds = unit.one(content["metrics_mean_of_folds"][key]["value"])
        validation = unit.interval(before[key]) if before else "none"
        lines.append([metric_name(key), unit.interval(test), unit.bare(test["std"]), folds, validation])
    return lines


def probe_words(content: Mapping[str, Any]) -> dict[str, str]:
    """Say of test and training speakers what fresh probes read of them, chance and majority beside it."""
    probe, words = content["speaker_probe"], {}
    for part, found in (("Test", probe), ("Training", probe and probe["train_speakers"])):
        if not found or found.get("accuracy") is None:
            words[f"{part} speakers"] = "not probed."
            continue
        texts = ", in other sentences than it was trained on" if found["text_disjoint"] else ""
        shares = {name: SHARE.one(found[name]) for name in ("chance", "majority", "eer")}
        shares |= {name: SHARE.one(found[name]["mean"]) for name in ("linear", "nonlinear")}
        said = PROBE.format(speakers=found["n_speakers"], texts=texts, **shares)
        words[f"{part} speakers"] = f"{said} {found.get('note', '')}".rstrip()
    return words


def count(how_many: int, what: str) -> str:
    """Write how many there are of something."""
    return f"{how_many:,} {what}{'' if how_many == 1 else 's'}"


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def heading(differences: Sequence[Mapping[str, Any]]) -> str:
    """Say what the differences are to, and in what."""
    points = ", in points" if _unit(differences[0]) is SHARE else ""
    return f"Differences to {differences[0]['against']}{points}"


def difference_rows(differences: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Give the rows of the table as text, of what `serene.experiment.run_report.differences` gives."""
    rows = []
    for row in differences:
        value, low, high = (_unit(row).signed(row[key]) for key in ("value", "low", "high"))
        cells = (row["run"], row["metric"], value, f"{low} to {high}", f"{row['p']:.3f}")
        rows.append(dict(zip(DIFFERENCE_COLUMNS, cells, strict=True)))
    return rows


def _unit(row: Mapping[str, Any]) -> Unit:
    return UNITS["ccc"] if row["metric"].startswith("ccc_") else SHARE
