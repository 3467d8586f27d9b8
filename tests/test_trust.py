"""What a folder names is not imported and not fetched, unless its user named it; what a recipe names is of its kind."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from serene import trust
from serene.audio import front_end_of
from serene.cli import app
from serene.corpora.prepare import prepare
from serene.errors import SereneError
from serene.experiment.archive import finished
from serene.experiment.recipe import load as load_recipe
from serene.experiment.run import Run
from serene.inference.folder import BUNDLED
from serene.inference.recognizer import Recognizer
from serene.models import weights
from serene.models.model import EmotionModel
from serene.protocols import make_splits
from serene.reporting.card_metadata import licence_of

RECIPE = "corpus: {{name: '{corpus}'}}\nprotocol: {{name: speaker_folds}}\nmethod: {{name: '{method}'}}\n"


@pytest.fixture(autouse=True)
def nobody_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_trusted", set())


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a module on the path that leaves a file when it is imported."""
    lab = tmp_path / "lab"
    lab.mkdir()
    mark = tmp_path / "ran"
    base = "from serene.audio.mfcc import Mfcc\nclass Fine(Mfcc): pass\nclass F: pass\ndef read(where): return folder\n"
    (lab / "payload.py").write_text(f"open({str(mark)!r}, 'w').close()\n{base}")
    monkeypatch.syspath_prepend(lab)
    monkeypatch.delitem(sys.modules, "payload", raising=False)
    return mark


def model(folder: Path, front_end: dict | None = None, **config: object) -> Path:
    """Copy what the bundled model says of itself, with other names."""
    folder.mkdir()
    for name, changed in (("config.json", config), ("preprocessor_config.json", front_end or {})):
        (folder / name).write_text(json.dumps(json.loads((BUNDLED / name).read_text()) | changed))
    save_file({}, folder / "model.safetensors")
    if front_end:  # which is made when the network is there
        shutil.copy(BUNDLED / "model.onnx", folder)
    return folder


def run_folder(folder: Path, **names: str) -> Path:
    (folder / "fold-1/seed-0").mkdir(parents=True)
    (folder / "fold-1/seed-0/predictions.csv").write_text("")
    (folder / "recipe.yaml").write_text(RECIPE.format(**({"corpus": "emodb", "method": "baseline"} | names)))
    return folder


def test_a_model_folder_imports_nothing(tmp_path: Path, ran: Path) -> None:
    front = model(tmp_path / "front", {"front_end": "payload:F"})
    encoder = model(tmp_path / "encoder", encoder="payload:F")
    with pytest.raises(SereneError, match=r"'payload:F' is not serene's own.*--trust payload:F"):
        Recognizer.load(front)
    for load in (EmotionModel.load, lambda path: Recognizer.load(path, device="cpu")):
        with pytest.raises(SereneError, match="The encoder 'payload:F' is not serene's own"):
            load(encoder)
    assert not ran.exists()


def test_what_is_trusted_is_imported_if_it_is_of_its_kind_and_nothing_else_is(tmp_path: Path, ran: Path) -> None:
    own = {"front_end": "payload:Fine"}
    with pytest.raises(SereneError, match="not serene's own"):
        Recognizer.load(model(tmp_path / "m", {"front_end": "payload:F"}), trust="payload:Fine")
    assert not ran.exists()
    trust.accept(["payload:Fine", "payload:F"])
    assert type(front_end_of(own, tmp_path)).__name__ == "Fine"
    with pytest.raises(SereneError, match=r"'payload:F' is no front end: a subclass of .*FrontEnd was expected"):
        front_end_of({"front_end": "payload:F"}, tmp_path)


def test_the_command_line_takes_trust(tmp_path: Path, ran: Path) -> None:
    folder = model(tmp_path / "m", {"front_end": "payload:F"})
    for words, imported in (([], False), (["--trust", "payload:F"], True)):
        result = CliRunner().invoke(app, ["predict", str(tmp_path), "-m", str(folder), *words])
        assert isinstance(result.exception, SereneError)
        assert ran.exists() == imported


@pytest.mark.parametrize("names", [{"corpus": "payload:read"}, {"method": "payload:F"}])
def test_a_run_folder_imports_nothing(tmp_path: Path, ran: Path, names: dict[str, str]) -> None:
    folder = run_folder(tmp_path / "runs/mine-0123456789", **names)
    for look in (lambda: Run.open(folder), lambda: finished(folder.parent)):
        with pytest.raises(SereneError, match="is not serene's own"):
            look()
    assert not ran.exists()


def test_a_card_imports_no_corpus_that_a_report_names(ran: Path) -> None:
    assert licence_of("payload:read") == licence_of("payload") == (None, None)
    assert licence_of("crema_d")[0]
    assert not ran.exists()


def test_a_recipe_names_code_and_its_run_is_read_afterwards(tmp_path: Path, ran: Path) -> None:
    folder = run_folder(tmp_path / "mine-0123456789", method="payload:F")
    with pytest.raises(SereneError, match=r"'payload:F' is no method: a subclass of serene\.methods\.method\.Method"):
        load_recipe(folder / "recipe.yaml")
    assert ran.exists()
    with pytest.raises(SereneError, match="is no method"):  # no longer a matter of trust
        Run.open(folder)


@pytest.mark.parametrize("name", ["os:system", "subprocess:Popen", "subprocess:check_output", "payload:read"])
def test_what_is_called_is_a_reader_or_a_protocol(tmp_path: Path, ran: Path, name: str) -> None:
    harm = f"touch {tmp_path / 'harm'}"
    with pytest.raises(SereneError, match=rf"'{name}' is no corpus: a function of `folder`, `-> Manifest`, was"):
        prepare(name, Path(harm))
    with pytest.raises(SereneError, match=rf"'{name}' is no protocol: a function of `manifest`, `-> Split`, was"):
        make_splits(name, None)  # pyright: ignore[reportArgumentType]
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(corpus=name, method="baseline"))
    with pytest.raises(SereneError, match="is no corpus"):
        load_recipe(tmp_path / "recipe.yaml")
    assert not (tmp_path / "harm").exists()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def ask(name: str, *_: object) -> Path:
        asked.append(name)
        raise SereneError("the hub was asked")

    monkeypatch.setattr(weights, "from_hub", ask)
    return asked


def test_a_folder_does_not_make_us_call_out(tmp_path: Path, no_hub: list[str]) -> None:
    front = model(tmp_path / "front", {"front_end": "frozen", "weights": "owner/model"})
    (front / "preprocessor_config.json").write_text('{"front_end": "frozen", "weights": "owner/model"}')
    encoder = model(tmp_path / "encoder", width=1, encoder="hubert", encoder_settings={"weights": "owner/model"})
    for look in (lambda: Recognizer.load(front), lambda: EmotionModel.load(encoder)):
        with pytest.raises(SereneError, match="reads weights that do not lie in it, and 'owner/model' is not serene's"):
            look()
        assert no_hub == []
    with pytest.raises(SereneError, match="the hub was asked"):
        EmotionModel.load(encoder, trust="owner/model")


def test_weights_lie_inside_their_folder(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    (home / "inside").mkdir(parents=True)
    other.mkdir()
    (home / "link").symlink_to(other)
    for name in ("inside", str(home / "inside")):
        assert trust.placed({"weights": name, "pooled": True}, home) == {
            "weights": str(home / "inside"),
            "pooled": True,
        }
    for name in (".", "..", "../other", "link", "inside/../..", str(other), "absent", "owner/model"):
        with pytest.raises(SereneError, match="weights that do not lie in it"):
            trust.placed({"weights": name}, home)
    trust.accept(str(other))
    assert trust.placed({"weights": str(other)}, home) == {"weights": str(other)}
    assert trust.placed({"layers": 3}, home) == {"layers": 3}
