"""A name becomes what it stands for, or a message that lists the choices."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from serene.audio import FRONT_ENDS
from serene.corpora import CORPORA
from serene.errors import MissingExtra, SereneError, unknown
from serene.methods import METHODS
from serene.models import ENCODERS
from serene.protocols import PROTOCOLS
from serene.registry import load
from serene.settings import validated
from serene.trust import authored

TABLE = {"square_root": "math:sqrt", "power": "math:pow"}
KINDS = {"corpus": CORPORA, "protocol": PROTOCOLS, "front end": FRONT_ENDS, "encoder": ENCODERS, "method": METHODS}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a function that writes a module which can be imported in this test alone."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in KINDS.items() for name in table])
def test_every_name_in_every_table_can_be_loaded(kind: str, name: str) -> None:
    assert callable(load(name, KINDS[kind], kind))


def test_a_name_or_a_class_of_ones_own_is_imported(lab) -> None:
    lab("my_idea", "class Mine: pass")
    assert load("square_root", TABLE, "function")(9) == 3
    with authored():
        assert load("my_idea:Mine", TABLE, "idea").__name__ == "Mine"
    assert load("my_idea:Mine", TABLE, "idea").__name__ == "Mine", "trusted from then on"


def test_an_unknown_name_is_answered_with_the_nearest_and_all_choices() -> None:
    with pytest.raises(SereneError) as error:
        load("square_rot", TABLE, "function")
    assert str(error.value) == (
        "Unknown function 'square_rot'. Did you mean 'square_root'? Choices: power, square_root. "
        "Or write package.module:Name for one of your own."
    )
    assert unknown("function", "zzz", TABLE) == "Unknown function 'zzz'. Choices: power, square_root."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_place.idea:Mine", "Cannot import the method 'no_such_place.idea:Mine': there is no module"),
        ("math:squirt", "Cannot import the method 'math:squirt': 'math' has no 'squirt'"),
        ("math:", "Cannot import the method 'math:'"),
        (":Mine", "Unknown method ':Mine'"),
    ],
)
def test_what_cannot_be_imported_is_said(name: str, message: str) -> None:
    with pytest.raises(SereneError, match=message), authored():
        load(name, TABLE, "method")


def test_a_missing_extra_is_one_sentence_with_the_command(lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab("needs_sklearn", "import sklearn.svm\nclass Mine: pass")
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra) as error, authored():
        load("needs_sklearn:Mine", {}, "method")
    assert str(error.value) == "sklearn is not installed. Install it with: pip install 'serene-ser[train]'"


def test_messages_quote_300_characters_of_a_name_or_value_at_most() -> None:
    long = "x" * 284_226
    with pytest.raises(SereneError) as caught:
        load(long, {"emodb": "serene.corpora.emodb:read"}, "corpus")
    assert len(str(caught.value)) < 500
    with pytest.raises(SereneError, match=r"^training is 'xxx.*\.\.\. \(284228 in all\): ") as caught:
        validated(TypeAdapter(int).validate_python, long, "training")
    assert len(str(caught.value)) < 500
