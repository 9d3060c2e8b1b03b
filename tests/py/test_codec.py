# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The Python kit: its table is fresh, its codec keeps the sizes of the table, and its two ends can talk."""

import os
import re
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from vh.testing import BackEnd, BlkRequest, Closed, Conn, FrontEnd, Memory, ProtocolError, Queue, wire  # noqa: E402
from vh.testing.wire import BACK_END, BE, FE, FRONT_END, PF, F, bits  # noqa: E402


def test_the_table_has_the_figures_of_the_specification():
    seen = 0
    for line in (ROOT / "tests/data/messages.tsv").read_text().splitlines():
        cells = line.split("\t")
        if cells[0] not in ("fe", "be"):
            continue
        row = (FRONT_END if cells[0] == "fe" else BACK_END)[int(cells[1])]
        assert [row.min, row.max] == [int(cells[4]), int(cells[5])], row.name
        assert ("BACKEND_" if cells[0] == "be" else "") + row.name == cells[2]
        assert {"ACK": "none", "OWN": "own", "OWN_LOG": "own_log"}[row.reply] == cells[8]
        names = [] if cells[13] == "-" else cells[13].split(",")
        assert row.pf == bits(*(PF[n] for n in names))
        seen += 1
    assert seen == len(FRONT_END) + len(BACK_END) == 55
    assert [m.value for m in FE] == list(FRONT_END) == list(range(1, 46))
    assert [m.value for m in BE] == list(BACK_END) == list(range(1, 11))


def test_what_protocol_features_need_is_what_the_library_has():
    rows = re.findall(r"{PF\((\w+)\), ([^}]+)}", (ROOT / "src/wire/wire.c").read_text())
    assert {PF[name]: bits(*(PF[n] for n in re.findall(r"\w+(?=\))", needs))) for name, needs in rows} == wire.PF_NEEDS


def smallest(row):
    special = {
        "MEM_TABLE": {"regions": [(1, 2, 3, 4)]},
        "SHMEM_CONFIG": {"sizes": [0] * 256},
        "UUID": {"uuid": b"u" * 16},
    }
    return wire.pack(row.payload, **special.get(row.payload, {}))


@pytest.mark.parametrize("row", [*FRONT_END.values(), *BACK_END.values()], ids=lambda r: r.name)
def test_packed_payloads_have_the_sizes_of_the_table(row):
    payload = smallest(row)
    assert len(payload) == row.min
    if payload:
        wire.unpack(row.payload, payload)
    if row.payload not in ("MEM_TABLE", "CONFIG") and row.min:
        with pytest.raises(ProtocolError):
            wire.unpack(row.payload, payload + b"x")


def test_payload_fields_lie_as_on_the_wire():
    names = {"descriptor": "desc", "available": "avail", "user_addr": "uva"}
    kinds = {"vring_state": "VRING_STATE", "vring_addr": "VRING_ADDR", "log": "LOG", "iotlb_msg": "IOTLB",
             "inflight": "INFLIGHT", "device_state": "DEVICE_STATE", "mmap_req": "MMAP"}  # fmt: skip
    formats = {1: "=B", 2: "=H", 4: "=I", 8: "=Q"}
    checked = 0
    for line in (ROOT / "tests/data/structs.tsv").read_text().splitlines():
        cells = line.split("\t")
        if cells[0] not in kinds or cells[1] in ("padding", "tail_padding"):
            continue
        name, offset, width = names.get(cells[1], cells[1]), int(cells[2]), int(cells[3])
        value = 0x1122334455667788 & ((1 << 8 * width) - 1)
        payload = wire.pack(kinds[cells[0]], **{name: value})
        assert struct.unpack_from(formats[width], payload, offset)[0] == value
        assert wire.unpack(kinds[cells[0]], payload)[name] == value
        checked += 1
    assert checked > 20


def test_messages_arrive_byte_by_byte_with_their_fds():
    conn, theirs = Conn.pair()
    with conn, Conn(theirs) as other, open(os.devnull) as devnull:
        raw = wire.header(FE.SET_VRING_KICK, 1, 8) + wire.vring_fd(3)

        def trickle():
            for i in range(len(raw)):
                conn.send_bytes(raw[i : i + 1], [devnull.fileno()] if i == 0 else [])

        thread = threading.Thread(target=trickle)
        thread.start()
        with other.recv() as msg:
            assert (msg.request, msg.flags, msg.payload, len(msg.fds)) == (FE.SET_VRING_KICK, 1, wire.vring_fd(3), 1)
            assert not os.get_inheritable(msg.fds[0])
        thread.join()


def test_the_end_of_a_connection_is_told_apart():
    for raw, partial in ((b"", b""), (b"\x01", b"\x01"), (wire.header(1, 1, 8) + b"ab", wire.header(1, 1, 8) + b"ab")):
        conn, theirs = Conn.pair()
        with conn, Conn(theirs) as other:
            conn.send_bytes(raw)
            conn.close()
            with pytest.raises(Closed) as closed:
                other.recv()
            assert closed.value.partial == partial
    conn, theirs = Conn.pair(timeout=0.05)
    with conn, theirs:
        assert conn.silent(0.01)
        with pytest.raises(wire.Timeout):
            conn.recv()
        theirs.sendall(wire.header(1, 1, 0xFFFFFFFF))
        with pytest.raises(ProtocolError):
            conn.recv()
    conn, theirs = Conn.pair()
    with conn:
        theirs.close()
        assert conn.closed_by_peer()


def test_a_reply_of_another_request_is_refused():
    conn, theirs = Conn.pair()
    with conn, Conn(theirs) as other:
        for request, flags in ((FE.SET_OWNER, 5), (FE.GET_FEATURES, 1), (FE.GET_FEATURES, 13)):
            other.send(request, b"12345678", flags=flags)
            with pytest.raises(ProtocolError):
                conn.recv_reply(FE.GET_FEATURES)


def test_the_front_end_runs_a_session_with_the_back_end():
    back, theirs = BackEnd.pair()
    back.config[0:8] = struct.pack("<Q", 2048)
    with back, FrontEnd(theirs) as fe, Memory(1 << 18) as mem, Queue(mem, 1, 16) as q:
        back.start()
        fe.negotiate()
        assert fe.pf_acked == back.pf_acked == BackEnd.PROTOCOL_FEATURES
        assert back.acked == fe.acked == bits(F.VERSION_1, F.PROTOCOL_FEATURES, F.RING_INDIRECT_DESC)
        assert fe.get_config(0, 8) == struct.pack("<Q", 2048)
        fe.set_mem_table([mem])
        channel = fe.open_channel()
        fe.start(q)
        assert back.regions == [mem.region]
        ring = back.rings[1]
        assert (ring.num, ring.enabled) == (16, True)
        assert ring.addr["desc"] == mem.to_uva(q.ring.desc)
        q.kick()
        assert os.eventfd_read(ring.fds[FE.SET_VRING_KICK]) == 1
        os.eventfd_write(ring.fds[FE.SET_VRING_CALL], 1)
        assert q.called(1) and not q.called()
        with channel:
            answer = threading.Thread(target=lambda: channel.reply(channel.recv(), struct.pack("=Q", 0)))
            answer.start()
            assert back.config_changed() == 0
            answer.join()
        assert fe.stop(q) == 0
        fe.close()
        back.finish()
    assert [m.request for m in back.log][:4] == [1, 15, 16, 3]


def test_a_handler_of_the_back_end_can_deviate():
    back, theirs = BackEnd.pair()
    back.handlers[FE.GET_FEATURES] = lambda b, msg: b.conn.send(FE.GET_QUEUE_NUM, b"", flags=5)
    with back, FrontEnd(theirs) as fe:
        back.start()
        with pytest.raises(ProtocolError):
            fe.get_u64(FE.GET_FEATURES)
        fe.close()


def test_the_ring_describes_and_reaps_requests():
    with Memory(1 << 18) as mem, Queue(mem, 0, 8, base=0xFFFE) as q:
        ring = q.ring
        for turn in range(20):
            request = BlkRequest.write(mem, 5, b"x" * 512)
            head = q.submit(request.chain, indirect=turn % 2 == 1)
            assert mem.load16(ring.avail + 2) == (0xFFFE + turn + 1) & 0xFFFF
            slot = (0xFFFE + turn) % 8
            assert mem.load16(ring.avail + 4 + 2 * slot) == head
            mem.write(ring.used + 4 + 8 * slot, struct.pack("<II", head, 1))
            mem.store16(ring.used + 2, 0xFFFE + turn + 1)
            assert q.wait() == [(head, 1)]
            assert request.status == 0xEE
        assert sorted(ring.free) == list(range(8))
        assert q.wait(1, timeout=0.02) == []


def test_a_socket_that_nobody_listens_on_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Conn.connect(tmp_path / "none", timeout=0.05)
    with BackEnd.listen(tmp_path / "s"), Conn.connect(tmp_path / "s") as conn:
        assert conn.sock.family == socket.AF_UNIX
