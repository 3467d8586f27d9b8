"""A corpus in pictures: durations, emotions, who speaks and how alike the voices are; a page that needs no network."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from serene import sound
from serene.audio.mfcc import Mfcc
from serene.corpora.manifest import Manifest
from serene.corpora.prepare import SILENCE
from serene.errors import AudioError
from serene.files import write_text
from serene.reporting import style
from serene.reporting.figures import count

LIMIT = 3.0  # seconds: the 48,000 samples at 16 kHz to which one often cuts or pads clips
FEWEST = 3  # speakers that lie in a plane
UNSTATED = "not stated"
KINDS = ("gender", "age", "ethnicity")
COLORED = ("gender", "ethnicity")  # what the voices are coloured by
NAMES = ("durations", "emotions", *KINDS, *(f"voices_by_{kind}" for kind in COLORED))
MEAN_VOICE = Mfcc(coefficients=20, deltas=0, voice_activity=False)
BEYOND = style.PALETTE[4]
WIDTHS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of a bar of the histogram, in seconds
MOST_BARS = 80  # of the histogram
MOST_NAMED = 24  # speakers whose names fit beside their dots

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Picture:
    """A figure, the name of its file, and what it says in words."""

    name: str
    title: str
    figure: Figure
    caption: str


def write_corpus_report(manifest: Manifest, folder: Path, progress: Progress | None = None) -> Path:
    """Write a PNG for each picture that the manifest has the facts for, and `index.html` with all of them in words.

    Every clip is decoded where the manifest tells the speakers' gender or ethnicity: the voices are drawn then, and
    `progress("voices", done, of)` is called after each clip. Pictures of before are replaced; other files in the folder
    are left alone.

    Raises:
        SereneError: the folder cannot be written.
    """
    people_of = (_people(manifest, kind) for kind in KINDS)
    found = [_durations(manifest), _emotions(manifest), *people_of, *_voices(manifest, progress)]
    pictures = [picture for picture in found if isinstance(picture, Picture)]
    for picture in pictures:
        style.save(picture.figure, folder / f"{picture.name}.png")
    for name in set(NAMES) - {picture.name for picture in pictures}:
        (folder / f"{name}.png").unlink(missing_ok=True)
    path = folder / "index.html"
    write_text(path, _page(manifest, folder.stem, pictures, [words for words in found if isinstance(words, str)]))
    return path


def mean_voices(manifest: Manifest, progress: Progress | None = None) -> tuple[dict[str, np.ndarray], int]:
    """Average each speaker's MFCC: over the frames of a clip, then over the speaker's clips.

    Returns:
        Speaker -> vector (feature,), in the order of the manifest; and how many clips were passed over, being silent or
        not to be decoded (`prepare` without `fast` leaves those out).
    """
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    left_out = 0
    for done, utterance in enumerate(manifest, 1):
        try:
            samples = sound.read(utterance.audio, utterance.start, utterance.duration)
        except AudioError:
            samples = np.zeros(1, dtype=np.float32)
        if np.abs(samples - samples.mean()).max() <= SILENCE:
            left_out += 1
        else:
            found[utterance.speaker].append(MEAN_VOICE(samples).mean(axis=0))
        if progress:
            progress("voices", done, len(manifest))
    return {speaker: np.mean(clips, axis=0) for speaker, clips in found.items()}, left_out


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate vectors (speaker, feature), each feature scaled to unit variance, to where they spread most.

    Returns:
        Points (speaker, component), and each component's share of the variance (component,). A component points to
        where its heaviest feature grows, so that the same vectors always give the same picture.
    """
    x = vectors - vectors.mean(axis=0)
    scale = x.std(axis=0)
    left, strengths, axes = np.linalg.svd(x / np.where(scale > 0, scale, 1), full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    variance = strengths**2
    return left * strengths * signs, variance / max(float(variance.sum()), np.finfo(float).tiny)


def _durations(manifest: Manifest) -> Picture | str:
    seconds = np.array([u.duration for u in manifest if u.duration is not None])
    if not len(seconds):
        return "The manifest tells no durations."
    beyond = int((seconds > LIMIT).sum())
    rates = Counter(f"{u.sample_rate:,} Hz" for u in manifest if u.sample_rate is not None)
    some = f"{count(beyond, 'clip')} ({beyond / len(seconds):.1%}) {'is' if beyond == 1 else 'are'}"
    longer = some if beyond else "No clip is"
    caption = (
        f"{count(len(seconds), 'clip')} of {seconds.mean():.3f} s on average "
        f"({seconds.mean() * sound.SAMPLE_RATE:,.0f} samples at 16 kHz), from {seconds.min():.2f} s to "
        f"{seconds.max():.2f} s; {seconds.sum() / 3600:.2f} hours in all. {longer} longer than {LIMIT:g} s "
        f"({LIMIT * sound.SAMPLE_RATE:,.0f} samples at 16 kHz), to which one often cuts or pads. "
        f"Sample rates of the files: {_listed(rates) or UNSTATED}."
    )
    return Picture("durations", "Durations", durations(seconds, LIMIT), caption)


def _emotions(manifest: Manifest) -> Picture | str:
    counts = _by_frequency(Counter(u.emotion or UNSTATED for u in manifest))
    if set(counts) == {UNSTATED}:
        return "The manifest names no emotions."
    caption = f"{count(len(manifest), 'clip')}: {_listed(counts)}."
    return Picture("emotions", "Emotions", emotions(counts), caption)


def _people(manifest: Manifest, kind: str) -> Picture | str:
    stated = _stated(manifest, kind)
    if not stated:
        return f"The manifest does not tell the speakers' {kind}."
    caption = ""
    if kind == "age":
        ages = np.array([float(age) for age in stated.values()])
        caption = f" {ages.min():g} to {ages.max():g} years, {ages.mean():.1f} on average over the speakers."
        stated = {speaker: f"{(d := int(float(age)) // 10 * 10)} to {d + 9}" for speaker, age in stated.items()}
    counts = Counter(stated.get(speaker, UNSTATED) for speaker in manifest.speakers)
    by_decade = sorted(counts.items(), key=lambda item: (item[0] == UNSTATED, len(item[0]), item[0]))
    ordered = dict(by_decade) if kind == "age" else _by_frequency(counts)
    clips = Counter(stated.get(u.speaker, UNSTATED) for u in manifest)
    caption = (
        f"{count(len(manifest.speakers), 'speaker')}: {_listed(ordered)}.{caption} "
        f"{count(len(manifest), 'clip')}: {_listed({name: clips[name] for name in ordered})}."
    )
    return Picture(kind, kind.capitalize(), people(ordered, clips), caption)


def _voices(manifest: Manifest, progress: Progress | None) -> list[Picture | str]:
    """Draw the plane of the voices once for each kind that is stated; decode nothing where none is."""
    stated = {kind: _stated(manifest, kind) for kind in COLORED}
    if not any(stated.values()):
        return ["Without gender and ethnicity the speakers' voices are not drawn."]
    if len(manifest.speakers) < FEWEST:
        return [f"The speakers' voices are not drawn: that takes {FEWEST} speakers or more."]
    vectors, left_out = mean_voices(manifest, progress)
    if len(vectors) < FEWEST:
        return [f"The speakers' voices are not drawn: {len(vectors)} have a clip with sound, and {FEWEST} are needed."]
    points, shares = principal_components(np.stack(list(vectors.values())))
    how = (
        f"Each dot is one of {len(vectors)} speakers: the mean over the speaker's clips of each clip's mean MFCC "
        f"({MEAN_VOICE.coefficients} coefficients, log energy among them, no frame left out). Coefficients are scaled "
        f"to the same variance over speakers; the two principal components hold {shares[0]:.0%} and {shares[1]:.0%} of "
        "it." + f" {count(left_out, 'clip')} without sound left out." * bool(left_out)
    )
    found: list[Picture | str] = []
    for kind in (kind for kind, of in stated.items() if of):  # of the others a sentence says so already
        kinds = [stated[kind].get(speaker, UNSTATED) for speaker in vectors]
        figure, words = voices(points, shares.tolist(), kinds, list(vectors)), _neighbours(points[:, :2], kinds, kind)
        found.append(Picture(f"voices_by_{kind}", f"Voices by {kind}", figure, f"{how} {words}"))
    return found


def _neighbours(points: np.ndarray, kinds: Sequence[str], kind: str) -> str:
    """Say how often the nearest other dot (speaker, component) is of the same kind, and how often by chance."""
    known = np.array([k != UNSTATED for k in kinds])
    points, same, n = points[known], np.equal.outer(*(np.array(kinds)[known],) * 2), int(known.sum())
    if n < 2 or same.all():
        return ""
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = same[np.arange(n), apart.argmin(axis=1)].mean()
    chance = (same.sum() - n) / (n * (n - 1))
    return (
        f"For {nearest:.0%} of the speakers the nearest other dot is of the same {kind}; "
        f"if voices did not tell, {chance:.0%} would be."
    )


def _stated(manifest: Manifest, kind: str) -> dict[str, str]:
    """Give what the manifest says of each speaker, the most frequent where it says several things."""
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for utterance in manifest:
        if (value := getattr(utterance, kind)) is not None:
            said[utterance.speaker][str(value)] += 1
    return {speaker: counts.most_common(1)[0][0] for speaker, counts in said.items()}


def _page(manifest: Manifest, name: str, pictures: Sequence[Picture], missing: Sequence[str]) -> str:
    left_out = _listed(Counter(item.kind for item in manifest.left_out)) or "nothing"
    counted = f"{count(len(manifest), 'clip')} of {count(len(manifest.speakers), 'speaker')}"
    parts = [
        f"<h1>{style.escaped(name)}</h1>",
        style.soft(f"{counted}. Left out of the corpus: {style.escaped(left_out)}."),
    ]
    for picture in pictures:
        file = f'<a href="{picture.name}.png">{picture.name}.png</a>'
        parts.append(f"<h3>{picture.title}</h3>{style.svg(picture.figure, picture.name)}")
        parts.append(style.soft(f"{style.escaped(picture.caption)} ({file})"))
    if missing:
        parts.append(f"<h3>Not shown</h3>{style.soft(style.escaped(' '.join(missing)))}")
    return style.page(name, "\n".join(parts))


def _by_frequency(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (item[0] == UNSTATED, -item[1], item[0])))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())


def durations(seconds: np.ndarray, limit: float) -> Figure:
    """Draw how many clips are how long (utterance,), with their mean; those beyond a limit apart from the others."""
    figure, (axes,) = style.fields(1, 8.0, 3.6)
    mean, longest = float(seconds.mean()), float(seconds.max())
    width = next((width for width in WIDTHS if longest / width <= MOST_BARS), longest / MOST_BARS)
    edges = width * np.arange(int(longest / width) + 2)
    parts = [seconds[seconds <= limit], seconds[seconds > limit]]
    axes.hist(parts, bins=edges.tolist(), stacked=True, color=[style.BLUE, BEYOND], rwidth=0.92)
    marks = [(mean, f"mean {mean:.2f} s"), (limit, f"{len(parts[1]) / len(seconds):.1%} are longer than {limit:g} s")]
    for (at, words), side in zip(sorted(marks), ("right", "left"), strict=True):  # the two never meet
        axes.axvline(at, color=style.INK, lw=1.0, ls=style.DASHES)
        text = f"{words} " if side == "right" else f" {words}"
        axes.text(at, 1.01, text, transform=axes.get_xaxis_transform(), ha=side, va="bottom", size=9, color=style.INK)
    axes.set(xlim=(0, 1.03 * max(longest, limit)), xlabel=f"duration in seconds, bars of {width:g} s", ylabel="clips")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    style.dress(axes)
    return figure


def emotions(clips: Mapping[str, int]) -> Figure:
    """Draw how many clips (emotion -> number) there are of each emotion, in the order given, with their shares."""
    figure, (axes,) = style.fields(1, 8.0, 0.8 + 0.34 * len(clips))
    _bars(axes, clips, "clips")
    return figure


def people(speakers: Mapping[str, int], clips: Mapping[str, int]) -> Figure:
    """Draw how many speakers and how many clips there are of each kind, such as a gender, in the order of speakers."""
    figure, (left, right) = style.fields(2, 4.0, 0.8 + 0.34 * len(speakers))
    _bars(left, speakers, "speakers")
    _bars(right, {kind: clips[kind] for kind in speakers}, "clips")
    right.tick_params(labelleft=False)
    return figure


def voices(points: np.ndarray, shares: Sequence[float], kinds: Sequence[str], names: Sequence[str]) -> Figure:
    """Draw each speaker as a dot in the plane of the first two of the components (speaker, component).

    Shares are of the variance that each component holds; kinds (speaker,), such as genders, colour the dots, and names
    (speaker,) stand beside them where there are few.
    """
    figure, (axes,) = style.fields(1, 6.6, 5.4)
    style.dots(axes, points, kinds, 38, counted=True)
    if len(names) <= MOST_NAMED:
        for name, (x, y) in zip(style.plain(names), points[:, :2].tolist(), strict=True):
            axes.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", size=7, color=style.INK)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.08)
    axes.set_xlabel(f"first component, {shares[0]:.0%} of the variance")
    axes.set_ylabel(f"second component, {shares[1]:.0%}")
    style.dress(axes)
    style.legend(axes, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4)
    return figure


def _bars(axes: Axes, counts: Mapping[str, int], what: str) -> None:
    """Draw lying bars, the first on top, each with its number and share."""
    total = sum(counts.values())
    bars = axes.barh(range(len(counts)), list(counts.values()), color=style.BLUE, height=0.72)
    axes.set_yticks(range(len(counts)), style.plain(counts))
    axes.bar_label(bars, [f"{n:,} ({n / total:.1%})" for n in counts.values()], padding=4, fontsize=9, color=style.INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.4 * max(counts.values()))  # room for the numbers
    axes.set_xlabel(f"{total:,} {what}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True))
    style.dress(axes, grid="x")
    axes.tick_params(axis="y", length=0)
