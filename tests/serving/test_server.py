"""The service: answers over HTTP, refusals with a reason, hostile uploads, counts; with a recognizer that is fake."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_recognizer import FakeRecognizer, FatalExtractor
from fastapi.testclient import TestClient

from serene.errors import SereneError
from serene.inference.profile import Profile
from serene.serving import server
from serene.serving.access import Access
from serene.serving.decoding import STARTS
from serene.serving.server import application
from serene.serving.service import Service
from serene.serving.uploads import Limits, patient
from serene.speaker import SpeakerContext, Statistics

HOME = "http://127.0.0.1"
LIMITS = Limits(upload=20_000, files=3, longest=100, queue=4, per_client=3, decode_seconds=1.0, answer_seconds=20.0)


FORM = {"content-type": "multipart/form-data; boundary=x"}
CUT = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n70\r\n--x--'


@contextmanager
def running(
    recognizer: Any, limits: Limits = LIMITS, access: Access | None = None, **settings: Any
) -> Iterator[TestClient]:
    service = Service(recognizer, limits=limits, **{"decoders": 1, **settings})
    with TestClient(application(service, access), HOME) as client:
        yield client


@pytest.fixture(scope="module")
def fake() -> FakeRecognizer:
    return FakeRecognizer()


@pytest.fixture(scope="module")
def client(fake: FakeRecognizer) -> Iterator[TestClient]:
    with running(fake) as client:
        yield client


def ask(client: TestClient, word: str, **fields: Any) -> Any:
    return client.post("/predict", files={"file": ("my.wav", word.encode())}, data=fields)


def ask_for_several(client: TestClient, *words: str, **fields: Any) -> Any:
    return client.post("/predict/batch", files=[("files", (f"{w}.wav", w.encode())) for w in words], data=fields)


def refused(answer: Any, status: int) -> str:
    """Check a refusal, and give its reason."""
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"detail"}
    return answer.json()["detail"]


def profile(**changes: Any) -> str:
    """A profile of the fake model, which moves its first score by the profile's mean."""
    features = Statistics(np.stack([np.full(2, 0.2, np.float32), np.ones(2, np.float32)]), 10)
    own = Profile("abc", SpeakerContext(features=features), clips=2, seconds=3.0)
    return json.dumps(own.to_dict() | changes)


# --- answers


def test_one_file(client: TestClient) -> None:
    answer = ask(client, "70")
    assert answer.status_code == 200
    scores = {"anger": pytest.approx(0.7), "neutral": pytest.approx(0.3)}
    assert answer.json() == {"label": "anger", "scores": scores, "duration": 70.0, "note": None}


def test_what_holds_no_speech_has_no_label(client: TestClient) -> None:
    assert ask(client, "quiet").json() == {"label": None, "scores": {}, "duration": 1.0, "note": "silence"}


def test_several_files_keep_their_order_and_errors_are_their_own(client: TestClient) -> None:
    rows = ask_for_several(client, "70", "rubbish", "20").json()["results"]
    assert [row["file"] for row in rows] == ["70.wav", "rubbish.wav", "20.wav"]
    assert [row["label"] for row in rows] == ["anger", None, "neutral"]
    assert [row["error"] for row in rows] == [None, "the sound cannot be read as audio", None]
    assert rows[0]["scores"] == ask(client, "70").json()["scores"]
    assert rows[1] | {"file": ""} == {
        "file": "",
        "label": None,
        "scores": {},
        "duration": None,
        "note": None,
        "error": "the sound cannot be read as audio",
    }


def test_a_threshold_of_the_request_and_of_the_service(client: TestClient, fake: FakeRecognizer) -> None:
    assert ask(client, "70", abstain="0.7").json()["label"] == "anger"
    uncertain = ask(client, "70", abstain="0.75").json()
    assert (uncertain["label"], uncertain["note"], uncertain["scores"]["anger"]) == (
        None,
        "uncertain",
        pytest.approx(0.7),
    )
    with running(fake, abstain=0.75) as strict:
        assert ask(strict, "70").json()["note"] == "uncertain"
        assert ask(strict, "70", abstain="0.6").json()["label"] == "anger"


def test_a_profile_as_text_or_as_a_file(client: TestClient) -> None:
    assert ask(client, "20", profile=profile()).json()["scores"]["anger"] == pytest.approx(0.4)
    both = {"file": ("my.wav", b"20"), "profile": ("anna.json", profile().encode())}
    assert client.post("/predict", files=both).json()["scores"]["anger"] == pytest.approx(0.4)
    rows = ask_for_several(client, "20", "30", profile=profile()).json()["results"]
    assert [row["scores"]["anger"] for row in rows] == pytest.approx([0.4, 0.5])


def test_the_model_and_its_limits_health_and_the_page(client: TestClient) -> None:
    facts = client.get("/model").json()
    assert facts["classes"] == ["anger", "neutral"]
    assert facts["limits"]["upload"] == 20_000
    assert client.get("/health").json() == {"status": "ok"}
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/predict", "/predict/batch", "/health", "/model", "/metrics"}
    form = described["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"file", "profile", "abstain"}
    assert {"413", "422", "429", "503"} < described["paths"]["/predict/batch"]["post"]["responses"].keys()
    page = client.get("/", follow_redirects=True)
    assert page.status_code == 200 and "openapi.json" in page.text


# --- refusals


def test_what_is_no_audio_is_refused(client: TestClient) -> None:
    assert refused(ask(client, "rubbish"), 422) == "the sound cannot be read as audio"
    assert "cannot be read" in refused(ask(client, ""), 422)


def test_what_is_too_long_is_refused_by_the_services_limit(client: TestClient) -> None:
    assert refused(ask(client, "101"), 422) == "the sound is 101 s long, and no more than 100 s are read at once"


def test_what_is_too_large_is_refused_with_or_without_a_declared_length(client: TestClient) -> None:
    said = "The upload is larger than 0.02 MB. Cut the sound, or send it as FLAC."
    assert refused(ask(client, "1" * 20_000), 413) == said
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"1" * 20_000 + b"\r\n--x--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert refused(client.post("/predict", content=iter([body]), headers=headers), 413) == said


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"json": {"file": "my.wav"}}, 415, "multipart/form-data was expected. Send a form: curl -F file=@my.wav"),
        ({"data": {"file": "my.wav"}}, 415, "multipart/form-data was expected"),
        ({"files": {"sound": b"1"}}, 422, "Unknown field 'sound'"),
        (
            {"files": {"file": b"1", "abstian": (None, "1")}},
            422,
            "Did you mean 'abstain'? Choices: abstain, file, profile.",
        ),
        ({"files": {"file": (None, "my.wav")}}, 422, "'file' holds text. Send a form: curl -F file=@my.wav"),
        ({"files": {"abstain": (None, "1")}}, 422, "The form has 0 files, and 1 was expected"),
        ({"files": [("file", b"1"), ("file", b"2")]}, 422, "The form has 2 files, and 1 was expected"),
        ({"files": {"file": b"1"}, "data": {"abstain": "2"}}, 422, "The field 'abstain' is '2'; a probability"),
        ({"files": {"file": b"1"}, "data": {"abstain": "nan"}}, 422, "The field 'abstain' is 'nan'; a probability"),
        ({"files": {"file": b"1"}, "data": {"profile": "{}"}}, 422, "The field 'profile' is no readable profile"),
        ({"files": {"file": b"1"}, "data": {"profile": "cos\nsystem"}}, 422, "The field 'profile' is no readable"),
        ({"files": {"file": b"1"}, "data": {"profile": "[" * 9000}}, 422, "The field 'profile' is no readable"),
        ({"files": {"file": b"1"}, "data": {"profile": profile(model="xyz")}}, 422, "made for the model xyz"),
        (
            {"files": {"file": b"1"}, "data": {"profile": profile(mean=[1, 2, 3], deviation=[1] * 3)}},
            422,
            "holds other numbers than its model reads",
        ),
        ({"files": {"file": b"1"}, "data": {"profile": profile(mean=[10**400] * 2)}}, 422, "no readable profile"),
        ({"files": {"file": b"1"}, "data": {"profile": profile(clips=2**70)}}, 422, "not those of any clips"),
        ({"files": {"file": b"1"}, "data": {"profile": profile(format=99)}}, 422, "written by a newer serene"),
        ({"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data"}}, 400, "Missing boundary"),
        ({"content": CUT[:-4], "headers": FORM}, 400, "The form cannot be read: it is cut, before its last boundary."),
        ({"content": CUT[: CUT.index(b"--x", 3)], "headers": FORM}, 400, "it is cut"),
        ({"content": CUT[:-1], "headers": FORM}, 400, "it is cut"),
        ({"content": b"", "headers": FORM}, 400, "it is cut"),
        ({"content": b"--y", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "cannot be read"),
    ],
)
def test_a_form_that_is_not_right_is_refused_with_a_reason(
    client: TestClient, request_: dict[str, Any], status: int, said: str
) -> None:
    assert said in refused(client.post("/predict", **request_), status)


def test_of_several_files_none_is_answered_where_the_form_is_cut(client: TestClient) -> None:
    second = CUT[:-2].replace(b'"file"', b'"files"') + b"\r\n" + CUT[5:-9].replace(b'"file"', b'"files"')
    assert client.post("/predict/batch", content=second + b"\r\n--x--", headers=FORM).status_code == 200
    assert "it is cut" in refused(client.post("/predict/batch", content=second, headers=FORM), 400)


def test_more_files_than_a_request_may_have(client: TestClient) -> None:
    assert "The form has 4 files, and 1 to 3 were expected" in refused(ask_for_several(client, *"1234"), 422)


def test_scores_that_are_not_finite_are_refused(client: TestClient) -> None:
    assert "not finite" in refused(ask(client, "nan"), 422)


def test_a_profile_that_would_take_long_to_read_is_not_read(fake: FakeRecognizer) -> None:
    with running(fake, Limits(upload=4_000_000)) as client:
        sent = {"file": b"1", "profile": ("p.json", b"[" + b"0," * 1_000_000 + b"0]")}
        said = refused(client.post("/predict", files=sent), 422)
    assert said.startswith("The field 'profile' has 2000003 bytes; what `serene enrol` writes is smaller")


@pytest.mark.parametrize(("status", "parts_read"), [(413, 3), (408, 0)])
def test_an_upload_is_read_to_its_end_unless_it_was_too_slow(status: int, parts_read: int) -> None:
    parts, sent = [{"type": "http.request", "body": b"1", "more_body": more} for more in (True, True, False)], []

    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status})

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(patient(refusing, LIMITS)({"type": "http", "headers": [(b"content-length", b"3")]}, receive, send))
    assert sent == [{"type": "http.response.start", "status": status}]
    assert 3 - len(parts) == parts_read


def test_models_that_know_no_profile_or_no_threshold_say_so() -> None:
    recognizer = FakeRecognizer(dimensions=True)
    recognizer.folder.widths = {}
    with running(recognizer) as client:
        assert "a probability was expected, and a model of classes" in refused(ask(client, "1", abstain="0.5"), 422)
        assert "answers for one clip at a time" in refused(ask(client, "1", profile=profile()), 422)
    with pytest.raises(SereneError, match=r"abstain is 0.5; a probability was expected, and a model of classes"):
        Service(recognizer, abstain=0.5)  # pyright: ignore[reportArgumentType]


def test_a_key_is_needed_where_there_is_one(fake: FakeRecognizer) -> None:
    with running(fake, access=Access(api_key="tulip")) as client:
        for headers in ({}, {"Authorization": "Bearer rose"}, {"Authorization": "Bearer "}, {"Authorization": "tulip"}):
            for method, path in (
                ("POST", "/predict"),
                ("POST", "/predict/batch"),
                ("GET", "/model"),
                ("GET", "/metrics"),
            ):
                answer = client.request(method, path, headers=headers)
                assert refused(answer, 401) == "A key is needed, in a header: Authorization: Bearer KEY."
                assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/health").status_code == 200
        client.headers["Authorization"] = "Bearer tulip"
        assert (
            client.get("/model").status_code
            == client.get("/metrics").status_code
            == ask(client, "1").status_code
            == 200
        )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limits": {"files": 65}}, "queue holds 64 files, and a request may have 65"),
        ({"limits": {"longest": 0}}, "limit 'longest' is 0; more than 0 was expected"),
        ({"limits": {"upload": float("nan")}}, "limit 'upload' is nan"),
        ({"at_once": 0}, "0 clips in the network at once"),
        ({"decoders": 0}, "0 decoders cannot run"),
        ({"abstain": 1.5}, "abstain is 1.5"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SereneError, match=re.escape(said)):
        Service(
            FakeRecognizer(), **settings | ({"limits": Limits(**settings["limits"])} if "limits" in settings else {})
        )  # type: ignore[arg-type]


# --- many at once


@pytest.fixture
def crowd() -> Iterator[Callable[..., Future[Any]]]:
    """Ask in threads of their own."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


def wait_until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def inside(client: TestClient) -> float:
    found = re.search(r"^serene_files_inside (\S+)$", client.get("/metrics").text, re.M)
    assert found
    return float(found[1])


def test_a_client_with_too_many_requests_and_a_full_queue_are_told_to_come_later(
    client: TestClient, fake: FakeRecognizer, crowd: Callable[..., Future[Any]]
) -> None:
    fake.may.clear()
    try:
        waiting = [crowd(ask_for_several, client, "1", "2"), crowd(ask, client, "3")]
        wait_until(lambda: inside(client) == 3)
        full = ask_for_several(client, "4", "5")
        assert refused(full, 503) == "The service is busy: 1 files asked for a place, 0 are left."
        assert full.headers["retry-after"] == "1"
        waiting.append(crowd(ask, client, "6"))
        wait_until(lambda: inside(client) == 4)
        eager = ask(client, "7")
        assert refused(eager, 429) == "You have 3 requests here already. Wait for an answer."
        assert eager.headers["retry-after"] == "1"
    finally:
        fake.may.set()
    assert [asked.result(20).status_code for asked in waiting] == [200] * 3
    assert inside(client) == 0
    assert ask(client, "7").status_code == 200


def test_what_takes_too_long_is_told_to_come_later(crowd: Callable[..., Future[Any]]) -> None:
    slow = FakeRecognizer()
    slow.may.clear()
    with running(slow, Limits(answer_seconds=0.3)) as client:
        late = ask(client, "1")
        slow.may.set()
        assert refused(late, 503) == "There was no answer within 0.3 s: the service is busy."
        assert late.headers["retry-after"] == "1"


def test_as_many_clips_are_in_the_network_as_are_asked_for(crowd: Callable[..., Future[Any]]) -> None:
    recognizer = FakeRecognizer()
    recognizer.may.clear()
    with running(recognizer, Limits(), at_once=3) as client:
        asked = [crowd(ask, client, str(number)) for number in range(1, 8)]
        wait_until(lambda: inside(client) == 7 and recognizer.entered == 3)
        time.sleep(0.2)
        assert recognizer.entered == 3
        recognizer.may.set()
        answers = [one.result(20).json()["scores"]["anger"] for one in asked]
    assert answers == pytest.approx([number / 100 for number in range(1, 8)])
    assert recognizer.batches == [1] * 7
    assert len(recognizer.threads) == 3 and threading.get_ident() not in recognizer.threads


# --- hostile uploads


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("stop", "the sound made its decoder stop, and was given up. Is it damaged?"),
        ("fault", "the sound made its decoder stop"),
        ("hang", "the sound was not decoded within 1 s, and its decoder was stopped"),
        ("stumble", "its decoder failed (ZeroDivisionError)"),
    ],
)
def test_an_upload_that_takes_its_decoder_along_leaves_the_service_alive(
    client: TestClient, word: str, said: str
) -> None:
    assert said in refused(ask(client, word), 422)
    assert ask(client, "70").json()["label"] == "anger"
    assert client.get("/health").json() == {"status": "ok"}


def test_where_no_decoder_starts_the_client_is_told_to_come_later(tmp_path: Path) -> None:
    recognizer = FakeRecognizer()
    recognizer.extractor = FatalExtractor(starts=str(tmp_path / "starts"), fatal=1 + STARTS)
    with running(recognizer) as client:
        answer = ask(client, "70")
        assert refused(answer, 503).startswith("No decoder would start")
        assert answer.headers["retry-after"] == "1"
        assert 'serene_files_total{outcome="no decoder"} 1.0' in client.get("/metrics").text
        assert ask(client, "70").json()["label"] == "anger"


def test_of_several_files_a_hostile_one_is_a_row_with_an_error(client: TestClient) -> None:
    rows = ask_for_several(client, "70", "stop", "20").json()["results"]
    assert [row["label"] for row in rows] == ["anger", None, "neutral"]
    assert "made its decoder stop" in rows[1]["error"]


def test_a_clip_that_the_network_stumbles_over_is_a_500_and_the_next_is_answered(fake: FakeRecognizer) -> None:
    service = Service(fake, limits=LIMITS, decoders=1)  # type: ignore[arg-type]
    with TestClient(application(service), HOME, raise_server_exceptions=False) as client:
        assert ask(client, "13").status_code == 500
        assert ask(client, "70").json()["label"] == "anger"
        assert 'serene_requests_total{path="/predict",status="500"} 1.0' in client.get("/metrics").text


def test_uploads_touch_no_disk_and_names_are_only_given_back(
    fake: FakeRecognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda self: pytest.fail("a file was written"))
    names = ["../../etc/passwd", "a\nb.wav", "<script>.wav"]
    with running(fake, Limits(upload=10_000_000)) as client:
        sent = [("files", (name, b"1" + b" " * 2_500_000)) for name in names]
        rows = client.post("/predict/batch", files=sent).json()["results"]
        page = client.get("/metrics").text
    assert [row["label"] for row in rows] == ["neutral"] * 3
    assert rows[0]["file"] == names[0]
    assert not list(tmp_path.iterdir())
    assert "passwd" not in page


# --- counts, and the end


def test_everything_is_counted_and_no_path_of_a_clients_making_is_kept() -> None:
    with running(FakeRecognizer()) as client:
        for word in ("70", "rubbish", "quiet", "stop"):
            ask(client, word)
        ask_for_several(client, "2", "3")
        client.get("/no/such/path")
        client.get("/predict")
        lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    counted = {
        'serene_requests_total{path="/predict",status="200"}': 2,
        'serene_requests_total{path="/predict",status="422"}': 2,
        'serene_requests_total{path="/predict/batch",status="200"}': 1,
        'serene_requests_total{path="other",status="404"}': 1,
        'serene_files_total{outcome="answered"}': 3,
        'serene_files_total{outcome="silence"}': 1,
        'serene_files_total{outcome="refused"}': 1,
        'serene_files_total{outcome="died"}': 1,
        "serene_audio_seconds_total": 70 + 1 + 2 + 3,
        "serene_network_seconds_count": 4,
        "serene_files_inside": 0,
        'serene_request_seconds_count{path="/predict"}': 5,
    }
    assert {name: float(lines[name]) for name in counted} == counted
    assert not any("/no/such" in name for name in lines)


def test_a_port_that_is_taken_is_a_users_mistake() -> None:
    with server.listen("127.0.0.1", 0) as taken, ExitStack() as stack:
        port = taken.getsockname()[1]
        with pytest.raises(SereneError, match=rf"listen at 127.0.0.1, port {port}: Address already in use\. Choose"):
            stack.enter_context(server.listen("127.0.0.1", port))
    with pytest.raises(SereneError, match=r"There is no port 70000; 0 to 65535 were expected\."):
        server.listen("127.0.0.1", 70000)
    with pytest.raises(SereneError, match=r"Cannot listen at nowhere\.invalid"):
        server.listen("nowhere.invalid", 0)
