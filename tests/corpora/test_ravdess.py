"""RAVDESS: seven numbers, and the folders that disagree with them."""

from __future__ import annotations

from pathlib import Path

from corpus_trees import ravdess, sound_files

from serene.corpora.ravdess import read


def test_a_name_becomes_a_clip(tmp_path: Path) -> None:
    clips = {u.id: u for u in read(ravdess(tmp_path))}
    clip = clips["03-01-05-02-02-01-02"]
    assert (clip.speaker, clip.gender, clip.emotion, clip.intensity, clip.text_id) == (
        "02",
        "female",
        "anger",
        "strong",
        "02",
    )
    first = [u for u in clips.values() if u.speaker == "01"]
    assert {u.gender for u in first} == {"male"}
    assert [u.emotion for u in sorted(first, key=lambda u: u.id)] == [
        "neutral",
        "calm",
        "happiness",
        "sadness",
        "anger",
        "fear",
        "disgust",
        "surprise",
    ]


def test_actors_one_folder_deeper(tmp_path: Path) -> None:
    ravdess(tmp_path / "audio_speech_actors_01-24")
    assert len(read(tmp_path)) == 9


def test_the_copy_with_every_clip_twice(tmp_path: Path) -> None:
    ravdess(ravdess(tmp_path) / "audio_speech_actors_01-24")
    manifest = read(tmp_path)
    assert len(manifest) == 9
    assert {o.kind for o in manifest.left_out} == {"the same clip again"}
    assert len(manifest.left_out) == 9


def test_what_is_no_speech_of_that_actor_is_left_out_with_its_reason(tmp_path: Path) -> None:
    reasons = {
        "Actor_01/03-01-05-01-01-01-02.wav": "name and folder disagree",
        "Actor_01/03-02-05-01-01-01-01.wav": "song, not speech (channel 02)",
        "Actor_01/02-01-05-01-01-01-01.wav": "not the audio-only recording (modality 01 or 02)",
        "Actor_01/03-01-09-01-01-01-01.wav": "not a name of the corpus",
        "Actor_25/03-01-05-01-01-01-25.wav": "not a name of the corpus",
        "Actor_01/03-01-05-01-01-01-00.wav": "not a name of the corpus",
    }
    sound_files(ravdess(tmp_path), reasons)
    manifest = read(tmp_path)
    assert len(manifest) == 9
    assert {str(Path(o.audio).relative_to(tmp_path)): o.kind for o in manifest.left_out} == reasons
    disagreeing = next(o for o in manifest.left_out if o.kind == "name and folder disagree")
    assert disagreeing.reason == "name and folder disagree: actor 02 in Actor_01"
