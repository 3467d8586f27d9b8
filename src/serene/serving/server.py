"""A recognizer behind HTTP: one file or several at a time, with limits, counts and a page that describes it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from serene.errors import SereneError
from serene.inference.recognizer import Precision, Recognizer
from serene.serving import listen
from serene.serving.service import Service, counted
from serene.serving.uploads import Limits, Refused, Upload, patient, receive

CONNECTIONS = 512  # beyond these, requests are refused unread: a last resort against those that open and say nothing
BEARER = HTTPBearer(auto_error=False, description="The key that the service was started with, if any.")
RETRY_AFTER = {"Retry-After": "1"}  # seconds


class Answer(BaseModel):
    """What the model says of one sound."""

    label: str | None = Field(description="The class with the highest score; null where `note` says why.")
    scores: dict[str, float] = Field(description="Each class's probability, or each dimension's value.")
    duration: float = Field(description="Of the sound, in seconds.")
    note: str | None = Field(description="`too short`, `silence`, `no speech`, or `uncertain`.")


class Row(BaseModel):
    """What the model says of one sound of several, or why it says nothing."""

    file: str = Field(description="Its name, as it was sent.")
    label: str | None = None
    scores: dict[str, float] = {}
    duration: float | None = None
    note: str | None = None
    error: str | None = Field(None, description="Why there is no answer; null where there is one.")


class Answers(BaseModel):
    """Answers in the order of the files."""

    results: list[Row]


class Reason(BaseModel):
    """Why there is no answer."""

    detail: str


def serve(
    model: str | Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
    abstain: float | None = None,
    api_key: str | None = None,
    max_batch: int = 16,
    max_wait_ms: float = 5.0,
    decoders: int = 2,
    limits: Limits | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve a model until the process is told to end (SIGINT, SIGTERM); what is in flight then is answered first.

    Model, device, precision and threads are as `Recognizer.load` takes them; batches, decoders, limits and the
    threshold that a request may change, as `Service` does. Others than this machine reach the service only where `host`
    says so; port 0 is any that is free. Requests have to carry the `api_key`, if there is one, as `Authorization:
    Bearer KEY`. `ready` is told the address once requests are answered.

    Raises:
        SereneError: the model cannot be loaded, a setting is out of range, or nothing can listen there.
    """
    how = {"device": device, "precision": precision, "threads": threads, "batch_size": max(1, max_batch)}
    batches = {"max_batch": max_batch, "max_wait_ms": max_wait_ms, "decoders": decoders}
    service = Service(Recognizer.load(model, **how), limits=limits, abstain=abstain, **batches)
    listening = listen(host, port)
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listening.getsockname()[1]}"
    with listening, contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended in order when it hands the signal on
        _Server(service, api_key, lambda: ready(url)).run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(self, service: Service, api_key: str | None, ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            application(service, api_key),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=math.ceil(service.limits.upload_seconds + service.limits.answer_seconds),
        )
        super().__init__(config)
        self._told = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told()


def application(service: Service, api_key: str | None = None) -> FastAPI:
    """Put a service behind HTTP, as an ASGI application that opens and closes it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        service.open()
        try:
            yield
        finally:
            await asyncio.to_thread(service.close)

    app = FastAPI(
        title="serene",
        version=metadata.version("serene-ser"),
        description="Speech emotion recognition. Sounds are read in memory, scored and forgotten.",
        lifespan=lifespan,
    )
    app.add_exception_handler(SereneError, _refuse)
    app.add_middleware(patient, limits=service.limits)
    app.add_middleware(counted, counters=service.counters)
    app.get("/", include_in_schema=False)(lambda: RedirectResponse("/docs"))
    _add_predictions(app, service, [Depends(_key(api_key))])
    _add_facts(app, service, [Depends(_key(api_key))])
    return app


def _add_predictions(app: FastAPI, service: Service, guards: list[Any]) -> None:
    limits = service.limits
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Reason} for status in (400, 401, 408, 413, 415, 422, 429, 503)
    }

    @app.post("/predict", dependencies=guards, responses=refusals, openapi_extra=_form("file", several=False))
    async def predict(request: Request) -> Answer:
        """Answer for one sound file."""
        with service.request(_client(request)), service.places(1):
            upload = await receive(request, "file", 1, limits)
            service.check(upload.profile, upload.abstain)
            return Answer(**(await service.answer(upload.files[0][1], upload.profile, upload.abstain)).to_dict())

    @app.post("/predict/batch", dependencies=guards, responses=refusals, openapi_extra=_form("files", several=True))
    async def predict_batch(request: Request) -> Answers:
        """Answer for several sound files of one speaker, or of any where there is no profile; errors are per file."""
        with service.request(_client(request)), service.places(1):
            upload = await receive(request, "files", limits.files, limits)
            service.check(upload.profile, upload.abstain)
            with service.places(len(upload.files) - 1):
                return Answers(results=await asyncio.gather(*(_row(service, upload, *file) for file in upload.files)))


def _add_facts(app: FastAPI, service: Service, guards: list[Any]) -> None:
    @app.get("/health")
    async def health(response: Response) -> dict[str, str]:
        """Say whether the service answers; needs no key."""
        response.status_code = 200 if service.alive else 503
        return {"status": "ok" if service.alive else "the network's thread has ended"}

    @app.get("/model", dependencies=guards, responses={401: {"model": Reason}})
    async def model() -> dict[str, Any]:
        """Name the model, its classes and what was measured of it, and the service's limits."""
        return service.facts()

    @app.get("/metrics", dependencies=guards, responses={401: {"model": Reason}}, response_class=Response)
    async def metrics() -> Response:
        """Count requests, files, batches and times, in Prometheus' text format."""
        return Response(service.counters.page(), media_type=CONTENT_TYPE_LATEST)


async def _row(service: Service, upload: Upload, name: str, content: bytes) -> Row:
    try:
        return Row(file=name, **(await service.answer(content, upload.profile, upload.abstain)).to_dict())
    except SereneError as error:
        return Row(file=name, error=str(error))


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    status = error.status if isinstance(error, Refused) else 422
    headers = RETRY_AFTER if isinstance(error, Refused) and error.later else {}
    headers = headers | ({"WWW-Authenticate": "Bearer"} if status == 401 else {})
    return JSONResponse({"detail": str(error)}, status, headers)


def _key(expected: str | None) -> Callable[..., Awaitable[None]]:
    async def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        if expected is None:
            return
        sent = given.credentials if given else ""
        if not hmac.compare_digest(sent.encode(), expected.encode()):
            raise Refused(401, "A key is needed, in a header: Authorization: Bearer KEY.")

    return check


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _form(field: str, *, several: bool) -> dict[str, Any]:
    """Describe a form for the API page; it is read by hand, so that its limits hold before it is in memory."""
    sound = {"type": "string", "format": "binary", "description": "wav, flac, ogg, opus, mp3, aiff, ..."}
    properties = {
        field: {"type": "array", "items": sound} if several else sound,
        "profile": {"type": "string", "description": "A speaker's profile: the JSON that `serene enrol` writes."},
        "abstain": {"type": "number", "minimum": 0, "maximum": 1, "description": "`uncertain` below this score."},
    }
    schema = {"type": "object", "required": [field], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
