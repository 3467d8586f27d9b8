"""A multipart upload is read into memory, within its limits of size and time; nothing of it touches a disk."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from serene.errors import SereneError, unknown
from serene.inference.profile import Profile

TEXT = 2**20  # bytes of a field that is no file, and of a profile that is one
TOO_SLOW = 408
PATIENCE = 8  # uploads of how many times the limit are read to their end before they are refused
OPTIONS = ("profile", "abstain")
CHALLENGE = {401: {"WWW-Authenticate": "Bearer"}}


class Refused(SereneError):
    """A request that is not answered, and why.

    Attributes:
        status: the HTTP status.
        later: whether the same request may succeed a little later.
    """

    def __init__(self, status: int, reason: str, *, later: bool = False) -> None:
        """Name the status beside the reason."""
        super().__init__(reason)
        self.status, self.later = status, later

    def response(self) -> JSONResponse:
        """Say it to the client."""
        headers = {"Retry-After": "1"} if self.later else {}
        return JSONResponse({"detail": str(self)}, self.status, headers | CHALLENGE.get(self.status, {}))


@dataclass(frozen=True)
class Limits:
    """What one client and all of them together may ask for.

    Args:
        upload: bytes of a request, all of its files together. With `queue` it bounds the memory for uploads.
        files: of a request to `/predict/batch`.
        longest: seconds of one sound; a model's own limit holds where it is lower.
        queue: files that are in the service at a time, from the first byte to the answer.
        per_client: requests of one address at a time; of IPv6, of one network of 64 bits.
        connections: at a time; beyond them everything but `/health` is refused, and silent ones are closed.
        per_address: connections of one address at a time, unless a trusted proxy's; an idle one makes way for the next.
        header_seconds: from a connection, or from its last answer, until a request's headers have arrived.
        upload_seconds: within which an upload has arrived.
        decode_seconds: within which a file is decoded.
        answer_seconds: within which a file that has arrived is answered.
    """

    upload: int = 25_000_000
    files: int = 32
    longest: float = 120.0
    queue: int = 64
    per_client: int = 32
    connections: int = 512
    per_address: int = 64
    header_seconds: float = 10.0
    upload_seconds: float = 30.0
    decode_seconds: float = 20.0
    answer_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse limits that nothing could keep."""
        for name, value in asdict(self).items():
            if not value > 0:
                raise SereneError(f"The service's limit '{name}' is {value}; more than 0 was expected.")
        if self.files > self.queue:
            raise SereneError(
                f"The service's queue holds {self.queue} files, and a request may have {self.files}: it could never "
                "be answered. Allow fewer files, or a longer queue."
            )


@dataclass(frozen=True)
class Upload:
    """What a request brought."""

    files: tuple[tuple[str, bytes], ...]  # name and bytes of each; a name is only ever given back
    profile: Profile | None
    abstain: float | None


class _InMemory(MultiPartParser):
    spool_max_size = sys.maxsize  # the upload's limit bounds it; starlette's own would write temporary files
    whole = False

    def on_end(self) -> None:
        self.whole = True

    async def counted(self, request: Request, limits: Limits) -> AsyncGenerator[bytes]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limits.upload:
                raise _too_large(limits)
            yield chunk
        if not self.whole:
            raise MultiPartException("it is cut, before its last boundary.")


async def receive(request: Request, field: str, files: int, limits: Limits) -> Upload:
    """Read a request's form, of which the parts called `field` hold sounds, and so many `files` are taken.

    Raises:
        Refused: 400 malformed, 408 too slow, 413 too large, 415 no form, 422 without what is needed.
    """
    wanted = f" Send a form: curl -F {field}=@my.wav"
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refused(415, f"multipart/form-data was expected.{wanted}")
    if int(request.headers.get("content-length", 0)) > limits.upload:
        raise _too_large(limits)
    parser = _InMemory(request.headers, request.stream(), max_part_size=TEXT)
    parser.stream = parser.counted(request, limits)
    try:
        async with asyncio.timeout(limits.upload_seconds):
            form = await parser.parse()
    except TimeoutError as error:
        raise Refused(TOO_SLOW, f"The upload did not arrive within {limits.upload_seconds:g} s.") from error
    except ClientDisconnect as error:
        raise Refused(400, "The connection ended before the upload did.") from error
    except MultiPartException as error:
        raise Refused(400, f"The form cannot be read: {error.message}") from error
    given = [
        (name, part.filename, await part.read()) if isinstance(part, UploadFile) else (name, None, part.encode())
        for name, part in form.multi_items()
    ]
    await form.close()
    return _checked(given, field, files, wanted)


def _checked(given: Sequence[tuple[str, str | None, bytes]], field: str, most: int, wanted: str) -> Upload:
    known = (field, *OPTIONS)
    for name, file, _ in given:
        if name not in known:
            raise Refused(422, unknown("field", name, known))
        if name == field and file is None:
            raise Refused(422, f"'{field}' holds text.{wanted}")
    sounds = tuple((file or "", content) for name, file, content in given if name == field)
    if not 1 <= len(sounds) <= most:
        expected = "1 was" if most == 1 else f"1 to {most} were"
        raise Refused(422, f"The form has {len(sounds)} files, and {expected} expected.{wanted}")
    options = {name: content for name, _, content in given if name in OPTIONS}
    return Upload(sounds, _profile(options.get("profile")), _threshold(options.get("abstain")))


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"The upload is larger than {limits.upload / 1e6:g} MB. Cut the sound, or send it as FLAC.")


def _profile(text: bytes | None) -> Profile | None:
    if text and len(text) > TEXT:  # it is read between other clients' requests: that has to be quick
        raise Refused(422, f"The field 'profile' has {len(text)} bytes; what `serene enrol` writes is smaller by far.")
    try:
        return Profile.parse(text, "The field 'profile'") if text else None
    except SereneError as error:
        raise Refused(422, str(error)) from error


def _threshold(text: bytes | None) -> float | None:
    if not text:
        return None
    with contextlib.suppress(ValueError):
        if 0 <= (value := float(text)) <= 1:
            return value
    shown = text[:20].decode("utf-8", "replace")
    raise Refused(422, f"The field 'abstain' is '{shown}'; a probability from 0 to 1 was expected.")


def has_body(scope: MutableMapping[str, Any]) -> bool:
    """Whether an ASGI request announces a body."""
    return bool({b"content-length", b"transfer-encoding"} & dict(scope["headers"]).keys())


def patient(app: Any, limits: Limits) -> Callable[..., Awaitable[None]]:
    """Stand before an ASGI application, and read an upload to its end before it is refused.

    Most clients send all of a body before they read an answer: were the connection closed on them in the middle, they
    would see a broken pipe and no reason. What is read so is thrown away at once, and not for ever: `PATIENCE` times
    as much as the limit; who was too slow has had time enough.
    """

    async def serve(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not has_body(scope):
            await app(scope, receive, send)
            return
        begun, left = (
            b"expect" not in dict(scope["headers"]),
            True,
        )  # who expects "100 Continue" has sent nothing until it was asked

        async def receiving() -> MutableMapping[str, Any]:
            nonlocal begun, left
            message = await receive()
            begun, left = True, message.get("more_body", False)
            return message

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and message["status"] != TOO_SLOW and begun and left:
                size = 0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limits.upload_seconds):
                        while left and size < PATIENCE * limits.upload:
                            size += len((await receiving()).get("body", b""))
            await send(message)

        await app(scope, receiving, sending)

    return serve
