"""Names and labels are anybody's: on a terminal they steer nothing."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.table import Table

from serene.cli import main, terminal
from serene.errors import SereneError, printable

HOSTILE = "joy\x1b[2J\x1b]0;owned\x07\r\x08\x7f\x9b31m\u202edone"


def steers(text: str) -> bool:
    return printable(text) != text


@pytest.mark.parametrize("stream", [sys.stdout, sys.stderr])
def test_what_is_printed_steers_nothing(stream: io.TextIOBase, capsys: pytest.CaptureFixture[str]) -> None:
    console = terminal.out if stream is sys.stdout else terminal.aside
    console.print(HOSTILE)
    table = Table("name")
    table.add_row(HOSTILE)
    console.print(table)
    terminal.print_table([{HOSTILE: HOSTILE}])
    told = capsys.readouterr()
    assert "joy" in told.out + told.err
    assert not steers(told.out + told.err)


def test_colours_of_the_console_itself_stay() -> None:
    file = io.StringIO()
    terminal.Terminal(file=file, force_terminal=True, color_system="standard").print(HOSTILE, style="red")
    assert file.getvalue().startswith("\x1b[31m")
    assert "\x1b[2J" not in file.getvalue()


def test_a_bars_name_steers_nothing_and_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(terminal, "aside", terminal.Terminal(file=file, width=120))
    with terminal.bars() as progress:
        progress(f"[bold]{HOSTILE}", 1, 1)
    assert "[bold]joy" in file.getvalue()
    assert not steers(file.getvalue())


def test_json_is_the_same_value(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({HOSTILE: ["größer", "\udcff"]})
    told = capsys.readouterr().out
    assert not steers(told)
    assert "größer" in told
    assert json.loads(told) == {HOSTILE: ["größer", "\udcff"]}


@pytest.mark.parametrize("tty", [True, False])
def test_rows_are_made_printable_on_a_terminal_alone(tty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: tty)
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.Rows().writelines([HOSTILE, "\n"])
    assert steers(stream.getvalue()) != tty
    assert stream.getvalue().endswith("done\n")


def test_a_message_steers_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise SereneError(f"There is no model folder '{HOSTILE}'.")

    monkeypatch.setattr("serene.cli.app", fail)
    monkeypatch.setattr("serene.cli.set_apart", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: There is no model folder 'joy")
    assert not steers(told)
