"""Native libraries are silent while they decode; Python is not, and everything is as before afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SAY = """
import os, sys
from serene.quiet import hushed, set_apart
{apart}
def say(what):
    os.write(2, f"native {{what}}\\n".encode())
    print("python", what, file=sys.stderr)
say("before")
with hushed():
    say("inside")
    with hushed():
        say("deeper")
    say("still inside")
say("after")
"""


@pytest.mark.parametrize("apart", ["set_apart()", ""])
def test_what_native_code_writes_inside_is_kept_away(apart: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", SAY.format(apart=apart)], capture_output=True, text=True, check=True
    ).stderr.splitlines()
    places = ("before", "inside", "deeper", "still inside", "after")
    assert [line for line in told if line.startswith("python")] == [f"python {place}" for place in places]
    heard = ("before", "after") if apart else places  # a program that did not set itself apart loses nothing
    assert [line for line in told if line.startswith("native")] == [f"native {place}" for place in heard]


MP3 = """
import numpy as np, soundfile
from serene import quiet, sound
from serene.errors import AudioError
{apart}
draw = np.random.default_rng(0)
soundfile.write("a.mp3", 0.1 * draw.standard_normal(32000), 16000)
whole = bytearray(open("a.mp3", "rb").read())
for number in range(20):
    cut = bytearray(whole)
    for place in draw.integers(200, len(cut), 60):
        cut[place] = draw.integers(256)
    open("b.mp3", "wb").write(cut)
    try:
        sound.read("b.mp3")
    except AudioError:
        pass
"""


def test_the_decoder_of_mp3_says_nothing_of_damaged_files(tmp_path: Path) -> None:
    said = {}
    for apart in ("quiet.set_apart()", ""):
        command = [sys.executable, "-c", MP3.format(apart=apart)]
        said[apart] = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    assert said["quiet.set_apart()"] == ""
    assert "libmpg123" in said[""], "or there is nothing to keep away any more"


def test_threads_that_overlap_leave_the_stream_as_it_was() -> None:
    script = """
import os, threading
from serene.quiet import hushed, set_apart
set_apart()
begun, done = threading.Barrier(9), threading.Barrier(9)
def work():
    with hushed():
        begun.wait()
        os.write(2, b"native inside\\n")
    done.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
begun.wait()
done.wait()
[thread.join() for thread in threads]
os.write(2, b"native after\\n")
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stderr == "native after\n"
