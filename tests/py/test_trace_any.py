# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The tracer and peers gone mad."""
import json
import os
import random
import select
import socket
from xml.etree import ElementTree

import pytest
from tracing import WAIT, rig
from vh.testing import FE, Memory, wire
from vh.trace import BACK_END, BACKEND, FRONT_END, MAIN, Fd, Message, Session, message_text, rings
from vh.trace.picture import picture
from vh.trace.relay import take

SEED = int(os.environ.get("VH_SEED") or str(random.SystemRandom().randrange(1 << 32)), 0)


def test_any_messages_in_any_order():
    """What two peers gone mad could say: the session takes it, every rule can be asked, every line be printed."""
    rng = random.Random(SEED)
    kinds = ("memfd", "file", "eventfd", "socket", "pipe", "device", "other")
    values = (0, 1, 2, 7, 0xFF, 0x100, 0x8000, 0xFFFF, 0x7FFFFFFF, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
    for _ in range(20 if os.environ.get("VH_FULL") != "1" else 400):
        told = []
        session = Session(keep=True, late_ns=5, violation=told.append)
        for number in range(1, 200):
            channel, sender = rng.choice((MAIN, MAIN, BACKEND)), rng.choice((FRONT_END, BACK_END))
            request = rng.randrange(0, 48)
            row = (wire.FRONT_END if channel == MAIN else wire.BACK_END).get(request)
            size = rng.choice((0, 1, 4, 8, 12, 40, 72, row.max if row else 24, row.min if row else 24))
            payload = b"".join(rng.choice(values).to_bytes(8, "little") for _ in range(size // 8 + 1))[:size]
            if rng.random() < 0.5:
                payload = (rng.randrange(3).to_bytes(4, "little") + payload)[:size]
            m = Message(number, 1, number, sender, channel, request, rng.choice((1, 5, 9, 13, 0, 0x80000001)), payload,
                        [Fd(rng.choice(kinds), rng.choice(values)) for _ in range(rng.choice((0, 0, 1, 2)))],
                        size=rng.choice((None, None, None, size + 1)))
            fds = [os.memfd_create("fuzz") for _ in m.fds]
            session.add(m, fds)
            session.tick(number)
            assert message_text(m) and Message.from_dict(json.loads(json.dumps(m.as_dict()))).raw == m.raw, SEED
            rings.of_session(session)
        session.end(rng.choice((FRONT_END, BACK_END)))
        session.close()
        assert told, SEED


def test_a_picture_of_a_session(tmp_path):
    with rig(tmp_path) as r, Memory(1 << 20) as mem:
        r.fe.negotiate()
        r.fe.set_mem_table([mem])
        r.fe.vring_state(FE.SET_VRING_NUM, 0, 3)
    root = ElementTree.fromstring(picture(r.tracer.messages, "<a session & more>"))
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "<a session & more>"
    assert any(t.startswith("SET_MEM_TABLE") and t.endswith("[memfd 1 MiB]") for t in texts)
    assert any(t.startswith("ok, ") for t in texts) and any(t.startswith("!! ring-size: ") for t in texts)


def test_a_message_arrives_in_one_piece(tmp_path):
    """DPDK reads 12 bytes, and then wants the payload to be there."""
    with rig(tmp_path, serve=False) as r, Memory(4096) as mem:
        for size in (8, 200, 4096):
            r.fe.send(FE.SET_VRING_KICK, bytes(size), [mem.fd])
            assert select.select([r.be.conn], [], [], WAIT)[0]
            data, fds, _, _ = socket.recv_fds(r.be.conn.sock, 8192, 4)
            assert len(data) == 12 + size and len(fds) == 1
            os.close(fds[0])


def test_a_message_that_does_not_become_whole_goes_on_all_the_same(tmp_path):
    with rig(tmp_path, serve=False) as r, Memory(4096) as mem:
        for sent in (b"\1", wire.header(5, 1, 8)[1:] + b"abc"):
            r.fe.send_bytes(sent, [mem.fd])
            got = b""
            while len(got) < len(sent):
                assert select.select([r.be.conn], [], [], WAIT)[0]
                data, fds = take(r.be.conn.sock, 100)
                got += data
                for fd in fds:
                    os.close(fd)
            assert got == sent
        r.fe.send_bytes(b"defgh")
        with pytest.raises(wire.Timeout):
            r.be.conn.recv(0.05)
        assert r.tracer.messages[0].payload == b"abcdefgh" and len(r.tracer.messages[0].fds) == 2


def test_bytes_and_fds_in_any_pieces(tmp_path):
    """Whatever is sent, in whatever pieces: the same bytes arrive, and each fd with its byte."""
    rng = random.Random(SEED)
    with rig(tmp_path, serve=False) as r, Memory(4096) as mem:
        for _ in range(60):
            size = rng.choice((0, 1, 8, 40, 4096))
            raw = wire.header(rng.randrange(1, 45), rng.randrange(16), size) + rng.randbytes(size)
            cuts = sorted(rng.sample(range(1, len(raw)), min(rng.randrange(4), len(raw) - 1)))
            pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)])]
            marks = []
            for piece in pieces:
                with_fd = rng.random() < 0.3
                marks += [with_fd] + [False] * (len(piece) - 1)
                r.fe.send_bytes(piece, [mem.fd] if with_fd else ())
            got, found = b"", []
            while len(got) < len(raw):
                assert select.select([r.be.conn], [], [], WAIT)[0], SEED
                data, fds = take(r.be.conn.sock, len(raw) - len(got))
                got += data
                found += [bool(fds)] + [False] * (len(data) - 1)
                for fd in fds:
                    os.close(fd)
            assert (got, found) == (raw, marks), f"VH_SEED={SEED}"
