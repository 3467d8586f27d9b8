"""A real model behind the service: the answers of the recognizer itself, for real files of every kind, and bad ones."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import uvicorn
from fastapi.testclient import TestClient
from small_model import spoken

from serene.inference.recognizer import Recognizer
from serene.models.model import EmotionModel
from serene.serving import server
from serene.serving.access import Access
from serene.serving.server import application
from serene.serving.service import Service
from serene.serving.uploads import Limits
from serene.task import Task

EMOTIONS = ("anger", "happiness", "neutral")
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serve.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned nothing, and standardises features by the speaker."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    model = EmotionModel(Task(EMOTIONS), 39, normalize="speaker", enrolment_prior=100.0)
    with torch.no_grad():
        model.head.classify.weight.mul_(50)  # so that clips differ clearly
    model.save(path, {"front_end": "mfcc"})
    return path


@pytest.fixture(scope="module")
def recognizer(folder: Path) -> Recognizer:
    return Recognizer.load(folder)


@pytest.fixture(scope="module")
def client(recognizer: Recognizer) -> Iterator[TestClient]:
    with TestClient(
        application(Service(recognizer, limits=Limits(longest=20), at_once=4)), "http://127.0.0.1"
    ) as client:
        yield client


def encoded(samples: np.ndarray, rate: int = 16_000, form: str = "wav", **settings: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, **settings)
    return file.getvalue()


def ask(client: TestClient, content: bytes, **fields: Any) -> Any:
    return client.post("/predict", files={"file": ("../my.wav", content)}, data=fields)


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_answers_are_the_recognizers_own_for_any_container(
    client: TestClient, recognizer: Recognizer, form: str
) -> None:
    content = encoded(np.stack([spoken(1.5)] * 2, axis=1), 44_100, form)
    alone, answer = recognizer(content), ask(client, content)
    assert answer.status_code == 200
    assert answer.json()["label"] == alone.label
    assert answer.json()["scores"] == pytest.approx(dict(alone.scores), abs=1e-5)
    assert answer.json()["duration"] == alone.duration


def test_many_clients_at_a_time_get_what_each_gets_alone(client: TestClient, recognizer: Recognizer) -> None:
    contents = [encoded(spoken(0.6 + 0.07 * number, number)) for number in range(32)]
    alone = [recognizer(content) for content in contents]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda content: ask(client, content).json(), contents))
    for answer, expected in zip(answers, alone, strict=True):
        assert answer["scores"] == pytest.approx(dict(expected.scores), abs=1e-5)
    assert len({round(answer["scores"]["anger"], 6) for answer in answers}) == 32


def test_a_profile_answers_as_the_recognizer_does_with_it(client: TestClient, recognizer: Recognizer) -> None:
    profile = recognizer.enrol([encoded(spoken(1.0, seed)) for seed in range(3)])
    profile = replace(profile, said=dict.fromkeys(profile.said, 1))  # as varied as can be, so that it counts
    content = encoded(spoken(1.5, 1))
    with_it, without = recognizer(content, profile=profile), recognizer(content)
    assert with_it.scores["anger"] != pytest.approx(without.scores["anger"], abs=1e-4)
    answer = ask(client, content, profile=json.dumps(profile.to_dict())).json()
    assert answer["scores"] == pytest.approx(dict(with_it.scores), abs=1e-5)


def nan_wav() -> bytes:
    samples = spoken(1.0)
    samples[100] = np.nan
    return encoded(samples, subtype="FLOAT")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as audio"),
        (b"These words are no sound." * 100, "cannot be read as audio"),
        (bytes(5000), "cannot be read as audio"),
        (encoded(spoken(1.0))[:9000], "it is cut off after 9000 of"),
        (encoded(np.zeros(0)), "holds no samples"),
        (nan_wav(), "not finite"),
        (encoded(np.zeros(21 * 16_000)), "is 21.0 s long, and no more than 20 s are read at once"),
        (encoded(np.zeros(3600 * 16_000, np.int16), form="flac"), "is 3600.0 s long"),
    ],
    ids=["nothing", "words", "zeros", "cut off", "no samples", "NaN", "too long", "an hour in few bytes"],
)
def test_bad_sounds_are_refused_with_the_reason(client: TestClient, content: bytes, said: str) -> None:
    answer = ask(client, content)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("samples", "note"),
    [
        (np.ones(1), "too short"),
        (np.zeros(16_000), "silence"),
        (np.random.default_rng(0).normal(0, 0.1, 32_000), "no speech"),
    ],
    ids=["one sample", "silence", "noise"],
)
def test_what_is_no_speech_is_said_to_be_so(client: TestClient, samples: np.ndarray, note: str) -> None:
    answer = ask(client, encoded(samples))
    assert (answer.status_code, answer.json()["note"], answer.json()["label"]) == (200, note, None)


def test_eight_channels_at_192_khz_are_answered_for(client: TestClient) -> None:
    loud = np.repeat(spoken(1.0), 12)
    assert ask(client, encoded(np.stack([loud] * 8, axis=1), 192_000)).json()["label"] in EMOTIONS


def test_mutated_headers_neither_stop_the_service_nor_go_unanswered(client: TestClient) -> None:
    rng = np.random.default_rng(0)
    whole = [encoded(spoken(0.5), form=form) for form in ("wav", "flac", "ogg", "aiff")]
    for number in range(100):
        content = bytearray(whole[number % len(whole)])
        for _ in range(int(rng.integers(1, 6))):
            content[int(rng.integers(0, 60))] = int(rng.integers(0, 256))
        answer = ask(client, bytes(content))
        assert answer.status_code in (200, 422), answer.text
        assert answer.status_code == 200 or answer.json()["detail"]
    assert ask(client, whole[0]).status_code == 200


def test_the_pages_commands_do_what_it_says(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs every curl of the page against a service on a port of its own."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    text = PAGE.read_text()
    commands = re.findall(r"^curl .*$", re.sub(r"\\\n\s*", "", text), re.M)
    assert len(commands) >= 6
    (tmp_path / "my.wav").write_bytes(encoded(spoken(1.5)))
    (tmp_path / "other.flac").write_bytes(encoded(spoken(1.0), form="flac"))
    recognizer.enrol([encoded(spoken(1.0))]).write(tmp_path / "anna.json")
    with server.listen("127.0.0.1", 0) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        app = application(Service(recognizer, decoders=1), Access(api_key="tulip"))
        running = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            for command in commands:
                words = shlex.split(command.replace("127.0.0.1:8000", address).replace("$SERENE_API_KEY", "tulip"))
                if "Authorization" not in command:
                    words[1:1] = ["-H", "Authorization: Bearer tulip"]
                done = subprocess.run(
                    [curl, "-sS", "--fail-with-body", *words[1:]], cwd=tmp_path, capture_output=True, text=True
                )
                assert done.returncode == 0, (command, done.stdout, done.stderr)
                assert done.stdout
        finally:
            running.should_exit = True
            thread.join(30)


def test_real_speech_is_answered_as_alone(client: TestClient, recognizer: Recognizer, speech: Path) -> None:
    found = sorted(path for path in speech.rglob("*") if path.suffix in {".opus", ".flac"})[::700]
    assert len(found) >= 10
    sent = [("files", (os.fspath(path.name), path.read_bytes())) for path in found]
    rows = client.post("/predict/batch", files=sent).json()["results"]
    for row, path in zip(rows, found, strict=True):
        assert row["file"] == path.name
        assert row["scores"] == pytest.approx(dict(recognizer(path).scores), abs=1e-5)
