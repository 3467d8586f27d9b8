"""Whatever bytes come as audio: an answer or an AudioError, soon, in little memory; nothing on the standard output."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_model import spoken, write

from serene import sound
from serene.audio.mfcc import Mfcc
from serene.errors import AudioError, SereneError
from serene.inference.features import FeatureExtractor
from serene.inference.predict import predict
from serene.inference.recognizer import Recognizer

SUBTYPES = {"WAV": "PCM_16 FLOAT IMA_ADPCM ULAW GSM610", "WAVEX": "PCM_24", "OGG": "VORBIS OPUS"}
SUBTYPES |= {"FLAC": "PCM_16", "MP3": "MPEG_LAYER_III", "AIFF": "PCM_16", "CAF": "ALAC_16"}
SUBTYPES |= dict.fromkeys(("W64", "RF64", "AU", "NIST", "SDS"), "PCM_16")
KINDS = [(form, subtype) for form, subtypes in SUBTYPES.items() for subtype in subtypes.split()]
HEADERS = (48, 200, 1000, 10**9)  # bytes from the beginning in which a mutation falls
ODD = tuple(
    bytes.fromhex(odd) for odd in ["ffffffff", "00000000", "ffffff7f", "00000080", "01000000", "ffff", "0000", "ff7f"]
)
PATIENCE = 20  # seconds for a file, on however busy a machine
MEMORY = 2**31  # bytes of address space for the process that decodes


def originals() -> list[bytes]:
    """Make half a second of sound in every kind that libsndfile writes."""
    files = []
    for form, subtype in KINDS:
        rate = 8_000 if subtype in ("GSM610", "OPUS") else 16_000
        file = io.BytesIO()
        soundfile.write(file, spoken(0.5, rate=rate), rate, format=form, subtype=subtype)
        files.append(file.getvalue())
    return files


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """Change, drop, repeat or cut bytes, mostly of the header, one to eight times."""
    data = bytearray(content)
    within = int(generator.choice(HEADERS))
    for _ in range(int(generator.integers(1, 9))):
        place = int(generator.integers(min(within, len(data)) or 1))
        length = int(generator.integers(1, 64))
        how = int(generator.integers(6))
        if how == 0:
            data[place : place + 1] = generator.bytes(1)
        elif how in (1, 2):
            odd = ODD[int(generator.integers(len(ODD)))]
            data[place : place + len(odd)] = odd
        elif how == 3:
            del data[place : place + length]
        elif how == 4:
            data[place:place] = data[place : place + length]
        elif generator.uniform() < 0.5:
            del data[int(generator.integers(len(data) + 1)) :]
    return bytes(data)


def extract_mutations(seed: int, count: int, folder: Path) -> None:
    """Extract mutated files, by path and from memory in turn; the one at hand lies in the folder.

    An error of another kind than AudioError ends the process, and so does a file that takes too long.
    """
    import resource
    import warnings

    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    extractor, generator, files = FeatureExtractor(Mfcc(), True, 60.0), np.random.default_rng(seed), originals()
    path, outcomes = folder / "at_hand", Counter()
    for number in range(count):
        content = mutated(files[number % len(files)], generator)
        path.write_bytes(content)
        signal.alarm(PATIENCE)  # the signal's own answer ends the process, wherever it is
        try:
            clip = extractor(path if number % 2 else content)
            outcomes["no speech" if clip.features is None else "extracted"] += 1
            assert clip.features is None or np.isfinite(clip.features).all()
        except AudioError as error:
            outcomes["refused"] += 1
            assert str(error) and "\n" not in str(error)
    signal.alarm(0)
    print(json.dumps(outcomes))


@pytest.mark.parametrize(
    ("seed", "count"),
    [
        (1, 500),
        pytest.param(2, 3000, marks=pytest.mark.slow),
        pytest.param(3, 5000, marks=[pytest.mark.faults, pytest.mark.slow]),
    ],
)
def test_mutated_headers_are_extracted_or_refused(seed: int, count: int, tmp_path: Path) -> None:
    """A process of its own extracts them: should a decoder crash, the file that did it is left for the report."""
    pytest.importorskip("resource")
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(sound.__file__).parents[1])])
    script = f"import test_hostile_audio as t; t.extract_mutations({seed}, {count}, t.Path({str(tmp_path)!r}))"
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", script],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    tail = ended.stderr[-2000:]
    assert ended.returncode == 0, f"ended with {ended.returncode} at {tmp_path / 'at_hand'}\n{tail}"
    outcomes = json.loads(ended.stdout)  # nothing but this: a decoder's own words would be in the middle of a CSV
    assert sum(outcomes.values()) == count
    assert outcomes["extracted"] > count / 8 and outcomes["refused"] > count / 3, (
        "the mutations are too mild or too harsh"
    )
    assert "Traceback" not in ended.stderr


# --- one by one


def wav(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def with_nan() -> bytes:
    samples = spoken(1.0)
    samples[8000] = np.nan
    return wav(samples, subtype="FLOAT")


def claiming(frames: int) -> bytes:
    """Make a FLAC file of a second whose header claims another number of frames."""
    content = bytearray(wav(spoken(1.0), form="FLAC"))
    assert content[:8] == b"fLaC\x00\x00\x00\x22"
    head = int.from_bytes(content[18:26], "big")  # rate, channels, bits per sample, and 36 bits of frames
    content[18:26] = (head >> 36 << 36 | frames).to_bytes(8, "big")
    return bytes(content)


def huge_data(claimed: int) -> bytes:
    """Make a WAV file of a second whose chunks claim to be longer."""
    content = bytearray(wav(spoken(1.0)))
    content[4:8] = struct.pack("<I", min(claimed + 36, 2**32 - 1))
    content[40:44] = struct.pack("<I", claimed)
    return bytes(content)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "words": (lambda: b"these are words, and no audio", "cannot be read as audio"),
    "nothing": (lambda: b"", "cannot be read as audio"),
    "zeros": (lambda: bytes(10_000), "cannot be read as audio"),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be read as audio"),
    "a film": (lambda: b"\0\0\0\x20ftypM4A " + bytes(100), "cannot be read as audio"),
    "a header alone": (lambda: wav(spoken(1.0))[:44], "cut off"),
    "half a wav": (lambda: wav(spoken(1.0))[:16_000], r"cut off after 16000 of 32044 bytes"),
    "half an aiff": (lambda: wav(spoken(1.0), form="AIFF")[:16_000], "cut off"),
    "half a flac": (lambda: wav(spoken(1.0), form="FLAC")[:9_000], "cannot be read as audio"),
    "no samples": (lambda: wav(np.zeros(0)), "holds no samples"),
    "NaN": (with_nan, "not finite numbers"),
    "infinities of both signs": (
        lambda: wav(np.tile([np.inf, -np.inf], (8000, 1)), subtype="FLOAT"),
        "not finite numbers",
    ),
    "the scale of integers": (lambda: wav(spoken(1.0) * 32_768, subtype="FLOAT"), "Divide by 32768"),
    "no scale": (lambda: wav(spoken(1.0).astype(float) * 1e200, subtype="DOUBLE"), "not finite|Divide by 32768"),
    "a rate of nothing": (lambda: wav(spoken(1.0))[:24] + bytes(4) + wav(spoken(1.0))[28:], "cannot be read|claims"),
    "a rate of millions": (
        lambda: wav(spoken(1.0))[:24] + struct.pack("<I", 50_000_000) + wav(spoken(1.0))[28:],
        "claims 50000000 samples per second",
    ),
    "a flac of weeks": (lambda: claiming(2**35), "is 2147483.6 s long, and no more than 600 s are read at once"),
    "a flac that claims five minutes": (lambda: claiming(16_000 * 300), "cut off|cannot be read"),
    "a wav of 2 GB": (lambda: huge_data(2**31 - 2**21), "cut off after"),
    "a sample dump": (lambda: wav(spoken(1.0), form="SDS"), "it is a MIDI sample dump"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_is_one_message_in_little_memory_and_a_row(name: str, recognizer: Recognizer, tmp_path: Path) -> None:
    make, message = BAD[name]
    path, content = tmp_path / "bad.wav", make()
    path.write_bytes(content)
    recognizer.extract(spoken(1.0), 16_000)
    tracemalloc.start()
    with pytest.raises(AudioError, match=rf"bad\.wav.*({message})") as by_path:
        recognizer(path)
    with pytest.raises(AudioError, match=message):
        recognizer(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(by_path.value)
    assert peak < 40e6  # `sound.AT_ONCE` values, and little more
    summary = predict([path], recognizer, tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text())["error"] == str(by_path.value)
    assert (summary.failed, summary.files) == (1, 1)


def test_a_length_that_is_not_known_yet_is_read_to_its_end(recognizer: Recognizer) -> None:
    streamed = huge_data(2**32 - 37)  # as programs write that do not know it yet
    assert recognizer(streamed).duration == pytest.approx(1.0)


def test_what_is_odd_but_sound_is_answered(recognizer: Recognizer, tmp_path: Path) -> None:
    assert recognizer(wav(np.array([0.5]))).note == "too short"
    eight = recognizer(write(tmp_path / "eight.wav", np.stack([spoken(1.0)] * 8, axis=1)))
    assert eight.scores == pytest.approx(recognizer(write(tmp_path / "one.wav", spoken(1.0))).scores, abs=1e-3)
    assert recognizer(write(tmp_path / "fast.flac", spoken(1.0, rate=192_000), 192_000)).label is not None
    assert recognizer(write(tmp_path / "slow.wav", spoken(1.0, rate=4_000), 4_000)).duration == pytest.approx(1.0)


@pytest.fixture(scope="module")
def three_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hours of silence, in half a megabyte."""
    path = tmp_path_factory.mktemp("long") / "long.flac"
    minute = np.zeros(60 * 16_000, np.int16)
    with soundfile.SoundFile(path, "w", 16_000, 1, subtype="PCM_16") as file:
        for _ in range(180):
            file.write(minute)
    return path


@pytest.mark.slow
def test_three_hours_are_refused_before_they_are_decoded(three_hours: Path, recognizer: Recognizer) -> None:
    assert three_hours.stat().st_size < 1_000_000
    tracemalloc.start()
    with pytest.raises(AudioError, match=r"10800\.0 s long, and no more than 600 s .* Cut it, or ask for a timeline"):
        recognizer(three_hours)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_bomb_of_channels_and_rate_fills_no_memory(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight channels at 655,350 Hz are 330 times what is extracted; they are brought down block by block."""
    path, rate = tmp_path / "bomb.flac", 655_350
    with soundfile.SoundFile(path, "w", rate, 8, subtype="PCM_16") as file:
        for _ in range(8):
            file.write(np.zeros((rate // 4, 8), np.int16))
    assert path.stat().st_size < 30_000
    monkeypatch.setattr(sound, "AT_ONCE", 2**17)
    tracemalloc.start()
    clip = recognizer.extract(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (clip.note, clip.duration) == ("silence", pytest.approx(2.0, abs=0.001))
    assert peak < 3e6  # all channels at once are 42e6 bytes, one alone 5e6


def test_a_loop_of_links_is_an_error(recognizer: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    with pytest.raises(AudioError, match=r"loop\.wav cannot be read as audio"):
        recognizer(tmp_path / "loop.wav")


@pytest.mark.parametrize("name", [b"new\nline.wav", b"not \xff utf-8.wav"])
def test_any_name_is_answered_for_and_named_in_print(name: bytes, recognizer: Recognizer, tmp_path: Path) -> None:
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    with open(path, "wb") as file:
        file.write(wav(spoken(1.0)))
    assert recognizer(path).label is not None
    with open(path, "wb") as file:
        file.write(b"words")
    with pytest.raises(AudioError) as refused:
        recognizer(path)
    assert re.search(r"(new\nline|not \\udcff utf-8)\.wav cannot be read as audio", str(refused.value))
    str(refused.value).encode("utf-8")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_an_error(recognizer: Recognizer, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", spoken(1.0))
    path.chmod(0)
    with pytest.raises(AudioError, match=r"a\.wav cannot be read as audio: .*Permission denied"):
        recognizer(path)


def test_every_error_is_one_that_the_command_line_shows_without_a_traceback() -> None:
    assert issubclass(AudioError, SereneError)
