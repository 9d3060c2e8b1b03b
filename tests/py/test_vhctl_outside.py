# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What is wrong around vhctl: full disks, readers that have gone, files that lie where it wants to make one."""
import os
import re
import socket
import stat
import subprocess
import sys
import urllib.request

import pytest
from test_vhctl import DONE, UNREACHABLE, USAGE, VHCTL, WRONG, Server, vhctl
from test_vhctl import _serve as serve  # noqa: F401  # pylint: disable=unused-import
from tracing import ENV, module

RECORDING = '{"vh_trace": 1, "started_ns": 0}\n' + '{"event": "connected", "conn": 1, "t": 0}\n' * 5000


def run(*argv, **kw):
    return subprocess.run([*map(str, argv)], env={**ENV, "VHCTL_PYTHON": sys.executable}, stdin=subprocess.DEVNULL, timeout=60, check=False,
                          **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kw})


def line(got):
    """The one line on stderr."""
    lines = [text for text in got.stderr.decode().splitlines() if "note:" not in text]
    assert len(lines) == 1, got.stderr.decode()
    return lines[0]


def unread():
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.fixture(name="recording")
def _recording(tmp_path):
    (tmp_path / "recording").write_text(RECORDING, encoding="utf-8")
    return tmp_path / "recording"


@pytest.mark.parametrize("size", ["1 ", "1 B", "1 iB", "1Q", " 1", "1K K"])
def test_what_is_no_size_is_none(tmp_path, size):
    got = vhctl("serve", "blk", "--ram", size, "--socket", tmp_path / "s")
    assert got.returncode == USAGE and "is not a size" in line(got)


def test_the_kind_of_device_is_the_first_word(tmp_path):
    got = vhctl("serve", "--socket", "net", "blk", "--ram", "1M", cwd=tmp_path)
    assert got.returncode == USAGE and "serve what" in line(got)


def test_a_table_that_nobody_reads_any_more_ends(serve):  # noqa: F811
    out = unread()
    got = run(VHCTL, "top", serve("--ram", "1M").target, "--interval", "10", stdout=out)
    os.close(out)
    assert got.returncode == WRONG and line(got) == "vhctl: can't write to stdout"


def test_data_that_nobody_reads_is_told_once(serve):  # noqa: F811
    out = unread()
    got = run(VHCTL, "io", "blk", serve("--ram", "1M").target, "read", "--output", "-", stdout=out)
    os.close(out)
    assert got.returncode == WRONG and "Broken pipe" in line(got)


def test_messages_that_can_t_be_written_are_told_of_once(serve):  # noqa: F811
    got = run(VHCTL, "probe", serve("--ram", "1M").target, stdout=subprocess.DEVNULL)
    assert got.returncode == DONE
    full = subprocess.run([VHCTL, "probe", serve("--ram", "1M").target], env={**os.environ, "VH_TRACE": "/dev/full"}, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=30, check=False)
    assert full.returncode == DONE and line(full) == "vhctl: VH_TRACE=/dev/full: No space left on device; messages are traced no more"


# The path of --handover

def test_a_file_where_the_handover_would_be_stays(tmp_path):
    (tmp_path / "mine").write_text("precious", encoding="utf-8")
    got = vhctl("serve", "blk", "--ram", "1M", "--socket", tmp_path / "s", "--handover", tmp_path / "mine")
    assert got.returncode == USAGE and "is not a socket" in line(got)
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "precious" and not (tmp_path / "s").exists()


def test_the_handover_is_this_user_s_alone_and_goes_at_the_end(tmp_path):
    path = tmp_path / "h"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(str(path))
    server = Server(str(tmp_path / "s"), "--ram", "1M", "--handover", path)
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
    assert server.end() == DONE and not os.listdir(tmp_path)


def test_a_handover_that_somebody_else_has_made_anew_is_left_alone(tmp_path):
    path = tmp_path / "h"
    server = Server(str(tmp_path / "s"), "--ram", "1M", "--handover", path)
    os.unlink(path)
    path.write_text("other", encoding="utf-8")
    assert server.end() == DONE and path.read_text(encoding="utf-8") == "other"


@pytest.mark.parametrize("where", ["0", "unix"])
def test_a_successor_gets_the_address_of_the_metrics_too(tmp_path, where):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    args = ("--file", disk, "--handover", tmp_path / "h")
    where = "unix:" + str(tmp_path / "m") if where == "unix" else where
    old = Server(str(tmp_path / "s"), *args, "--openmetrics", where)
    told = old.p.stderr.readline()
    port = re.search(r"metrics on port (\d+)", told)
    new = Server(str(tmp_path / "s"), *args, "--openmetrics", port[1] if port else where)
    assert "where the one before stood" in new.said and old.p.wait(10) == DONE
    assert new.p.stderr.readline() == told
    if port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=10) as answer:
            assert b"libvh_connection" in answer.read()
    else:
        assert (tmp_path / "m").is_socket()
    assert new.end() == DONE
    old.p.stderr.close()


# Where metrics are told

@pytest.mark.parametrize("where", ["70000", "somewhere.example:9100", "/nonexistent/m", "."])
def test_metrics_that_can_t_be_told_there_are_refused_at_once(tmp_path, where):
    got = vhctl("serve", "blk", "--ram", "1M", "--socket", "s", "--openmetrics", where, cwd=tmp_path)
    assert got.returncode == USAGE and where in line(got) and not os.listdir(tmp_path)


def test_metrics_and_results_don_t_replace_what_is_no_file(tmp_path, serve):  # noqa: F811
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got = vhctl("serve", "blk", "--ram", "1M", "--socket", tmp_path / "s", "--openmetrics", path)
    assert got.returncode == USAGE and str(path) in line(got) and path.is_fifo()
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    got = run(*module("vh.check", serve("--ram", "1M").target, "--only", "connect.reply", "--junit", path))
    assert got.returncode == DONE and path.is_fifo() and os.read(reader, 1 << 16).startswith(b"<?xml")
    os.close(reader)


# Commands in Python

@pytest.mark.parametrize("words", [("vh.trace.decode", "{recording}"), ("vh.trace.decode", "{recording}", "--json"), ("vh.check", "--list"),
                                   ("vh.launch", "caps", "--json")])
def test_a_reader_that_has_enough_is_told_nothing(recording, words):
    out = unread()
    got = run(*module(*(w.format(recording=recording) for w in words)), stdout=out)
    os.close(out)
    assert got.returncode == WRONG and not got.stderr


@pytest.mark.parametrize("words", [("vh.trace.decode", "{recording}"), ("vh.check", "--list"), ("vh.launch", "caps", "--json"),
                                   ("vh.trace", "--listen", "s", "--connect", "b", "--jsonl", "/dev/full")])
def test_a_full_disk_is_told_in_a_line(recording, words):
    with open("/dev/full", "wb") as full:
        got = run(*module(*(w.format(recording=recording) for w in words)), stdout=full, cwd=recording.parent)
    assert got.returncode in (WRONG, UNREACHABLE) and "No space left on device" in line(got) and "None" not in line(got)


@pytest.mark.parametrize("text", [b"\xbb\xff junk", b'{"vh_trace": 1}\n{"no": "message"}\n', b'{"vh_trace": 1}\n{"violation": 1}\n', b'{"vh_trace": 1}\n[]\n'])
def test_what_is_no_recording_is_told_with_its_name(recording, text):
    recording.write_bytes(text)
    for command in (("vh.trace.decode", recording), ("vh.trace.replay", recording, "unix:/nonexistent/s")):
        got = run(*module(*command))
        assert got.returncode == WRONG and str(recording) in line(got)


def test_a_picture_that_can_t_be_made(recording):
    got = run(*module("vh.trace.decode", recording, "--svg", "/nonexistent/x"))
    assert got.returncode == WRONG and line(got) == "vhctl decode: /nonexistent/x: No such file or directory"


def test_a_front_end_s_socket_that_is_somebody_s(serve):  # noqa: F811
    got = run(*module("vh.check", "--listen", serve("--ram", "1M").path))
    assert got.returncode == UNREACHABLE and "somebody listens" in line(got)


def test_files_of_a_back_end_that_can_t_be_made(tmp_path):
    for option in ("--log", "--pidfile"):
        got = run(*module("vh.launch", "run", option, "/nonexistent/x", "--", VHCTL, "serve", "blk", "--ram", "1M"), cwd=tmp_path)
        assert got.returncode == UNREACHABLE and got.stderr.decode().endswith("vhctl: /nonexistent/x: No such file or directory\n")


def test_the_last_words_of_a_back_end_are_shown_once(tmp_path):
    got = run(*module("vh.launch", "run", "--socket", tmp_path / "s", "--", "sh", "-c", "echo words >&2; exit 3"))
    assert got.returncode == WRONG and got.stderr.decode().splitlines() == ["words", "vhctl: sh: it ended with exit code 3 before it listened"]
    got = run(*module("vh.launch", "run", "--log", tmp_path / "log", "--", "sh", "-c", "echo words >&2; exit 3"))
    assert got.stderr.decode().splitlines() == ["vhctl: sh: it ended with exit code 3 before it listened:", "words"]


@pytest.mark.parametrize("kind, said", [("folder", "ECONNREFUSED"), ("datagrams", "another type"), ("nothing", "is the other side listening")])
def test_why_nobody_can_be_reached(tmp_path, kind, said):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        if kind == "datagrams":
            s.bind(str(path))
        elif kind == "folder":
            path.mkdir()
        got = vhctl("probe", f"unix:{path}")
    assert got.returncode in (UNREACHABLE, WRONG) and said in line(got)


@pytest.mark.parametrize("mac", ["52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:567", "+2:54:00:12:34:56", " 2:54:00:12:34:56", "52-54-00-12-34-56", ""])
def test_what_is_no_mac_is_none(tmp_path, mac):
    for words in (("serve", "net", "--sink", "--socket", tmp_path / "s"), ("vdpa", "set", "x", "--root", tmp_path)):
        got = vhctl(*words, "--mac=" + mac)
        assert got.returncode == USAGE and "--mac" in line(got)
