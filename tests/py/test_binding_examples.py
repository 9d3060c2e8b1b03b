# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The examples of devices, in C and in Python, each driven by a session that knows no more than the device's kind."""
import os
import socket
import subprocess
import sys
import time

import pytest
from binding import BUILD, PACKAGE, TOP, WAIT, vh

C = os.path.join(BUILD, "examples")
PYTHON = os.path.join(TOP, "examples")


@pytest.fixture(name="ask", params=("c", "python"))
def _ask(request, tmp_path):
    """Ask the device of that name, in one of the languages."""
    path = tmp_path / "s"
    started = []

    def ask(name, readable, room):
        if request.param == "c":
            argv = [os.path.join(C, f"{name}_backend"), path]
        else:
            argv = [sys.executable, "-X", "dev", os.path.join(PYTHON, f"{name}_device.py"), path]
        started.append(subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": PACKAGE}, stderr=subprocess.PIPE))
        end = time.monotonic() + WAIT
        while not listens(path):
            assert time.monotonic() < end and started[-1].poll() is None, "it does not listen"
            time.sleep(0.02)
        return exchange(path, readable, room)

    yield ask
    for process in started:
        process.terminate()
        process.communicate()


def listens(path):
    """The file is there before somebody listens."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


def exchange(path, readable, room):
    """One request with these pieces to read and to write; all that was written."""
    with vh.connect(path, timeout=WAIT) as master, vh.Driver(master) as driver:
        memory = driver.alloc(65536)
        ins, outs, at = [], [], 0
        for piece in readable:
            memory[at:at + len(piece)] = piece
            ins.append(memory[at:at + len(piece)])
            at += len(piece)
        for length in room:
            outs.append(memory[at:at + length])
            at += length
        driver.start()
        queue = driver.queue(0)
        assert queue.submit([(ins, outs, 0)]) == 1
        while not (done := queue.reap()):
            assert queue.wait(WAIT)
        return b"".join(map(bytes, outs))[:done[0].written]


def test_an_entropy_device_gives_bytes_that_differ(ask):
    got = ask("rng", (), (64,))
    assert len(got) == 64 and len(set(got)) > 16


def test_an_echo_device_does_not_care_where_pieces_end(ask):
    assert ask("echo", (b"hello", b" ", b"world"), (3, 1, 20)) == b"hello world"
