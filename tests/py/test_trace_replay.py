# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A recorded front-end, played again: the same replies from the same back-end, and every difference of another is told."""
import json
import os
import shutil
import subprocess

import pytest
from binding import VHCTL, WAIT
from tracing import ENV, module, rig, running
from vh.testing import BackEnd, Memory, Queue, wire
from vh.testing.wire import BE, FE
from vh.trace import read
from vh.trace.message import Fd
from vh.trace.replay import replay


def record(tmp_path, talk, **options):
    """A session of talk(front-end, memory, queue) with a back-end of vh.testing, as a file."""
    with rig(tmp_path, **options) as r, Memory(1 << 20) as mem, Queue(mem, 0, 64) as q:
        r.fe.negotiate()
        talk(r, mem, q)
    r.tracer.save(jsonl=tmp_path / "session.jsonl")
    return read(tmp_path / "session.jsonl")


def usual(r, mem, q):
    r.fe.set_mem_table([mem])
    r.fe.open_channel().close()
    r.fe.start(q)
    r.fe.get_config(0, 16)
    r.fe.stop(q)


def play(tmp_path, recording, handlers=None, prepare=lambda be: None, **options):
    """(what replay() says, the back-end that it was played to)."""
    path = str(tmp_path / "again")
    with BackEnd.listen(path) as listening:
        be = BackEnd(None)
        be.handlers.update(handlers or {})
        prepare(be)

        def accept():
            be.conn = wire.Conn(listening.accept()[0], WAIT)
            be.serve()
        be.serve, serve = accept, be.serve
        be.start()
        be.serve = serve
        result = replay(recording, path, **{"timeout": WAIT, **options})
        try:
            be.finish()
        finally:
            be.close()
    return result, be


def test_the_same_back_end_answers_the_same(tmp_path):
    recording = record(tmp_path, usual)
    got, be = play(tmp_path, recording)
    assert not got.differences, [str(d) for d in got.differences]
    sent = [m for m in recording.messages if not m.is_reply]
    assert got.sent == len(sent) and got.replies == len(recording.messages) - len(sent)
    assert [(m.request, m.flags, m.payload) for m in be.log] == [(m.request, m.flags, m.payload) for m in sent]


def test_fds_are_made_anew(tmp_path):
    recording = record(tmp_path, usual)
    sizes = []

    def look(be, msg):
        sizes.extend(os.fstat(fd).st_size for fd in msg.fds)
        if msg.need_reply:
            be.conn.reply(msg, wire.pack("U64", value=0))
    got, _ = play(tmp_path, recording, {FE.SET_MEM_TABLE: look})
    assert not got.differences and sizes == [1 << 20]


@pytest.mark.parametrize("size", (1 << 63, 1 << 70, -1))
def test_a_file_that_can_not_be_is_told_and_nothing_leaks(tmp_path, size):
    recording = record(tmp_path, usual)
    table = next(m for m in recording.messages if m.name == "SET_MEM_TABLE")
    table.fds[0:1] = [Fd("eventfd"), Fd("memfd", size)]
    before = len(os.listdir("/proc/self/fd"))
    got, _ = play(tmp_path, recording)
    (difference,) = got.differences
    assert difference.number == table.number and "can't be made" in difference.what
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_different_is_told(tmp_path):
    recording = record(tmp_path, usual)

    def other(be):
        be.features |= 1 << 20
        be.config[3] = 7
    got, _ = play(tmp_path, recording, prepare=other)
    assert [(d.request, d.what) for d in got.differences] == [("GET_FEATURES", "value"), ("GET_CONFIG", "data")]
    assert got.differences[0].got == hex(int(got.differences[0].recorded, 16) | 1 << 20)
    assert "recorded" in str(got.differences[0])


@pytest.mark.parametrize("refuse, what, timeout", (
    (lambda be, msg: be.conn.reply(msg, wire.pack("U64", value=1)), "value", WAIT),
    (lambda be, msg: be.conn.reply(msg, bytes(8), flags=1), "another reply", WAIT),
    (lambda be, msg: be.conn.send(FE.SET_OWNER, bytes(8), flags=5), "another reply", WAIT),
    (lambda be, msg: be.conn.sock.close(), "the back-end closed", WAIT),
    (lambda be, msg: None, "no reply after 0.2 s", 0.2),
))
def test_refusals(tmp_path, refuse, what, timeout):
    recording = record(tmp_path, lambda r, mem, q: r.fe.set_mem_table([mem]))
    path = str(tmp_path / "again")
    with BackEnd.listen(path) as listening:
        be = BackEnd(None)
        be.handlers[FE.SET_MEM_TABLE] = refuse

        def run():
            be.conn = wire.Conn(listening.accept()[0], WAIT)
            try:
                BackEnd.serve(be)
            except (OSError, ValueError):
                pass  # it closed its own socket
        be.serve = run
        be.start()
        got = replay(recording, path, timeout=timeout)
        be.finish()
        be.close()
    assert len(got.differences) == 1 and got.differences[0].what.startswith(what), [str(d) for d in got.differences]


def test_requests_of_the_back_end_are_answered(tmp_path):
    def talk(r, _, __):
        with r.fe.open_channel() as channel:
            r.fe.get_u64(FE.GET_QUEUE_NUM)
            r.be.channel.send(BE.CONFIG_CHANGE_MSG)
            channel.recv().close()
            r.fe.get_u64(FE.GET_STATUS)
    recording = record(tmp_path, talk)
    asked = []

    def status(be, msg):
        asked.append(be.config_changed(WAIT))
        be.conn.reply(msg, wire.pack("U64", value=0))
    got, _ = play(tmp_path, recording, {FE.GET_STATUS: status})
    assert asked == [0] and got.channel_requests == 1 and not got.differences


def test_inflight_memory_of_the_back_end_is_given_back_to_it(tmp_path):
    def get(be, msg):
        with Memory(8192) as mem:
            be.conn.reply(msg, wire.pack("INFLIGHT", mmap_size=8192, num_queues=1, queue_size=64), [mem.fd])
            be.given = os.fstat(mem.fd).st_ino

    def talk(r, _, __):
        r.be.handlers[FE.GET_INFLIGHT_FD] = get
        with r.fe.call(FE.GET_INFLIGHT_FD, wire.pack("INFLIGHT", num_queues=1, queue_size=64)) as msg:
            r.fe.send(FE.SET_INFLIGHT_FD, msg.payload, msg.fds)
        r.fe.get_u64(FE.GET_STATUS)
    recording = record(tmp_path, talk)
    back = []

    def taken(be, msg):
        back.append(os.fstat(msg.fds[0]).st_ino == be.given)
    got, _ = play(tmp_path, recording, {FE.GET_INFLIGHT_FD: get, FE.SET_INFLIGHT_FD: taken})
    assert back == [True] and not got.differences


def test_a_split_ring_that_began_elsewhere_is_empty_there(tmp_path):
    def talk(r, mem, q):
        r.fe.set_mem_table([mem])
        r.fe.start(q, base=77)
        r.fe.stop(q)
    recording = record(tmp_path, talk)
    seen = []

    def kick(be, msg):
        region, addr = be.regions[0], be.ring(0).addr
        for name in ("avail", "used"):
            seen.append(int.from_bytes(os.pread(be.fd, 2, addr[name] + 2 - region[2]), "little"))
        if msg.need_reply:
            be.conn.reply(msg, wire.pack("U64", value=0))

    def table(be, msg):
        be.fd = os.dup(msg.fds[0])
        be._note(msg)  # pylint: disable=protected-access
        be.conn.reply(msg, wire.pack("U64", value=0))
    got, be = play(tmp_path, recording, {FE.SET_MEM_TABLE: table, FE.SET_VRING_KICK: kick})
    os.close(be.fd)
    assert seen == [77, 77] and not got.differences


@pytest.fixture(name="disk_session", scope="module")
def _disk_session(tmp_path_factory):
    """vhctl reading from vhctl, recorded by vhctl."""
    tmp_path = tmp_path_factory.mktemp("disk")
    front, back, log = (str(tmp_path / n) for n in ("f", "b", "log.pcapng"))
    with running(VHCTL, "serve", "blk", "--socket", back, "--ram", "1M"), \
            running(*module("vh.trace", "--listen", front, "--connect", back, "--pcapng", log, "--once", "--quiet")) as trace:
        assert subprocess.run([VHCTL, "io", "blk", "unix:" + front, "read"], stdout=subprocess.DEVNULL, timeout=30,
                              check=False).returncode == 0
        out, _ = trace.communicate(timeout=WAIT)
        assert trace.returncode == 0 and not out
    return log


def shell(*argv):
    return subprocess.run([VHCTL, "replay", *map(str, argv)], env={**ENV, "VHCTL_PYTHON": "/usr/bin/python3"}, capture_output=True,
                          text=True, timeout=60, check=False)


def test_from_the_shell(disk_session, tmp_path):
    back = tmp_path / "b"
    with running(VHCTL, "serve", "blk", "--socket", back, "--ram", "1M"):
        same = shell(disk_session, back)
        assert same.returncode == 0 and same.stdout.endswith("replies: as recorded\n"), same.stdout + same.stderr
        as_json = shell(disk_session, f"unix:{back}", "--json")
        assert json.loads(as_json.stdout)["differences"] == []
    with running(VHCTL, "serve", "blk", "--socket", back, "--ram", "2M"):
        other = shell(disk_session, back)
        assert other.returncode == 1 and "GET_CONFIG: data" in other.stdout and "1 differences" in other.stdout
    assert shell(disk_session, back, "--timeout", "50").returncode == 3
    assert shell(disk_session, back, "--conn", "2").returncode == 1
    assert shell(tmp_path / "none", back).returncode == 1
    assert shell().returncode == 2


def test_a_qemu_storage_daemon_traced_and_replayed(tmp_path):
    assert shutil.which("qemu-storage-daemon")
    front, log, disk = tmp_path / "f", tmp_path / "log.jsonl", tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))

    def daemon(path):
        return running("qemu-storage-daemon", "--blockdev", f"file,node-name=d,filename={disk}", "--export",
                       f"vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path={path},writable=on", says=0)
    with daemon(tmp_path / "b1") as first, \
            running(*module("vh.trace", "--listen", front, "--connect", tmp_path / "b1", "--jsonl", log, "--once", "--rings")) as trace:
        assert subprocess.run([VHCTL, "io", "blk", f"unix:{front}", "verify", "--size", "64K"], capture_output=True, timeout=30,
                              check=False).returncode == 0, first.poll()
        out, _ = trace.communicate(timeout=WAIT)
    recording = read(log)
    assert not recording.violations, [str(v) for v in recording.violations]
    assert "ring 0: stopped" in out and ", 0 in flight" in out
    assert {"SET_VRING_KICK", "GET_CONFIG"} <= {m.name for m in recording.messages}
    with daemon(tmp_path / "b2"):
        again = replay(recording, str(tmp_path / "b2"), timeout=WAIT)
    assert not again.differences and again.replies > 10, [str(d) for d in again.differences]
