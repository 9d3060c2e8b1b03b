# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Waiting on what a handle's fileno() says: in this thread, or in an asyncio task."""
import asyncio
import contextlib
import os
import select
import time
from typing import Any, Callable

# A signal that arrives just before the system call does not interrupt it; its handler has to run all the same.
SLICE_S = 0.25


def deadline(timeout: "float | None") -> "float | None":
    """Of a wait that begins now, on the clock of time.monotonic()."""
    if timeout is None:
        return None
    if not timeout >= 0:
        raise ValueError(f"a timeout of {timeout} seconds")
    return time.monotonic() + timeout


def left(end: "float | None") -> "float | None":
    """Of a deadline."""
    return None if end is None else max(0.0, end - time.monotonic())


def wait(handle: Any, timeout: "float | None", ready: "Callable[[], bool] | None" = None) -> bool:
    """Sleep until handle's fd is readable, or, if that is given, until ready(), which is asked first. False: the time
    passed. Signal handlers run, and closing the handle ends the wait."""
    end = deadline(timeout)
    handle._enter()
    try:
        poll = select.poll()
        poll.register(handle.fileno(), select.POLLIN)
        while not (ready and ready()):
            left = SLICE_S if end is None else min(SLICE_S, max(0, end - time.monotonic()))
            there = poll.poll(left * 1000)
            if handle.closed:
                raise handle._gone()
            if there and not ready:
                return True
            if not there and end is not None and time.monotonic() >= end:
                return False
        return True
    finally:
        handle._leave()


def _set(there: "asyncio.Future[None]") -> None:
    if not there.done():
        there.set_result(None)


async def readable(handle: Any) -> None:
    """Until handle's fd is readable. Several tasks may wait on one handle; closing it, on any thread, ends that."""
    loop = asyncio.get_running_loop()
    there = loop.create_future()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # a loop that is closed
            loop.call_soon_threadsafe(_set, there)

    with contextlib.ExitStack() as after:
        handle._sleepers.add(wake)
        after.callback(handle._sleepers.discard, wake)
        fd = os.dup(handle.fileno())  # a loop knows one reader for each fd
        after.callback(os.close, fd)
        loop.add_reader(fd, _set, there)
        after.callback(loop.remove_reader, fd)
        await there
    if handle.closed:
        raise handle._gone()


async def first(*handles: Any) -> None:
    """Until one of their fds is readable."""
    tasks = [asyncio.ensure_future(readable(h)) for h in handles]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
