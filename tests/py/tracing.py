# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the tests of the tracer share: a front-end and a back-end of vh.testing, and the tracer between them."""
import contextlib
import os
import subprocess
import sys
import threading

from binding import PACKAGE, WAIT, vh  # noqa: F401  # pylint: disable=unused-import
from vh.testing import BackEnd, FrontEnd
from vh.trace import Tracer

ENV = {**os.environ, "PYTHONPATH": PACKAGE, "PYTHONDONTWRITEBYTECODE": "1"}


@contextlib.contextmanager
def running(*argv, says=1):
    """A process that has said so many lines on stderr; it ends with the test, whatever that does."""
    with subprocess.Popen([*map(str, argv)], env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        try:
            for _ in range(says):
                process.stderr.readline()
            yield process
        finally:
            process.terminate()


def module(name, *argv):
    """One of vh.trace's commands, as a command line."""
    return sys.executable, "-m", name, *argv


class Rig:
    """fe, be: the two ends; tracer: between them. What either end says is in the tracer when the other has received it."""

    def __init__(self, fe, be, tracer):
        self.fe, self.be, self.tracer = fe, be, tracer

    def rules(self):
        return [v.rule for v in self.tracer.violations]


@contextlib.contextmanager
def rig(tmp_path, serve=True, **options):
    """With serve, the back-end answers in a thread; its handlers can be set before the first message."""
    front, back = str(tmp_path / "front.sock"), str(tmp_path / "back.sock")
    with BackEnd.listen(back) as listening, Tracer(front, back, once=True, **options) as tracer:
        fe = FrontEnd.connect(front, timeout=WAIT)
        be = BackEnd.accept(listening, timeout=WAIT)
        ending = threading.Event()
        try:
            if serve:
                be.start()
            yield Rig(fe, be, tracer)
        finally:
            ending.set()
            fe.close()
            if serve:
                be.finish(WAIT)
            be.close()
            assert tracer.join(WAIT), "the tracer did not end with its connection"
