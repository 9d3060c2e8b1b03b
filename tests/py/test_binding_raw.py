# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Any message of the protocol can be sent as it is, and any back-end request reaches the front-end's user."""
import os
import select
import socket

import pytest

from binding import TOP, WAIT, vh
from vh.testing import BE, PF, BackEnd, Conn, wire
from vh.testing.wire import F

with open(os.path.join(TOP, "tests", "data", "messages.tsv"), encoding="utf-8") as _f:
    _HEAD, *_LINES = (line.rstrip("\n").split("\t") for line in _f if not line.startswith("#"))
ROWS = [dict(zip(_HEAD, cells)) for cells in _LINES]
EVERYTHING = sum(1 << bit for bit in F) | 1 << 3, sum(1 << bit for bit in PF)  # bit 3: a network device's MTU


def of(side):
    return [pytest.param(row, id=row["name"]) for row in ROWS if row["side"] == side]


def payload_of(row):
    """No two bytes in a row are alike, so that each has its place."""
    return bytes((i * 7 + 1) & 0xFF for i in range(int(row["max"])))


@pytest.fixture(name="pair")
def _pair():
    """A front-end that acked everything, and a back-end that offered it; what the latter is sent ends up in sent."""
    sent, asked = [], []
    with vh.Master(timeout=WAIT, on_backend_request=asked.append) as master:
        fd = master.socketpair()
        with BackEnd(Conn(socket.socket(fileno=fd)), *EVERYTHING) as back:
            back.start()
            master.get_features()
            master.get_protocol_features()
            master.negotiate()  # makes the channel
            master.set_protocol_features(EVERYTHING[1])
            master.set_features(EVERYTHING[0])
            for row in ROWS:
                if row["side"] == "fe":
                    back.handlers[int(row["id"])] = lambda _, msg: sent.append(
                        (msg.request, msg.flags & ~8, msg.payload, len(msg.fds)))
            yield master, back, sent, asked


@pytest.mark.parametrize("row", of("fe"))
def test_every_message_can_be_sent_as_it_is(pair, row):
    master, back, sent, _ = pair
    n_fds = int(row["fd_max"]) if row["name"] != "REM_MEM_REG" else 0  # which is tolerated with one, not more
    payload, fds = payload_of(row), [os.eventfd(0, os.EFD_CLOEXEC) for _ in range(n_fds)]
    master.submit(int(row["id"]), payload, fds)
    for fd in fds:
        os.close(fd)
    master.disconnect()
    back.finish()
    assert sent == [(int(row["id"]), 1, payload, len(fds))]


UUID = wire.pack("UUID", uuid=bytes(range(1, 17)))
MAPPING = wire.pack("MMAP", shmid=3, fd_offset=4096, shm_offset=8192, len=4096, flags=1)
RING = wire.pack("VRING_STATE", index=1)
# What the library answers itself is not among them.
REQUESTS = ((3, wire.pack("VRING_AREA", u64=1, size=4096), 1), (4, RING, 0), (5, RING, 0), (6, UUID, 0), (7, UUID, 0), (8, UUID, 0),
            (9, MAPPING, 1), (10, MAPPING, 0))


@pytest.mark.parametrize("request_id, payload, n_fds", REQUESTS, ids=[BE(request[0]).name for request in REQUESTS])
def test_a_request_of_the_back_end_reaches_the_callback(pair, request_id, payload, n_fds):
    master, back, _, asked = pair
    fds = [os.eventfd(0, os.EFD_CLOEXEC) for _ in range(n_fds)]
    back.channel.send(request_id, payload, fds, need_reply=True)
    for fd in fds:
        os.close(fd)
    while not asked:
        assert select.select([master], [], [], WAIT)[0]
        master.dispatch()
    assert [(r.request, r.payload, len(r.fds)) for r in asked] == [(request_id, payload, n_fds)]
    with back.channel.recv() as answer:
        assert (answer.request, answer.flags, len(answer.payload), answer.fds) == (request_id, 5, 8, [])
        # What has a reply of its own is not granted without it.
        assert bool(wire.unpack("U64", answer.payload)["value"]) == (request_id == BE.SHARED_OBJECT_LOOKUP)
    master.disconnect()
