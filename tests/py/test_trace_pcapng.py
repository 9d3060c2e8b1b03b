# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Recordings for Wireshark: what was written is read again, and tshark shows it through the generated dissector."""
import json
import os
import struct
import subprocess
import sys

import pytest
from binding import TOP
from tracing import ENV, rig
from vh.testing import FE, PF, F, Memory, Queue, wire
from vh.trace import FRONT_END, MAIN, Fd, Message, Recording, Violation, pcapng, read
from vh.trace.files import write

LUA = os.path.join(TOP, "python", "vh", "trace", "vhost-user.lua")


@pytest.fixture(name="recorded", scope="module")
def _recorded(tmp_path_factory):
    """A session with something wrong in it: (tracer, pcapng file, JSON lines)."""
    tmp_path = tmp_path_factory.mktemp("recorded")
    with rig(tmp_path) as r, Memory(1 << 20) as mem, Queue(mem, 0, 64) as q:
        r.fe.negotiate()
        r.fe.set_mem_table([mem])
        r.fe.start(q)
        r.fe.get_config(0, 8)
        r.fe.vring_state(FE.SET_VRING_NUM, 0, 100)
        r.fe.stop(q)
        with r.fe.open_channel() as channel:
            r.fe.get_u64(FE.GET_QUEUE_NUM)
            r.be.channel.send(2)
            channel.recv().close()
    r.tracer.save(pcapng=tmp_path / "x.pcapng", jsonl=tmp_path / "x.jsonl")
    assert {"ring-size", "ring-running"} <= set(r.rules())
    return r.tracer, tmp_path / "x.pcapng", tmp_path / "x.jsonl"


def tshark(path, *args):
    # Nothing of a user's profile, and no other plugin.
    env = {"PATH": os.environ["PATH"], "HOME": os.path.dirname(path), "LC_ALL": "C.UTF-8"}
    got = subprocess.run(["tshark", "-X", f"lua_script:{LUA}", "-r", path, *args], env=env, capture_output=True, text=True,
                         timeout=60, check=False)
    assert got.returncode == 0 and "Lua" not in got.stderr, got.stderr
    return got.stdout


def test_both_kinds_of_recording_say_the_same(recorded):
    tracer, as_pcapng, as_json = recorded
    for path in (as_pcapng, as_json):
        again = read(path)
        assert [(m.number, m.conn, m.sender, m.channel, m.raw, m.reply_to, m.latency_ns) for m in again.messages] == [
            (m.number, m.conn, m.sender, m.channel, m.raw, m.reply_to, m.latency_ns) for m in tracer.messages]
        assert [[(fd.kind, fd.size) for fd in m.fds] for m in again.messages] == [
            [(fd.kind, fd.size) for fd in m.fds] for m in tracer.messages]
        assert [v.as_dict() for v in again.violations] == [v.as_dict() for v in tracer.violations]


def test_tshark_names_every_message(recorded):
    tracer, path, _ = recorded
    out = tshark(path, "-T", "fields", "-e", "vhostuser.name", "-e", "vhostuser.number", "-e", "vhostuser.reply_to",
                 "-e", "vhostuser.length", "-e", "vhostuser.sender", "-e", "vhostuser.channel", "-E", "separator=;")
    want = [f"{m.row.name};{m.number};{m.reply_to or ''};{len(m.payload)};{int(m.sender != FRONT_END)};{int(m.channel != MAIN)}"
            for m in tracer.messages]
    assert out.splitlines() == want


def test_tshark_shows_fields_bits_fds_and_violations(recorded):
    tracer, path, _ = recorded

    def packet(name, *fields, more=""):
        out = tshark(path, "-Y", f'vhostuser.name == "{name}" && vhostuser.flags.reply == 0{more}', "-T", "json",
                     *(word for field in fields for word in ("-e", field)))
        return json.loads(out)[0]["_source"]["layers"]

    num = packet("SET_VRING_NUM", "vhostuser.index", "vhostuser.num", "vhostuser.rule", "vhostuser.expert.error",
                 more=" && vhostuser.violation")
    assert num["vhostuser.index"] == ["0"] and num["vhostuser.num"] == ["100"]
    assert num["vhostuser.rule"] == [v.rule for v in tracer.violations if v.rule.startswith("ring-")]
    table = packet("SET_MEM_TABLE", "vhostuser.gpa", "vhostuser.fd", "vhostuser.flags.need_reply")
    assert int(table["vhostuser.gpa"][0], 16) == 0x100000 and table["vhostuser.fd"] == ["memfd of 1048576 bytes"]
    features = packet("SET_FEATURES", "vhostuser.feature")
    assert "VERSION_1" in features["vhostuser.feature"] and "PROTOCOL_FEATURES" in features["vhostuser.feature"]
    lines = tshark(path)
    assert "front-end" in lines and "REPLY_ACK" in lines and "!! ring-running, ring-size" in lines
    assert "num=100 need_reply" in lines


def test_tshark_survives_every_message_and_every_size(tmp_path):
    """Each row of the table, as request and as reply, from no payload to one too long: nothing is malformed or an error of Lua."""
    messages = []
    for table, channel in ((wire.FRONT_END, MAIN), (wire.BACK_END, "backend")):
        for request in (*table, 200):
            for size in {0, 1, 7, 8, 12, 40, 41, table[request].max if request in table else 3, 600}:
                for flags in (1, 5, 9):
                    messages.append(Message(len(messages) + 1, 1, len(messages), FRONT_END, channel, request, flags,
                                            bytes(range(1, 256)) * 5 + bytes(825) if size > 1100 else
                                            (bytes(range(1, 256)) * 5)[:size], [Fd("memfd", 1 << 32)] * (size % 3)))
    write(Recording(messages), tmp_path / "all.pcapng", as_pcapng=True)
    out = tshark(tmp_path / "all.pcapng", "-V")
    assert out.count("As traced") == len(messages)
    assert "Lua Error" not in out and "Malformed" not in out
    assert [m.raw for m in read(tmp_path / "all.pcapng").messages] == [m.raw for m in messages]


def test_a_violation_that_came_late_has_a_packet_of_its_own(tmp_path):
    m = Message(1, 1, 5, FRONT_END, MAIN, FE.GET_FEATURES, 1)
    late = Violation("reply-late", "Communication", "warning", "no reply after 5 s", 1, 1)
    write(Recording([m], [], [late]), tmp_path / "late.pcapng", as_pcapng=True)
    again = read(tmp_path / "late.pcapng")
    assert len(again.messages) == 1 and [v.as_dict() for v in again.violations] == [late.as_dict()]
    assert "violations of 1 !! reply-late" in tshark(tmp_path / "late.pcapng")
    assert "no reply after 5 s" in tshark(tmp_path / "late.pcapng", "-T", "fields", "-e", "frame.comment")


def test_the_other_byte_order(tmp_path):
    """As a big-endian machine would have written it."""
    head = struct.pack(">" + pcapng.HEAD, 1, 2, 0, 0, 3, 7, 0, 0, 1, 0, 28 + 16) + struct.pack(">B7xQ", 1, 8192)
    message = struct.pack(">III", FE.SET_VRING_NUM, 1, 8) + struct.pack(">II", 1, 256)
    data = struct.pack(">HH", 12, 12) + b"vhostuser\0\0\0" + struct.pack(">HH", 0, 0) + head + message

    def block(kind, body):
        return struct.pack(">II", kind, len(body) + 12) + body + struct.pack(">I", len(body) + 12)

    path = tmp_path / "big.pcapng"
    path.write_bytes(block(pcapng.SECTION, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1)) +
                     block(pcapng.INTERFACE, struct.pack(">HHI", 252, 0, 0)) +
                     block(pcapng.PACKET, struct.pack(">IIIII", 0, 0, 5, len(data), len(data)) + data + bytes(-len(data) % 4)))
    m, = read(path).messages
    assert (m.conn, m.number, m.request, m.fds[0].size) == (3, 7, FE.SET_VRING_NUM, 8192)
    assert "SET_VRING_NUM index=1 num=256 fds: memfd of 8192 bytes" in tshark(path)


def test_files_that_are_wrong_are_refused(recorded, tmp_path):
    _, path, _ = recorded
    good = path.read_bytes()
    for cut in (5, 13, 30, 61, 100, len(good) - 3):
        (tmp_path / "cut").write_bytes(good[:cut])
        with pytest.raises(ValueError):
            read(tmp_path / "cut")
    for at in range(0, min(len(good), 600)):
        bad = bytearray(good)
        bad[at] ^= 0xFF
        (tmp_path / "bad").write_bytes(bad)
        try:
            read(tmp_path / "bad")
        except ValueError:
            pass


def test_the_dissector_has_every_message_and_bit():
    with open(LUA, encoding="utf-8") as f:
        text = f.read()
    for row in (*wire.FRONT_END.values(), *wire.BACK_END.values()):
        assert f'{{name = "{row.name}", payload = "{row.payload}"' in text
    for bit in (*PF, *F):
        assert f'[{bit.value}] = "{bit.name}"' in text
    got = subprocess.run([sys.executable, "-m", "vh.trace.decode", "--dissector"], env=ENV, capture_output=True, text=True,
                         timeout=30, check=False)
    assert got.stdout.strip() == LUA
