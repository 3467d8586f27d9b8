"""A corpus on disk becomes a manifest: every sound is decoded once, and what cannot be trusted is left out by name."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serene import sound
from serene.corpora import CORPORA
from serene.corpora.folder import kept_of
from serene.corpora.left_out import LeftOut
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.spelling import alike, odd_labels, speakers_alike
from serene.corpora.utterances import Utterances
from serene.errors import AudioError, SereneError, quoted
from serene.registry import load
from serene.trust import authored

SILENCE = 10 / 32768
"""Largest deviation from the mean, of full scale 1, that still counts as silence: ten steps of 16 bits, -70 dB.

The one silent clip of CREMA-D peaks at 1e-34; the quietest spoken clip of CREMA-D peaks at 0.024, that of
RAVDESS at 0.0044.
"""

AHEAD = 8  # clips per thread that are begun before the first of them is needed
ROUNDING = 0.01
"""Seconds by which a table's clip may end after its file without a remark: times are rounded to hundredths."""


def prepare(
    corpus: str,
    folder: Path,
    *,
    fast: bool = False,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    remark: Callable[[str], None] | None = None,
    **settings: Any,
) -> Manifest:
    """Read a corpus, decode every clip once and leave out what no label can be trusted for.

    Left out, each with its reason: unreadable, empty and not finite audio; silence; identical audio that carries two
    labels (all copies, since none of the labels can be trusted). Identical means the same samples as models get them
    (mono, 16 kHz). Identical audio with one label is kept, and a clip that ends after its file is cut, with a remark.

    Args:
        corpus: a name in `serene.corpora.CORPORA`, or `package.module:read` for a reader of your own.
        folder: the corpus as it is shipped; for `table` the table.
        fast: read headers only; durations are known then, and a remark says what was not checked.
        progress: called after every clip with the number done and the number in all.
        workers: threads that decode, which releases the interpreter's lock; one per processor without it.
        remark: called with each remark of the reader before anything is decoded.
        settings: of the corpus's reader, such as `pattern` for `files`.

    Returns:
        The reader's utterances in its order, with duration and sample rate, and unless `fast` the audio's hash.

    Raises:
        SereneError: no such corpus, folder or setting, or nothing is left.
    """
    manifest = _read(corpus, Path(folder), settings, remark)
    opposite: list[str] = []  # ids
    look = _header if fast else functools.partial(_decoded, opposite=opposite)
    left_out, cut = list[LeftOut](), list[str]()
    clips = _watched(_in_parallel(look, manifest.utterances, workers), len(manifest), progress)
    kept = Utterances.of(kept_of(_compared(manifest, clips, cut), left_out))
    remarks = [*manifest.remarks]
    if cut:
        remarks.append(f"Clips that end after their file does, cut at its end: {len(cut)}, such as {cut[0]}.")
    if fast:
        remarks.append("Only headers were read: silent, broken and identical audio was not looked for.")
    else:
        contradicting, same = _identical(kept)
        left_out += contradicting
        remarks += same
        wrong = {item.id for item in contradicting}
        kept = kept.where("id", lambda name: name not in wrong)
    return Manifest(kept, (*manifest.left_out, *left_out), [*remarks, *_odd(kept, opposite)]).check()


def _odd(kept: Utterances, opposite: Sequence[str]) -> list[str]:
    """Remark on channels, labels and names of speakers that look like mistakes."""
    remarks = list[str]()
    if opposite:
        some = quoted(", ".join(sorted(opposite)[:3]))
        remarks.append(f"Clips with {sound.OPPOSITE}: {len(opposite)}, such as {some}.")
    remarks += odd_labels({label: count for label, count in kept.counts("emotion").items() if label})
    return [*remarks, *speakers_alike(alike(kept.counts("speaker")))]


def folder_of(corpus: str, given: str | Path | None) -> Path | None:
    """Say where a corpus lies: where that is given, or where its reader looks by itself; None where neither is."""
    if given is not None:
        return Path(given)
    defaults = [setting.default for setting in inspect.signature(load(corpus, CORPORA, "corpus")).parameters.values()]
    return defaults[0] if defaults and isinstance(defaults[0], Path) else None


def hashed(manifest: Manifest, progress: Callable[[int, int], None] | None = None) -> Manifest:
    """Give every clip the hash of its decoded audio, where `fast` left it out.

    Raises:
        AudioError: a clip is silent or cannot be decoded; `prepare` without `fast` would have left it out.
    """
    missing = manifest.utterances.where("audio_hash", lambda known: known is None)
    if not missing:
        return manifest

    def decoded() -> Iterator[Utterance]:
        clips = _watched(_in_parallel(_decoded, missing, None), len(missing), progress)
        for utterance in manifest:
            clip = utterance if utterance.audio_hash else next(clips)
            if isinstance(clip, LeftOut):
                advice = "Prepare the corpus without --fast, which leaves it out."
                raise AudioError(f"{clip.audio}: {clip.reason}. {advice}")
            yield clip

    return replace(manifest, utterances=decoded())


def _read(corpus: str, folder: Path, settings: Mapping[str, Any], remark: Callable[[str], None] | None) -> Manifest:
    with authored():
        reader = load(corpus, CORPORA, "corpus")
    if strange := [name for name in settings if name not in inspect.signature(reader).parameters]:
        raise SereneError(f"The corpus '{corpus}' is read without --{strange[0]}; leave the option out.")
    manifest: Manifest = reader(folder, **settings)
    if remark:
        for said in manifest.remarks:
            remark(said)
    return manifest


def _in_parallel(
    look: Callable[[Utterance], Utterance | LeftOut], utterances: Utterances, workers: int | None
) -> Iterator[Utterance | LeftOut]:
    """Look at utterances in threads, and give the results in order; a few are on their way at the same time."""
    workers = workers or os.cpu_count() or 1
    pool, begun = ThreadPoolExecutor(workers), deque[Future[Utterance | LeftOut]]()
    try:
        for utterance in utterances:
            begun.append(pool.submit(look, utterance))
            if len(begun) > AHEAD * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted run does not decode the rest first


def _watched(
    clips: Iterable[Utterance | LeftOut], of: int, progress: Callable[[int, int], None] | None
) -> Iterator[Utterance | LeftOut]:
    for done, clip in enumerate(clips, 1):
        yield clip
        if progress:
            progress(done, of)


def _header(utterance: Utterance) -> Utterance | LeftOut:
    """Fill in duration and sample rate from the file's header."""
    try:
        length, rate = sound.seconds(utterance.audio)
    except AudioError as error:
        return LeftOut(utterance.id, utterance.audio, f"unreadable: {error}")
    rest = length - utterance.start
    if rest <= 0:
        where = f"the clip begins at {utterance.start:g} s of {length:g} s" if length else "the file holds no samples"
        return LeftOut(utterance.id, utterance.audio, f"unreadable: {where}")
    return replace(utterance, duration=min(rest, utterance.duration or rest), sample_rate=rate)


def _decoded(utterance: Utterance, opposite: list[str] | None = None) -> Utterance | LeftOut:
    """Fill in duration, sample rate and the hash of the samples that models get; list what `sound.read` remarks."""
    known = _header(utterance)
    if isinstance(known, LeftOut):
        return known
    try:
        remarks: list[str] = []
        samples = sound.read(known.audio, known.start, known.duration, remarks=remarks)  # as training will read it
    except AudioError as error:
        return LeftOut(utterance.id, utterance.audio, f"unreadable: {error}")
    peak = float(np.abs(samples - samples.mean()).max())
    if peak <= SILENCE:
        return LeftOut(utterance.id, utterance.audio, f"silent: nothing beyond {peak:.1g} of full scale")
    if remarks and opposite is not None:
        opposite.append(known.id)
    return replace(known, audio_hash=sound.content_hash(samples))


def _compared(
    asked: Iterable[Utterance], read: Iterable[Utterance | LeftOut], cut: list[str]
) -> Iterator[Utterance | LeftOut]:
    """Hand clips on; list those that end after their file does, which are cut at its end."""
    for wanted, clip in zip(asked, read, strict=True):
        length = clip.duration or 0.0 if isinstance(clip, Utterance) else math.inf
        if wanted.duration and length < wanted.duration - ROUNDING:
            end, at = wanted.start + wanted.duration, wanted.start + length
            cut.append(f"{quoted(wanted.id)} ends at {end:g} s of {at:g} s")
        yield clip


def _identical(utterances: Utterances) -> tuple[list[LeftOut], list[str]]:
    """Find clips with the same samples: those that contradict each other, and remarks on copies that agree."""
    left_out: list[LeftOut] = []
    remarks: list[str] = []
    for places in utterances.repeated("audio_hash"):
        same = [*utterances.take(places)]
        labels = {utterance.emotion for utterance in same if utterance.emotion}
        if len(labels) > 1:
            names = quoted(", ".join(f"{u.id} ({u.emotion or 'no label'})" for u in same))
            left_out += [LeftOut(u.id, u.audio, f"identical audio with two labels: {names}") for u in same]
        else:
            speakers = " although their speakers differ" if len({u.speaker for u in same}) > 1 else ""
            remarks.append(f"Identical audio, kept{speakers}: {quoted(', '.join(u.id for u in same))}.")
    return left_out, remarks
