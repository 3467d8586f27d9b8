"""A corpus in pictures: what is drawn, what is said in words, and what is passed over and why."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from serene import sound
from serene.audio.mfcc import Mfcc
from serene.corpora.manifest import LeftOut, Manifest, Utterance
from serene.errors import SereneError
from serene.reporting import corpus_report
from serene.reporting.corpus_report import mean_voices, principal_components, write_corpus_report
from serene.reporting.style import png

HEAD = b"\x89PNG\r\n"


def told(page: Path) -> str:
    """Give the words of a page, without its pictures."""
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>", "", page.read_text(), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


def pictures(page: Path) -> set[str]:
    return {path.stem for path in page.parent.glob("*.png")}


def clips(*rows: dict[str, object]) -> Manifest:
    """Make clips of nowhere that last a second; their speakers are A, B, ... in turn unless a row says another."""
    plain = {"duration": 1.0, "sample_rate": 16_000}
    return Manifest(
        tuple(
            Utterance(**({"id": str(n), "audio": "nowhere.wav", "speaker": chr(65 + n)} | plain | row))  # pyright: ignore
            for n, row in enumerate(rows)
        )
    )


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where audio is decoded."""

    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("audio was decoded")

    monkeypatch.setattr(sound, "read", refuse)


def test_the_page_says_what_the_pictures_show(made_up_manifest: Manifest, tmp_path: Path) -> None:
    ages = dict(zip(made_up_manifest.speakers, (9, 21.0, 29, 30, 101, None), strict=True))
    people = tuple(replace(u, age=ages[u.speaker], ethnicity="<$unknown$>") for u in made_up_manifest)
    steps = []
    page = write_corpus_report(
        Manifest(people, (LeftOut("x", "x.wav", "silent: nothing"),)),
        tmp_path / "corpus.plots",
        lambda *step: steps.append(step),
    )
    assert page == tmp_path / "corpus.plots" / "index.html"
    assert pictures(page) == set(corpus_report.NAMES)
    assert all((page.parent / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in corpus_report.NAMES)
    words = told(page)
    assert "48 clips of 6 speakers. Left out of the corpus: silent (1)." in words
    mean = sum(u.duration or 0 for u in people) / 48
    assert f"48 clips of {mean:.3f} s on average ({mean * 16000:,.0f} samples at 16 kHz)" in words
    assert "No clip is longer than 3 s (48,000 samples at 16 kHz)" in words
    assert "Sample rates of the files: 16,000 Hz (48)." in words
    assert "6 speakers: female (3), male (3). 48 clips: female (24), male (24)." in words
    assert "0 to 9 (1), 20 to 29 (2), 30 to 39 (1), 100 to 109 (1), not stated (1). 9 to 101 years, 38.0 on" in words
    assert "6 speakers: <$unknown$> (6)." in words
    assert steps == [("voices", n, 48) for n in range(1, 49)]


def test_the_page_needs_no_network(made_up_manifest: Manifest, tmp_path: Path) -> None:
    page = write_corpus_report(made_up_manifest, tmp_path / "m.plots")
    text = page.read_text()
    for foreign in (r"<script", r"<link", r"@import", r"\bsrc\s*=", r"url\(\s*[\"']?(?!#)"):
        assert not re.search(foreign, text), foreign
    links = re.findall(r"<a href=\"([^\"]+)\"", text)
    assert links and all((page.parent / link).is_file() for link in links)


def test_what_the_corpus_does_not_tell_is_said_and_nothing_is_decoded(tmp_path: Path, deaf: None) -> None:
    page = write_corpus_report(clips({}, {}, {}, {"duration": 4.0}), tmp_path / "m.plots")
    assert pictures(page) == {"durations"}
    for sentence in (
        "1 clip (25.0%) is longer than 3 s",
        "The manifest names no emotions.",
        "The manifest does not tell the speakers' gender.",
        "The manifest does not tell the speakers' age.",
        "Without gender and ethnicity the speakers' voices are not drawn.",
    ):
        assert sentence in told(page)
    page = write_corpus_report(clips({"duration": None, "emotion": "joy"}), tmp_path / "n.plots")
    assert pictures(page) == {"emotions"}
    assert "The manifest tells no durations." in told(page)


def test_two_speakers_are_too_few_for_a_plane(tmp_path: Path, deaf: None) -> None:
    page = write_corpus_report(clips({"gender": "male"}, {"gender": "female"}), tmp_path / "m.plots")
    assert "The speakers' voices are not drawn: that takes 3 speakers or more." in told(page)


def test_speakers_without_sound_are_too_few_as_well(tmp_path: Path) -> None:
    page = write_corpus_report(clips(*[{"gender": "male"}] * 3), tmp_path / "m.plots")
    assert "The speakers' voices are not drawn: 0 have a clip with sound, and 3 are needed." in told(page)


def test_pictures_of_before_go_and_other_files_stay(tmp_path: Path, deaf: None) -> None:
    folder = tmp_path / "m.plots"
    write_corpus_report(clips({"emotion": "joy", "age": 3.0}), folder)
    (folder / "mine.png").write_text("mine")
    page = write_corpus_report(clips({"emotion": "joy"}), folder)
    assert pictures(page) == {"durations", "emotions", "mine"}


def test_a_folder_that_cannot_be_written_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "m.plots").write_text("a file")
    with pytest.raises(SereneError, match="Cannot write"):
        write_corpus_report(clips({}), tmp_path / "m.plots")


def test_a_speaker_counts_once_by_what_is_said_most_often(tmp_path: Path, deaf: None) -> None:
    rows = [{"speaker": "A", "gender": gender} for gender in ("male", "female", "female", None)]
    words = told(write_corpus_report(clips(*rows, {"speaker": "B"}), tmp_path / "m.plots"))
    assert "2 speakers: female (1), not stated (1). 5 clips: female (4), not stated (1)." in words


def test_mean_voices_by_hand(made_up_manifest: Manifest) -> None:
    mfcc = Mfcc(coefficients=20, deltas=0, voice_activity=False)
    some = made_up_manifest.utterances[6:10]  # of two speakers
    found, left_out = mean_voices(Manifest(some))
    assert (list(found), left_out) == (list(dict.fromkeys(u.speaker for u in some)), 0)
    assert len(found) == 2
    for speaker, vector in found.items():
        means = []
        for utterance in some:
            if utterance.speaker == speaker:
                frames = mfcc(sound.read(utterance.audio))
                means.append([sum(column) / len(frames) for column in frames.T.tolist()])
        expected = [sum(column) / len(means) for column in zip(*means, strict=True)]
        assert vector == pytest.approx(expected, abs=1e-3)


def test_a_clip_that_is_silent_or_missing_is_passed_over(
    made_up_manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *rest = made_up_manifest.utterances
    few = Manifest((first, replace(second, audio=str(tmp_path / "none.wav")), *rest))
    real = sound.read

    def read(path: str, *where: float) -> np.ndarray:
        return real(path, *where) * (0 if path == first.audio else 1)

    monkeypatch.setattr(sound, "read", read)
    found, left_out = mean_voices(few)
    assert (len(found), left_out) == (6, 2)
    others, _ = mean_voices(Manifest(tuple(rest)))
    assert all(np.array_equal(found[speaker], others[speaker]) for speaker in others)
    assert "2 clips without sound left out." in told(write_corpus_report(few, tmp_path / "m.plots"))


def test_principal_components_are_those_of_the_correlation_matrix() -> None:
    x = np.random.default_rng(0).normal(size=(12, 3)) @ np.array([[9.0, 1, 0], [0, 1, 2], [0, 0, 0.1]])
    points, shares = principal_components(x)
    strengths = np.linalg.eigvalsh(np.corrcoef(x.T))[::-1]
    assert shares == pytest.approx(strengths / 3)
    assert np.cov(points.T, bias=True) == pytest.approx(np.diag(strengths), abs=1e-9)
    backwards, _ = principal_components(x[::-1])
    assert backwards[::-1] == pytest.approx(points), "which way a component points does not depend on the order"
    constant = np.column_stack([x, np.ones(12)])
    assert principal_components(constant)[0][:, :3] == pytest.approx(points), "what never varies tells nothing"
    assert not principal_components(np.ones((3, 2)))[1].any()


def test_nearest_dots_by_hand(made_up_manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = np.array([[0.0, 0], [1, 0], [10, 0], [11, 0], [11.4, 0], [0.1, 0]])
    monkeypatch.setattr(corpus_report, "principal_components", lambda _: (plane, np.array([0.75, 0.25])))
    gender = dict(zip(made_up_manifest.speakers, ("f", "f", "m", "m", "f", None), strict=True))
    manifest = Manifest(tuple(replace(u, gender=gender[u.speaker]) for u in made_up_manifest))
    # the nearest, without the one not stated: f-f, f-f, m-m, m-f, f-m; pairs that agree: 3 of f and 1 of m, of 10
    words = told(write_corpus_report(manifest, tmp_path / "m.plots"))
    assert "For 60% of the speakers the nearest other dot is of the same gender; if voices did not tell, 40%" in words
    assert "the two principal components hold 75% and 25% of it" in words
    alike = Manifest(tuple(replace(u, gender="f") for u in made_up_manifest))
    assert "nearest other dot" not in told(write_corpus_report(alike, tmp_path / "m.plots"))


@pytest.mark.slow
def test_genders_lie_apart_in_real_speech(speech: Path, tmp_path: Path) -> None:
    from serene.corpora.prepare import prepare

    words = told(write_corpus_report(prepare("emodb", speech / "emodb", fast=True), tmp_path / "emodb.plots"))
    assert "535 clips of 10 speakers" in words
    assert "anger (127), boredom (81), neutral (79), happiness (71), fear (69), sadness (62), disgust (46)" in words
    ((nearest, chance),) = re.findall(r"For (\d+)% of the speakers.*?, (\d+)% would be", words)
    assert int(nearest) == 100 > int(chance) == 44


def bars(axes: Axes) -> dict[str, float]:
    labels = [label.get_text() for label in axes.get_yticklabels()]
    return dict(zip(labels, [bar.get_width() for bar in axes.patches], strict=True))  # pyright: ignore


def test_durations_beyond_the_limit_stand_apart() -> None:
    figure = corpus_report.durations(np.array([1.0, 2.0, 2.02, 3.0, 3.01, 5.0]), 3.0)
    (axes,) = figure.axes
    within, beyond = (sum(bar.get_height() for bar in group) for group in axes.containers)
    assert (within, beyond) == (4, 2)
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx([16.03 / 6, 3.0])
    assert [text.get_text().strip() for text in axes.texts] == ["mean 2.67 s", "33.3% are longer than 3 s"]
    assert png(figure).startswith(HEAD)


@pytest.mark.parametrize("seconds", [[2.0] * 5, [0.003], [0.5, 4000.0], [0.1 * n for n in range(1, 90)]])
def test_no_clip_is_lost_however_long_it_is(seconds: list[float]) -> None:
    figure = corpus_report.durations(np.array(seconds), 3.0)
    (axes,) = figure.axes
    heights = [sum(bar.get_height() for bar in group) for group in axes.containers]
    assert sum(heights) == len(seconds)
    assert len(axes.containers[0]) <= corpus_report.MOST_BARS + 1
    right = max(bar.get_x() + bar.get_width() for group in axes.containers for bar in group if bar.get_height())
    assert right <= axes.get_xlim()[1] * 1.01
    assert png(figure).startswith(HEAD)


def test_the_mean_is_named_on_its_outer_side() -> None:
    (axes,) = corpus_report.durations(np.array([3.5, 4.5]), 3.0).axes
    assert [(t.get_text().strip(), t.get_ha()) for t in axes.texts] == [
        ("100.0% are longer than 3 s", "right"),
        ("mean 4.00 s", "left"),
    ]


def test_emotions_are_bars_with_number_and_share_the_first_on_top() -> None:
    figure = corpus_report.emotions({"anger": 3, "$joy$": 1})
    (axes,) = figure.axes
    assert bars(axes) == {"anger": 3, r"\$joy\$": 1}
    assert [text.get_text() for text in axes.texts] == ["3 (75.0%)", "1 (25.0%)"]
    assert axes.yaxis_inverted()
    assert png(figure).startswith(HEAD)


def test_people_are_counted_as_speakers_and_as_clips_in_one_order() -> None:
    figure = corpus_report.people({"male": 3, "female": 2}, {"female": 2000, "male": 500})
    left, right = figure.axes
    assert bars(left) == {"male": 3, "female": 2}
    assert [bar.get_width() for bar in right.patches] == [500, 2000]  # pyright: ignore
    assert [text.get_text() for text in right.texts] == ["500 (20.0%)", "2,000 (80.0%)"]
    assert (left.get_xlabel(), right.get_xlabel()) == ("5 speakers", "2,500 clips")
    assert png(figure).startswith(HEAD)


def test_voices_are_dots_of_their_kind_and_few_have_names() -> None:
    points = np.array([[0.0, 1.0, 9.0], [2.0, 3.0, 9.0], [4.0, 5.0, 9.0]])
    figure = corpus_report.voices(points, [0.5, 0.25, 0.25], ["b", "_a", "b"], ["x", "$y", "z"])
    (axes,) = figure.axes
    assert [np.asarray(dots.get_offsets()).tolist() for dots in axes.collections] == [[[2, 3]], [[0, 1], [4, 5]]]
    shown = axes.get_legend()
    assert shown is not None
    assert [text.get_text() for text in shown.get_texts()] == [" _a (1)", "b (2)"]
    assert [text.get_text() for text in axes.texts] == ["x", r"\$y", "z"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("first component, 50% of the variance", "second component, 25%")
    assert png(figure).startswith(HEAD)
    many = corpus_report.MOST_NAMED + 1
    plane = np.random.default_rng(0).normal(size=(many, 2))
    (axes,) = corpus_report.voices(plane, [0.6, 0.4], ["a"] * many, [str(n) for n in range(many)]).axes
    assert not axes.texts


def test_the_same_picture_is_the_same_bytes_and_foreign_scripts_do_not_warn() -> None:
    first, second = (png(corpus_report.emotions({"愤怒": 1})) for _ in range(2))
    assert first == second
