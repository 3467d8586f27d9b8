"""A recognizer behind HTTP: one file or several at a time, with limits, counts and a page that describes it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from serene.errors import SereneError
from serene.inference.recognizer import Precision, Recognizer
from serene.serving import BACKLOG, listen
from serene.serving.access import Access, guarded
from serene.serving.connections import HEALTH, Connection, holder
from serene.serving.service import Service, counted
from serene.serving.uploads import Limits, Refused, Upload, patient, receive

ACCEPTED = 100  # connections at once, before any of them can be closed: with all others, fewer than files may be open
BEARER = HTTPBearer(auto_error=False, description="The key that the service was started with, if any.")


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
    allowed_hosts: Sequence[str] = (),
    allow_origins: Sequence[str] = (),
    docs: bool = True,
    at_once: int | None = None,
    decoders: int = 2,
    limits: Limits | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve a model until the process is told to end (SIGINT, SIGTERM); what is in flight then is answered first.

    Model, device, precision and threads are as `Recognizer.load` takes them; `at_once`, decoders, limits and the
    threshold that a request may change, as `Service` does. Others than this machine reach the service only where `host`
    says so; port 0 is any that is free. Requests have to carry the `api_key`, if there is one, as `Authorization:
    Bearer KEY`; who else may ask, and how they call the service, is as `Access` says. `ready` is told the address once
    requests are answered.

    Raises:
        SereneError: the model cannot be loaded, a setting is out of range, or nothing can listen there.
    """
    access = Access(host, api_key, tuple(allowed_hosts), tuple(allow_origins), docs)
    recognizer = Recognizer.load(model, device=device, precision=precision, threads=threads)
    service = Service(recognizer, limits=limits, abstain=abstain, at_once=at_once, decoders=decoders)
    listening = listen(host, port, api_key)
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listening.getsockname()[1]}"
    with listening, contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended in order when it hands the signal on
        _Server(service, access, lambda: ready(url)).run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(self, service: Service, access: Access, ready: Callable[[], None]) -> None:
        connection: Any = functools.partial(Connection, limits=service.limits)
        config = uvicorn.Config(
            application(service, access),
            http=connection,
            backlog=ACCEPTED,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=math.ceil(service.limits.upload_seconds + service.limits.answer_seconds),
        )
        super().__init__(config)
        self._told = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)  # those beyond ACCEPTED wait their turn
        self._told()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self.force_exit:  # a second Ctrl-C: uvicorn would leave everybody without a word
            self.force_exit = False
            for task in list(self.server_state.tasks):
                self._loop.call_soon_threadsafe(task.cancel)


def application(service: Service, access: Access | None = None) -> FastAPI:
    """Put a service behind HTTP, as an ASGI application that opens and closes it; who may ask is `access`'s to say."""

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
        openapi_url=None,  # without the key it would be told to anybody
    )
    access = access or Access()
    guards = [Depends(_key(access))]
    app.add_exception_handler(SereneError, _refuse)
    if allowed := access.allow_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=allowed, allow_methods=["POST"], allow_headers=["Authorization"]
        )
    app.add_middleware(guarded, access=access)
    app.add_middleware(patient, limits=service.limits)
    app.add_middleware(counted, counters=service.counters)
    _add_predictions(app, service, guards)
    _add_facts(app, service, guards)
    if access.docs:
        _add_docs(app, guards)
    return app


def _add_docs(app: FastAPI, guards: list[Any]) -> None:
    described: dict[str, Any] = {
        "openapi_url": "openapi.json",
        "title": app.title,
    }  # relative, as a proxy may have a path of its own
    add = functools.partial(app.get, include_in_schema=False)
    add("/")(lambda: RedirectResponse("docs"))
    add("/openapi.json", dependencies=guards)(lambda: JSONResponse(app.openapi()))
    add("/docs", dependencies=guards)(lambda: get_swagger_ui_html(**described))
    add("/redoc", dependencies=guards)(lambda: get_redoc_html(**described))


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
    @app.get(HEALTH)
    async def health() -> dict[str, str]:
        """Say that the service answers; needs no key."""
        return {"status": "ok"}

    @app.get("/model", dependencies=guards, responses={401: {"model": Reason}})
    async def model() -> dict[str, Any]:
        """Name the model, its classes and what was measured of it, and the service's limits."""
        return service.facts()

    @app.get("/metrics", dependencies=guards, responses={401: {"model": Reason}}, response_class=Response)
    async def metrics() -> Response:
        """Count requests, files and times, in Prometheus' text format."""
        return Response(service.counters.page(), media_type=CONTENT_TYPE_LATEST)


async def _row(service: Service, upload: Upload, name: str, content: bytes) -> Row:
    try:
        return Row(file=name, **(await service.answer(content, upload.profile, upload.abstain)).to_dict())
    except SereneError as error:
        return Row(file=name, error=str(error))


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    return (error if isinstance(error, Refused) else Refused(422, str(error))).response()


def _key(access: Access) -> Callable[..., Awaitable[None]]:
    async def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        if not access.opens(given.credentials if given else ""):
            raise Refused(401, "A key is needed, in a header: Authorization: Bearer KEY.")

    return check


def _client(request: Request) -> str:
    return holder(request.client.host) if request.client else ""


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
