# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhsh: what is connected, the help, and the ways in."""
import os
import pty
import select
import subprocess
import sys
import threading

import pytest
from binding import BUILD, PACKAGE, vh

ENV = {**os.environ, "PYTHONPATH": PACKAGE, "VHCTL_PYTHON": sys.executable, "TERM": "dumb", "INPUTRC": "/dev/null"}


@pytest.fixture(name="disk")
def _disk(tmp_path):
    path = f"unix:{tmp_path}/disk.sock"
    with vh.Slave(vh.Device.ram(1 << 20)) as slave:
        slave.listen(path)
        thread = threading.Thread(target=slave.serve)
        thread.start()
        yield path
        slave.close()
        thread.join()


def shell(*args, text=""):
    done = subprocess.run([sys.executable, "-X", "dev", "-m", "vh.shell", *args], env=ENV, input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_disk_is_written_and_read(disk):
    program = "b = blk()\nb.write(512, bytes([7]) * 512)\nprint(b.read(0, 1024)[511:513], drive)\n"
    assert shell(disk, "-c", program)[:2][1].startswith(r"b'\x00\x07'")
    code, out, err = shell(disk, "--type", "blk", text="print(blk.read(512, 512)[0], blk.capacity, repr(driver.features))")
    assert (code, err) == (0, "") and out.startswith("7 1048576 <Features.")


def test_help_names_what_there_is(disk):
    code, out, err = shell(disk, "-c", "guide()\nguide(dev)\nguide(Queue)\napropos('suspend')")
    assert (code, err) == (0, "")
    for line in (f"a Master, connected to {disk}", "get_features()", "pop(", "Vdpa.suspend"):
        assert line in out, (line, out)


def test_a_shell_without_a_device():
    code, out, _ = shell("-c", "guide(); print(Memory)")
    assert code == 0 and "open_target" in out and "vh._memory.Memory" in out


@pytest.mark.parametrize("args, code, says", (
    (("unix:/nowhere/x.sock",), 3, "vhsh: unix:/nowhere/x.sock: "),
    (("--type", "blk"), 2, "--type needs a target"),
    (("-c", "open_target('unix:/nowhere/x.sock')"), 1, "vh_master_connect"),
))
def test_what_goes_wrong_is_told(args, code, says):
    got, _, err = shell(*args)
    assert got == code and says in err, err


def test_a_person_types(disk):
    """The launcher of the build, in a terminal: a banner, completion, and an end by Ctrl-D."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([os.path.join(BUILD, "vhsh"), disk], env=ENV, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""

    def until(text):
        nonlocal seen
        while text not in seen:
            assert select.select([ours], [], [], 20)[0], (text, seen)
            seen += os.read(ours, 4096)
        seen = seen[seen.index(text) + len(text):]
    try:
        until(b"a Master, connected to")
        until(b"vh> ")
        os.write(ours, b"dev.get_fea\t")
        until(b"get_features(")
        os.write(ours, b"\x15dev.get_features()\n")
        until(b"<Features.")
        until(b"vh> ")
        os.write(ours, b"\x04")
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)
