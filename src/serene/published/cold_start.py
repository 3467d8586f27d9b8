"""A table of our own, published nowhere else: UA by the number of an unseen speaker's enrolled, unlabelled clips."""

from __future__ import annotations

from serene.published.table import Column, Picture, Row, Table, Upstream

CLIPS = (0, 1, 2, 5, 10, 20, None)  # enrolled clips of each speaker; None for all
_NOBODY = ("features.normalize=training_set", "features.enrolment_clips=null", "features.enrolment_prior=0")


def _column(clips: int | None) -> Column:
    """UA with so many clips; with none, embeddings are standardised by the training speakers, as ever."""
    overrides = _NOBODY if clips == 0 else (f"features.enrolment_clips={'null' if clips is None else clips}",)
    return Column(name=_name(clips), measure="ua", overrides=overrides)


def _name(clips: int | None) -> str:
    return "all" if clips is None else str(clips)


def _row(name: str, upstream: str, *overrides: str) -> Row:
    return Row(
        name=name, recipe="frozen/crema_d.yaml:cold_start", upstream=Upstream(recipe=upstream, overrides=overrides)
    )


TABLES = {
    "cold-start": Table(
        title="UA on unseen speakers of CREMA-D, enrolled with so many of their own unlabelled clips",
        source="serene's own; no paper has it",
        unit="UA in per cent, mean over seeds of a fresh head on a frozen encoder, and deviation over them.",
        corpus="crema_d",
        speaker_corpus="speechocean762",
        columns=tuple(map(_column, CLIPS)),
        rows=(
            _row("TDNN-BiLSTM", "gat2022/crema_d.yaml:baseline"),
            _row("TDNN-BiLSTM with TAP", "gat2022/crema_d.yaml:tap", "method.step=1e-1"),
        ),
        picture=Picture(
            kind="curves",
            places={_name(clips): _name(clips) if clips is None else clips for clips in CLIPS},
            x_label="unlabelled clips of the speaker that are enrolled",
            y_label="UA on unseen speakers",
        ),
        stand_in="{name: speaker_folds, folds: 5}",
        cost="two trainings on one fold and 42 small ones, half an hour on a CPU",
        tiny=("seeds=[0]",),
        differences=(
            "Pooled embeddings of a frozen encoder are standardised by the mean and deviation of so many of each "
            "speaker's clips, into which five clips' worth of the training speakers' statistics are blended; training "
            "speakers are enrolled by as many clips as test speakers. A head is trained on them.",
            "Column 0 enrols nobody; in the others test speakers are enrolled with unlabelled clips of their own. "
            "They are not to be compared with a system that is given one clip at a time.",
        ),
    ),
}
