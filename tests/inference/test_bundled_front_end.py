"""The bundled model as a front end: the vector before its head, for whoever trains a head of their own."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_model import spoken, write
from test_without_torch import apart
from tiny_onnx import MFCC, WIDTH, write_folder

from serene.audio import front_end_of
from serene.audio.store import Store
from serene.corpora.manifest import Manifest
from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.plan import make_plan
from serene.experiment.train import train
from serene.export.to_onnx import export_onnx
from serene.inference import folder as model_folder
from serene.inference.recognizer import Recognizer

RECIPE = """
corpus: {{name: {name}, path: '{path}'}}
protocol: {{name: speaker_folds, folds: 3, run: [1]}}
model: {{encoder: bundled, pooling: mean, hidden: []}}
method: {{name: baseline}}
training: {{epochs: 1, batch_size: 16, optimizer: adam}}
"""


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another bundled model: a clip's vector is the mean of its cepstra."""
    folder = write_folder(tmp_path / "box", embedding_width=WIDTH)
    monkeypatch.setattr(model_folder, "BUNDLED", folder)
    return folder


def recipe_on(manifest: Path, tmp_path: Path, *changes: str, name: str = "synthetic") -> recipe.Recipe:
    (tmp_path / "mine.yaml").write_text(RECIPE.format(name=name, path=manifest))
    return recipe.load(tmp_path / "mine.yaml", changes)


def test_the_vector_is_what_the_models_head_reads(box: Path) -> None:
    front_end, samples = front_end_of({"front_end": "bundled"}, Path()), spoken(1.0)
    (vector,) = front_end(samples)
    np.testing.assert_allclose(vector, front_end_of(MFCC, Path())(samples).mean(axis=0), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(vector, Recognizer.load(box)(samples, rate=16_000).embedding)
    assert (front_end.spec.width, front_end.folder, vector.dtype) == (WIDTH, box, np.float32)


def test_the_model_that_comes_with_the_package_gives_a_frame_of_its_width() -> None:
    front_end = front_end_of({"front_end": "bundled"}, Path())
    assert pickle.loads(pickle.dumps(front_end)) == front_end, "the service sends it to other processes"
    frames = front_end(spoken(1.0))
    assert frames.shape == (1, front_end.spec.width)
    assert np.isfinite(frames).all()
    assert frames.std() > 0
    assert pickle.loads(pickle.dumps(front_end)) == front_end, "after it has run, too"


def test_vectors_are_stored_by_the_onnx_file_alone(box: Path, tmp_path: Path) -> None:
    before = front_end_of({"front_end": "bundled"}, Path())
    kept = Store(tmp_path, before).get("a", lambda: spoken(0.5))
    (box / "model.safetensors").write_bytes(b"other bytes, which do not run")
    same = front_end_of({"front_end": "bundled"}, Path())
    np.testing.assert_array_equal(Store(tmp_path, same).get("a", lambda: pytest.fail("it is stored")), kept)
    with (box / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert front_end_of({"front_end": "bundled"}, Path()).identity != before.identity


def test_a_model_of_another_box_is_refused_in_words(box: Path, tmp_path: Path, made_up: Path) -> None:
    with pytest.raises(SereneError, match=r"vectors of another bundled model \(0123\).*train it again"):
        _ = front_end_of({"front_end": "bundled", "digest": "0123"}, Path()).spec
    with pytest.raises(SereneError, match="another bundled model"):
        make_plan(recipe_on(made_up, tmp_path, "features.digest=0123"), tmp_path / "runs")


def test_a_head_is_trained_exported_and_answers_without_torch(
    made_up: Path, tmp_path: Path, quick_trials: None
) -> None:
    run = train(recipe_on(made_up, tmp_path), tmp_path / "runs")
    model = run.finished()[0].folder / "model"
    kept = json.loads((model / "preprocessor_config.json").read_text())
    assert kept == {"front_end": "bundled", "digest": front_end_of({"front_end": "bundled"}, Path()).digest}
    met = json.loads((model / "trained_on.json").read_text())
    assert {"crema_d", "synthetic"} == {corpus for corpus, _ in met["trained"]}, "whom the box met is known of the head"
    assert "bundled model of serene" in (model / "README.md").read_text()
    assert export_onnx(model, tmp_path / "out").worst < 1e-4
    sound = write(tmp_path / "a.wav", spoken(1.0))
    code = "import serene\nfound = serene.Recognizer.load(sys.argv[1])(sys.argv[2])\nprint(dict(found.scores))"
    (tmp_path / "out" / "model.safetensors").unlink()
    said = eval(apart(code, tmp_path / "out", sound))
    assert said == pytest.approx(Recognizer.load(model)(sound).scores, abs=1e-5)


@pytest.mark.parametrize(("part", "refused"), [("trained", True), ("validated", True), (None, False)])
def test_speakers_whom_the_box_was_trained_on_do_not_test(
    part: str | None, refused: bool, box: Path, made_up: Path, tmp_path: Path
) -> None:
    made = recipe_on(made_up, tmp_path)
    tested = make_plan(made, tmp_path / "runs").splits[0].test[0].speaker
    known = {"trained": [], "validated": []} | ({part: [["synthetic", tested]]} if part else {})
    (box / "trained_on.json").write_text(json.dumps(known))
    if refused:
        with pytest.raises(SereneError, match=f"{tested} should be unseen, and the bundled model was trained on them"):
            make_plan(made, tmp_path / "runs")
    else:
        make_plan(made, tmp_path / "runs")


def test_speakers_of_ones_own_recordings_are_not_refused(box: Path, made_up: Path, tmp_path: Path) -> None:
    clips = Manifest.read(made_up)
    own = Manifest(tuple(replace(clip, corpus=None) for clip in clips))
    own.write(made_up.with_stem("nameless"))
    (box / "trained_on.json").write_text(
        json.dumps({"trained": [["crema_d", s] for s in own.speakers], "validated": []})
    )
    assert make_plan(recipe_on(made_up.with_stem("nameless"), tmp_path, name="files"), tmp_path / "runs").splits
