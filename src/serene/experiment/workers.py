"""Tasks side by side, each in a process of its own that ends with the process that started it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from serene.errors import SereneError
from serene.quiet import set_apart
from serene.trust import accept, trusted

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
_messages: Any = None  # in a worker: the queue of what it tells


def work(
    function: Callable[..., None], tasks: Sequence[tuple[Any, ...]], *, jobs: int, on_message: Callable[..., None]
) -> None:
    """Call `function(*task, tell)` for every task; what it tells arrives here.

    Args:
        function: of a module's top level; its last argument is `tell(*message)`.
        tasks: arguments that can be pickled.
        jobs: processes at a time; with one, the tasks run here, one after the other.
        on_message: called with each message.

    Raises:
        Exception: the first that a task raises; the other tasks are stopped.
    """
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            function(*task, on_message)
        return
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)), context, initializer=_begin, initargs=(messages, os.getpid(), trusted())
    )
    try:
        pending = {pool.submit(_call, function, task) for task in tasks}
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            _pass_on(messages, on_message)
        pool.shutdown()
        _pass_on(messages, on_message)  # the last words of workers that have ended since
    except BaseException as error:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise SereneError(
                "A process was ended from outside, perhaps for want of memory; run again with fewer --jobs to go on."
            ) from error
        raise


def _pass_on(messages: Any, on_message: Callable[..., None]) -> None:
    while not messages.empty():
        on_message(*messages.get())


def _begin(messages: Any, parent: int, names: frozenset[str]) -> None:
    global _messages
    _messages = messages
    accept(names)
    set_apart()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one gets it too, and ends it
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent has gone, however it went; no one would read its results."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _call(function: Callable[..., None], task: tuple[Any, ...]) -> None:
    function(*task, lambda *message: _messages.put(message))
