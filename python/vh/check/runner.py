# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Run checks, one after the other, and note how each came out."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Sequence

from vh._error import VhError
from vh.check.core import INFO, SHOULD, Check, Fails, Skips
from vh.check.targets import Unreachable
from vh.testing import wire

PASS, FAIL, WARN, SKIP, ERROR = "pass", "fail", "warn", "skip", "error"


@dataclass
class Result:
    """How one check came out. known: why it is expected to deviate, "" when it is not."""

    check: Check
    outcome: str
    text: str = ""
    seconds: float = 0.0
    messages: list[str] = field(default_factory=list)
    known: str = ""

    @property
    def deviates(self) -> bool:
        return self.outcome in (FAIL, WARN, ERROR)

    @property
    def unexpected(self) -> bool:
        """Not as it should be: a deviation that nobody knows, or a known one that is gone."""
        if self.known:
            return self.outcome == PASS and not self.known.startswith("sometimes")
        return self.outcome in (FAIL, ERROR)


class _TooLong(Exception):
    """The time of a check is over."""


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """An end for what hangs in a call of the system. In the main thread only; elsewhere each wait has its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(*_: Any) -> None:
        raise _TooLong(f"it was not over after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(checks: Sequence[Check], context: Callable[[], Any], known: dict[str, str], timeout: float,
        progress: Callable[[int, Check], None] = lambda done, check: None) -> list[Result]:  # fmt: skip
    """Each check with a context of its own. Raises Unreachable when the peer can't be reached any more."""
    results = []
    for done, check in enumerate(checks):
        progress(done, check)
        results.append(one(check, context(), known.get(check.name, ""), timeout))
    return results


def one(check: Check, context: Any, known: str = "", timeout: float = 20.0) -> Result:
    """One check, to its end."""
    started = time.monotonic()
    outcome, text = PASS, ""
    try:
        with _limit(timeout):
            why = context.applies(check)
            if why:
                outcome, text = SKIP, why
            else:
                check.run(context)
    except Skips as e:
        outcome, text = SKIP, str(e)
    except (Fails, wire.ProtocolError, _TooLong, Unreachable, VhError) as e:
        soft = check.severity in (SHOULD, INFO) and not context.target.died()
        outcome = WARN if soft else FAIL
        text = str(e) if isinstance(e, (Fails, _TooLong)) else f"{e}{_end(context)}"
    except Exception as e:  # pylint: disable=broad-except  # noqa: BLE001 - one check that is wrong does not end the others
        outcome, text = ERROR, f"{type(e).__name__}: {e} ({_place(e)})"
    messages = context.history.lines() if outcome in (FAIL, WARN, ERROR) else []
    try:
        context.close()
    except OSError as e:
        outcome, text = ERROR, f"closing: {e}"
    return Result(check, outcome, text, time.monotonic() - started, messages, known)


def _end(context: Any) -> str:
    died = context.target.died()
    return f"; {died}" if died else ""


def _place(e: BaseException) -> str:
    frame = traceback.extract_tb(e.__traceback__)[-1]
    return f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
