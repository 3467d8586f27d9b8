"""How utterances are partitioned: hashed shuffles, stratified shares, sizes; no random generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.utterances import Utterances
from serene.errors import SereneError, unknown
from serene.protocols.split import RANDOM_SHARES, Split, in_order, shuffled_places, some

# Raise one when a protocol starts to give other splits than it did.
VERSIONS = {
    "leave_one_session_out": 1,
    "tu2019": 1,
    "speaker_folds": 1,
    "leave_one_speaker_out": 1,
    "speaker_holdout": 1,
    "official": 1,
    "random_speaker_dependent": 1,
    "speaker_lists": 1,
    "low_resource": 1,  # to be raised with leave_one_session_out and speaker_folds too, whose training it cuts
}


class FoldsRefused(SereneError):
    """Some folds of a protocol cannot be made; the message is the first one's.

    Attributes:
        refused: fold -> why it cannot be made.
        made: the folds that can.
    """

    def __init__(self, refused: Mapping[str, SereneError], made: Sequence[Split]) -> None:
        """Keep both."""
        super().__init__(str(next(iter(refused.values()))))
        self.refused, self.made = refused, made


def make_folds(
    folds: Mapping[str, Callable[[], Split]], refused: Mapping[str, SereneError] | None = None
) -> list[Split]:
    """Make every fold, also those that come after one that cannot be made.

    Raises:
        FoldsRefused: a fold cannot be made, or some have been refused before.
    """
    made, failed = [], dict(refused or {})
    for fold, make in folds.items():
        try:
            made.append(make())
        except SereneError as error:
            failed[fold] = error
    if failed:
        raise FoldsRefused(failed, made)
    return made


def hold_back(train: Iterable[Utterance], rule: str, seed: int, fold: str) -> tuple[Utterances, Utterances]:
    """Part the validation that a rule (`random20`, `random10` or `none`) asks for from the training utterances."""
    train = Utterances.of(train)
    if rule == "none":
        return train, train[:0]
    rest, held = stratified(train, RANDOM_SHARES[rule], seed, fold)
    if not held:
        raise SereneError(f"{len(train)} training clips are too few for validation {rule}; set validation to none.")
    return rest, held


def stratified(utterances: Iterable[Utterance], share: float, seed: int, salt: str) -> tuple[Utterances, Utterances]:
    """Part a share of each emotion's utterances from the rest; an emotion's last utterance stays in the rest."""
    utterances = Utterances.of(utterances)
    rest, taken = [utterances[:0]], [utterances[:0]]
    for clips in utterances.groups("emotion").values():
        order = shuffled_places(clips.values("id"), seed, salt)
        count = min(int(len(order) * share + 0.5), len(order) - 1)
        taken.append(clips.take(order[:count]))
        rest.append(clips.take(order[count:]))
    return Utterances.joined(rest), Utterances.joined(taken)


def evenly(items: Sequence[str], count: int) -> set[str]:
    """Take `count` items at even distances (systematic sampling), so that each run of like items gives its share."""
    return {items[int((n + 0.5) * len(items) / count)] for n in range(count)}


def sizes(parts: tuple[float, float, float], total: int, what: str) -> tuple[int, int]:
    """Return the sizes of test and validation; training is what is left."""
    fractions = abs(sum(parts) - 1) < 1e-6
    if not fractions and (sum(parts) != total or any(part != int(part) for part in parts)):
        raise SereneError(
            f"train, validation and test are {parts[0]:g}, {parts[1]:g} and {parts[2]:g}; "
            f"numbers of {what} that sum to {total} or fractions that sum to 1 were expected."
        )
    test, validation = ((int(part * total + 0.5) if fractions else int(part)) for part in (parts[2], parts[1]))
    if min(parts) < 0 or test < 1 or test + validation >= total or (parts[1] > 0 and validation < 1):
        raise SereneError(
            f"{total} {what} cannot be partitioned as {parts[0]:g}, {parts[1]:g} and {parts[2]:g} (train, validation, "
            "test): training and test need at least one each, and so does a validation that is not 0."
        )
    return test, validation


def grouped_by(column: str, manifest: Manifest) -> dict[str, Utterances]:
    """Group the utterances by a column that all of them must have; the groups come sorted by name."""
    groups = manifest.utterances.groups(column)
    if lacking := sum(len(clips) for name, clips in groups.items() if not name):
        raise SereneError(f"{lacking} of {len(manifest)} utterances have no {column}; this protocol needs one.")
    return {name: groups[name] for name in sorted(groups)}


def make_split(
    name: str,
    fold: str,
    train: Iterable[Utterance],
    validation: Iterable[Utterance],
    test: Iterable[Utterance],
    rule: str,
    kind: type[Split] = Split,
) -> Split:
    """Make a split of a named protocol in its present version, each part in the order of its ids."""
    return kind(
        protocol=name,
        version=VERSIONS[name],
        fold=fold,
        train=in_order(train),
        validation=in_order(validation),
        test=in_order(test),
        validation_rule=rule,
    )


def check_choice(validation: str, choices: Sequence[str]) -> None:
    """Raise SereneError where a validation is not among a protocol's choices."""
    if validation not in choices:
        raise SereneError(unknown("validation", validation, choices))


def need_two_speakers(manifest: Manifest) -> None:
    """Raise SereneError where there is nobody to test on but the one who trains."""
    if len(manifest.speakers) < 2:
        raise SereneError(
            f"All {len(manifest)} utterances are of one speaker ({some(manifest.speakers)}): "
            "a speaker-independent protocol needs at least two."
        )
