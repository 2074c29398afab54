"""Work spread over the cores of this process."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context

_pool: ThreadPoolExecutor | None = None


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(jobs: Iterable[Callable[[], None]]) -> None:
    """Runs jobs on all cores; the caller takes part, and returns when all are done.

    Raises:
        Exception: what a job raised; others may then not have been run.
    """
    waiting = deque(jobs)

    def work() -> None:
        while True:
            try:
                job = waiting.popleft()
            except IndexError:
                return
            job()

    helpers = min(cores(), len(waiting)) - 1
    # Each in a copy of the caller's context, which holds NumPy's handling of errors.
    futures = [_executor().submit(copy_context().run, work) for _ in range(helpers)]
    if not futures:
        work()
        return
    try:
        work()
    finally:
        waiting.clear()  # after an error nothing more is begun, and what runs is waited for
        wait([future for future in futures if not future.cancel()])
    for future in futures:
        if not future.cancelled():
            future.result()


def _executor() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603  one pool a process
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, cores() - 1), thread_name_prefix="refopt")
    return _pool


def _forget() -> None:
    global _pool  # noqa: PLW0603
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # threads do not survive a fork
