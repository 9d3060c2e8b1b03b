# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A front-end that is started from a command, or by somebody else, and what it said to a device that does as it should."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

from vh._command import reason
from vh.check import reference
from vh.check.core import Check, Skips
from vh.check.targets import Unreachable, how
from vh.check.wires import History, Seen
from vh.launch.errors import LaunchError
from vh.launch.process import Child, Output
from vh.testing.hostile import HostileBackEnd
from vh.trace import Tracer
from vh.trace.message import FRONT_END, MAIN, Message, Violation


@dataclass
class Heard:
    """One session: what was said, what of it is forbidden, how the front-end ended (None: it did not, or nobody knows)."""

    messages: list[Message] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    code: int | None = None
    late: bool = False
    output: str = ""


class FrontEnd:
    """The front-end at the end of a socket. command: how it is started, with {socket} in it; "": somebody else does it."""

    one_shot = True

    def __init__(self, path: str, command: str, kind: str, timeout: float):
        self.name = command or f"front-end at {path}"
        self.dir: Any = tempfile.TemporaryDirectory(prefix="vh-check-")
        self.path = path or os.path.join(self.dir.name, "front")
        self.command, self.kind, self.timeout = command, kind, timeout
        self._heard: Heard | None = None

    def close(self) -> None:
        self.dir.cleanup()

    def died(self) -> str:
        return ""

    def heard(self) -> Heard:
        """A session with a device that does as it should; the same one for all who ask. Raises Unreachable."""
        if self._heard is None:
            behind = os.path.join(self.dir.name, "device")
            with reference.serving(self.kind, behind), self._traced(behind) as tracer:
                done = self.run() if self.command else Heard()
                tracer.join(self.timeout if not self.command else 1.0)
                heard = tracer.recording()
            done.messages, done.violations = heard.messages, heard.violations
            if not done.messages:
                raise Unreachable(f"{self.name}: nothing came to {self.path}{': ' + done.output if done.output else ''}")
            self._heard = done
        return self._heard

    def _traced(self, behind: str) -> Tracer:
        try:
            return Tracer(listen=self.path, connect=behind, once=True)
        except OSError as e:  # the path is somebody's, or can't be
            raise Unreachable(reason(e)) from e

    def run(self, seconds: float = 0) -> Heard:
        """The command, to its end."""
        argv = [word.replace("{socket}", self.path) for word in shlex.split(self.command)]
        heard, output = Heard(), Output()
        try:
            child = Child(argv, stdout=output.to, stderr=output.to)
            try:
                output.begin()
                heard.late = not child.ended(seconds or self.timeout)
            finally:  # a check can be cut short here, by its time or by who runs it
                heard.code, _ = child.end(0)
        except LaunchError as e:
            raise Unreachable(str(e)) from None
        finally:
            output.finish()
        heard.output = output.text().strip()[-400:]
        return heard

    def against(self, trick: str, nth: int, seconds: float) -> tuple[Heard, int]:
        """A session with a back-end that spoils its nth reply; and how often it came to that."""
        with HostileBackEnd(self.path, trick, nth) as back:
            return self.run(seconds), back.done


class Context:
    """What one check of a front-end may use."""

    def __init__(self, target: FrontEnd):
        self.target = target
        self.history = History()

    def lacks(self, need: str) -> str:
        """Why a check that has this need can't run, "" when it can."""
        return {"command": "" if self.target.command else "the front-end is not started here; --command starts it"}[need]

    def applies(self, check: Check) -> str:
        return next(filter(None, map(self.lacks, check.needs)), "")

    def heard(self) -> Heard:
        heard = self.target.heard()
        self.history[:] = [Seen(m.sender != FRONT_END, m.request, m.flags, m.payload, len(m.fds), time_ns=m.time_ns)
                           for m in heard.messages if m.channel == MAIN]  # fmt: skip
        return heard

    def need(self, condition: object, what: str) -> None:
        if not condition:
            raise Skips(what)

    def close(self) -> None:
        pass


def ended(heard: Heard) -> str:
    """How it ended, in words; "" when it ended by itself without a signal."""
    if heard.late:
        return "it did not end in time"
    return how(heard.code) if heard.code is not None and heard.code < 0 else ""


