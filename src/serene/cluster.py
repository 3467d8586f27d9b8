"""A Ray cluster does a part of the work: reached quietly, by workers that see the same files with the same versions."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from serene.errors import SereneError, quoted
from serene.files import regular
from serene.quiet import hushed
from serene.trust import accept, trusted

PACKAGES = ("serene-ser", "numpy", "onnxruntime", "torch", "soundfile", "soxr")  # that the bytes of results hang on
SETTINGS = {  # read when ray is imported: it tells nobody of its use, and writes nothing between serene's own lines
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
STORE = 200_000_000  # bytes of memory for objects, of a Ray that is started here: plans and rows take far less
LOST = 3  # times that a trial is begun again after its worker was lost
PATIENCE = 10.0  # seconds for an address to answer


@dataclass(frozen=True)
class Conditions:
    """What a worker has to have as the machine that asks it has, so that both would write the same bytes.

    Attributes:
        folder: the current one, which relative paths begin at.
        versions: of serene and of what it computes with.
        files: path -> SHA-256, such as of the manifest.
        trusted: names that files may name.
    """

    folder: Path
    versions: Mapping[str, str | None]
    files: Mapping[Path, str]
    trusted: frozenset[str]

    @classmethod
    def here(cls, files: Iterable[Path] = ()) -> Self:
        """State what this machine has."""
        return cls(Path.cwd(), _versions(), {Path(file): _digest(file) for file in files}, trusted())

    def meet(self) -> None:
        """Go to the same folder and trust the same names, in a worker.

        Raises:
            SereneError: it has another version or another file, or does not see one.
        """
        where, shared = f"The Ray worker on {platform.node()}", "--on ray needs a file system that all machines share."
        for name, own in _versions().items():
            if own != (other := self.versions[name]):
                raise SereneError(f"{where} has {name} {own}, and this machine {other}; install the same on both.")
        try:
            os.chdir(self.folder)
            digests = {file: _digest(file) for file in self.files}
        except OSError as error:
            raise SereneError(f"{where} does not see {error.filename}: {shared}") from error
        for file, digest in digests.items():
            if digest != self.files[file]:
                raise SereneError(f"{where} has another {file} than this machine: {shared}")
        accept(self.trusted)


@contextlib.contextmanager
def connected(on: str) -> Iterator[Any]:
    """Give `ray`, connected to the cluster at `ray://HOST:PORT`; `ray` is that of RAY_ADDRESS, or one for this block.

    A program that is connected already stays so.

    Raises:
        SereneError: no such address, or no Ray answers there.
        ModuleNotFoundError: ray is not installed.
    """
    address = _address(on)
    os.environ |= SETTINGS if address is None else SETTINGS | {"RAY_NUM_REDIS_GET_RETRIES": "2"}  # else minutes of them
    import ray

    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:  # nobody but this machine can reach it
        quiet |= {"_node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": STORE}
    with hushed():
        try:
            ray.init(address=address or "local", **quiet)
        except Exception as error:  # of many kinds
            ray.shutdown()
            raise _unanswered(on, error) from error
        try:
            yield ray
        finally:
            ray.shutdown()


def work(
    function: Callable[..., None],
    tasks: Sequence[tuple[Any, ...]],
    *,
    on: str,
    files: Iterable[Path],
    gpus: int = 0,
    on_message: Callable[..., None],
) -> None:
    """Call `function(*task, tell)` for every task, as a task of Ray's; the last that each tells arrives in the end.

    Args:
        function: of a module's top level; its last argument is `tell(*message)`.
        tasks: arguments that can be pickled; one that several share is sent once.
        on: `ray` or `ray://HOST:PORT`.
        files: that each worker has to have as they are here.
        gpus: that a task takes.
        on_message: called with each message.

    Raises:
        SereneError: the first that a task raises, or a worker was lost too often; the other tasks are stopped.
    """
    if not tasks:
        return
    with connected(on) as ray, bounded(ray):
        here, call = Conditions.here(files), ray.remote(num_cpus=1, num_gpus=gpus, max_retries=LOST)(_call)
        sent = {id(part): ray.put(part) for task in tasks for part in (function, *task)}
        pending = [call.remote(here, [sent[id(part)] for part in (function, *task)]) for task in tasks]
        try:
            while pending:
                (done,), pending = ray.wait(pending)
                for message in opened(ray.get(done)):
                    on_message(*message)
        finally:
            for one in pending:
                ray.cancel(one, force=True)


@contextlib.contextmanager
def bounded(ray: Any) -> Iterator[None]:
    """Say it in one sentence where a part of the work has lost its worker too often.

    Raises:
        SereneError: it has.
    """
    lost = ray.exceptions
    try:
        yield
    except (lost.WorkerCrashedError, lost.OutOfMemoryError, lost.NodeDiedError, lost.RayActorError) as error:
        raise SereneError(
            f"A part of the work has lost its Ray worker {LOST + 1} times, perhaps for want of memory; run again to go "
            "on."
        ) from error


def opened(outcome: Any) -> Any:
    """Give what a worker gave, or raise the mistake that it gave instead."""
    if isinstance(outcome, SereneError):
        raise outcome
    return outcome


def _call(here: Conditions, parts: Sequence[Any]) -> list[Any] | SereneError:
    import ray

    told = list[Any]()
    try:
        here.meet()
        function, *task = ray.get(parts)  # only now: another version might not even be able to read them
        function(*task, lambda *message: told.append(message))
    except SereneError as error:
        return error
    return told[-1:]


def _address(on: str) -> str | None:
    """Read where the cluster is, and make sure that something answers there; None for one of this machine's own."""
    scheme, sign, address = on.partition("://")
    address = address if sign else os.environ.get("RAY_ADDRESS", "local")
    host, _, port = address.rpartition(":")
    if scheme == "ray" and not sign and address in ("", "local", "auto"):
        return address if address == "auto" else None
    if scheme != "ray" or not host or not port.isdecimal():
        raise SereneError(f"--on is {quoted(on)}; ray, or ray://HOST:PORT with the port of its head, was expected.")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise _unanswered(on, error) from error
    return address


def _unanswered(on: str, error: BaseException) -> SereneError:
    """Say why there is no Ray: of an address, or of this machine."""
    why = quoted(getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0], 200)
    named = os.environ.get("RAY_ADDRESS")
    where = on if "://" in on else named and f"{named}, which RAY_ADDRESS names"
    if not where:
        return SereneError(f"No Ray could be started or reached on this machine: {why}; try again, or leave --on out.")
    return SereneError(
        f"No Ray answers at {where} ({why}); give the HOST:PORT that `ray start --head` said, on a machine of its "
        "cluster."
    )


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = dict.fromkeys(map(str, PACKAGES))
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _digest(file: Path) -> str:
    with regular(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
