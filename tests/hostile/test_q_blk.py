# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section Q: block requests that are wrong in what they ask for. The ring has nothing against them."""

import os
import struct
import threading

import pytest
from lib import CAPACITY, FULL, Keeper, outcome
from rig import SECTOR, WRITE, Rig, page_aligned
from vh.testing import BlkRequest
from vh.testing.wire import BLK, bits

OK, IOERR, UNSUPP = b"\0", b"\1", b"\2"
READ, WRITE_, FLUSH, GET_ID, DISCARD, ZEROES = 0, 1, 4, 8, 11, 13
SECTORS = CAPACITY // SECTOR
DEVICES = ["ram", "file"]


@pytest.fixture(scope="module", params=DEVICES)
def _devices(request, tmp_path_factory):
    """Answers from memory, and answers from a file, which come later."""
    path = tmp_path_factory.mktemp("q") / "disk"
    path.write_bytes(os.urandom(1 << 16) + bytes(CAPACITY - (1 << 16)))
    backing = ("--ram", str(CAPACITY)) if request.param == "ram" else ("--file", str(path))
    keeper = Keeper((*backing, "--queues", "4", "--serial", "0123456789abcdefghij"))
    keeper.kind, keeper.image = request.param, path
    yield keeper
    keeper.end()


@pytest.fixture
def device(_devices):
    server = _devices.get()
    server.kind, server.image = _devices.kind, _devices.image
    yield server
    try:
        server.check()
    except BaseException:
        _devices.end()
        raise


@pytest.fixture
def rig(device):
    with Rig(device, 32) as one:
        one.device = device
        yield one


def ask(rig, type_, sector, parts, status=True):
    """Header, parts [(len, flags)] of data, status. (used length, status byte)"""
    rig.say_read(sector, type_)
    at = rig.data
    chain = [(rig.header, 16, 0)]
    for size, flags in parts:
        chain.append((at, size, flags))
        at += size
    chain += [(rig.status, 1, WRITE)] if status else []
    rig.offer(rig.describe(chain))
    ((_, written),) = rig.served()
    return written, rig.mem.read(rig.status, 1)


#: (sector, length) that are not wholly in the device
RANGES = [(SECTORS, SECTOR), (SECTORS - 1, 2 * SECTOR), (SECTORS + 1, SECTOR), ((1 << 55) - 1, SECTOR), (1 << 55, SECTOR),
          ((1 << 63) // SECTOR, SECTOR), ((1 << 64) - 1, SECTOR), ((1 << 64) - 8, 4096), (1 << 63, SECTOR)]  # fmt: skip


@pytest.mark.parametrize("type_", [READ, WRITE_])
@pytest.mark.parametrize("sector,size", RANGES)
def test_case_253_beyond_the_capacity(rig, type_, sector, size):
    rig.mem.write(rig.data, b"\xaa" * size)
    assert ask(rig, type_, sector, [(size, WRITE if type_ == READ else 0)])[1] == IOERR
    assert rig.mem.read(rig.data, size) == b"\xaa" * size, "data were given for a request that failed"
    assert ask(rig, READ, SECTORS - 1, [(SECTOR, WRITE)]) == (SECTOR + 1, OK)
    assert outcome("253:request") == "REQERR"


@pytest.mark.parametrize("type_", [READ, WRITE_])
@pytest.mark.parametrize("parts", [[1], [511], [513], [1023], [SECTOR, 1], [0], [], [256, 255], [0, 0, 0]], ids=str)
def test_case_253_not_whole_sectors(rig, type_, parts):
    flags = WRITE if type_ == READ else 0
    assert ask(rig, type_, 0, [(n, flags) for n in parts])[1] == IOERR
    rig.good()


@pytest.mark.parametrize("type_", [2, 3, 5, 6, 7, 9, 10, 12, 14, 15, 99, 0x100, 0x80000000, 0xFFFFFFFF])
def test_case_253_unknown_types(rig, type_):
    assert ask(rig, type_, 0, [(SECTOR, WRITE)])[1] == UNSUPP
    rig.good()


def test_case_253_nowhere_for_a_status(rig):
    for parts in ([], [(SECTOR, 0)]):
        assert ask(rig, WRITE_, 0, parts, status=False) == (0, b"\xee")
    # a status descriptor that the device may only read
    rig.say_read(type_=WRITE_)
    rig.offer(rig.describe([(rig.header, 16, 0), (rig.data, SECTOR, 0), (rig.status, 1, 0)]))
    assert rig.served() == [(0, 0)] and rig.mem.read(rig.status, 1) == b"\xee"
    # one of no bytes
    rig.say_read(type_=WRITE_)
    rig.offer(rig.describe([(rig.header, 16, 0), (rig.data, SECTOR, 0), (rig.status, 0, WRITE)]))
    assert rig.served() == [(0, 0)] and rig.mem.read(rig.status, 1) == b"\xee"
    rig.good()


def test_case_253_status_is_the_last_byte(rig):
    """Behind data in one descriptor, or with an empty one behind it."""
    rig.mem.write(rig.data, b"\xee" * (SECTOR + 2))
    rig.say_read()
    rig.offer(rig.describe([(rig.header, 16, 0), (rig.data, SECTOR + 1, WRITE), (rig.status, 0, WRITE)]))
    assert rig.served() == [(0, SECTOR + 1)]
    assert rig.mem.read(rig.data + SECTOR, 2) == OK + b"\xee" and rig.mem.read(rig.status, 1) == b"\xee"
    assert outcome("253:layout") == "OK"


@pytest.mark.parametrize("size", range(16))
def test_case_253_short_headers(rig, size):
    rig.say_read()
    rig.offer(rig.describe([(rig.header, size, 0), (rig.data, SECTOR, WRITE), (rig.status, 1, WRITE)]))
    rig.served()
    assert rig.mem.read(rig.status, 1) == IOERR
    rig.good()


@pytest.mark.parametrize("pieces", [[1] * 16, [8, 8], [4, 0, 4, 8], [15, 1], [1, 15]], ids=str)
@pytest.mark.parametrize("apart", [0, 64])
def test_case_253_headers_in_pieces(rig, pieces, apart):
    """Also with a gap between, and with data right behind the header in one descriptor."""
    header = struct.pack("<IIQ", READ, 0, 3)
    at, chain, done = page_aligned(rig.mem, 4096), [], 0
    for n in pieces:
        rig.mem.write(at, header[done : done + n])
        chain.append((at, n, 0))
        at, done = at + n + apart, done + n
    rig.mem.write(rig.status, b"\xee")
    rig.offer(rig.describe([*chain, (rig.data, SECTOR, WRITE), (rig.status, 1, WRITE)]))
    assert rig.served() == [(0, SECTOR + 1)] and rig.mem.read(rig.status, 1) == OK
    if rig.device.kind == "file":
        assert rig.mem.read(rig.data, SECTOR) == rig.device.image.read_bytes()[3 * SECTOR : 4 * SECTOR]
    rig.say_read(3, WRITE_)
    rig.mem.write(rig.header + 16, os.urandom(SECTOR))
    rig.offer(rig.describe([(rig.header, 16 + SECTOR, 0), (rig.status, 1, WRITE)]))
    assert rig.served() == [(0, 1)] and rig.mem.read(rig.status, 1) == OK


def test_case_253_read_only(start, tmp_path):
    path = tmp_path / "disk"
    content = os.urandom(CAPACITY)
    path.write_bytes(content)
    socket = str(tmp_path / "sock")  # the usual check writes
    server = start("--file", str(path), "--readonly", "--socket", socket, socket_args=False, expect_end=True)
    server.path = socket
    with server.session() as s:
        assert s.fe.offered & bits(BLK.RO)
        for type_ in (WRITE_, DISCARD, ZEROES):
            data = ranges((0, 8, 0)) if type_ != WRITE_ else b"x" * SECTOR
            assert s.do(BlkRequest.make(s.mem, type_, 0, data)) == IOERR[0]
        assert s.read(0, SECTOR) == content[:SECTOR]
    assert server.alive() and path.read_bytes() == content


def ranges(*parts):
    return b"".join(struct.pack("<QII", *p) for p in parts)


BAD_RANGES = {
    "two where one is advertised": (ranges((0, 8, 0), (8, 8, 0)), IOERR),
    "256": (ranges(*[(0, 8, 0)] * 256), IOERR),
    "none": (b"", IOERR),
    "half of one": (ranges((0, 8, 0))[:8], IOERR),
    "one and a half": (ranges((0, 8, 0), (0, 8, 0))[:24], IOERR),
    "no sectors": (ranges((0, 0, 0)), IOERR),
    "more sectors than advertised": (ranges((0, (1 << 21) + 1, 0)), IOERR),
    "all sectors that can be said": (ranges((0, 0xFFFFFFFF, 0)), IOERR),
    "wraps": (ranges(((1 << 64) - 4, 8, 0)), IOERR),
    "wraps in bytes": (ranges((1 << 55, 8, 0)), IOERR),
    "behind the end": (ranges((SECTORS, 8, 0)), IOERR),
    "over the end": (ranges((SECTORS - 4, 8, 0)), IOERR),
    "unknown flags": (ranges((0, 8, 2)), UNSUPP),
    "all flags": (ranges((0, 8, 0xFFFFFFFF)), UNSUPP),
}


@pytest.mark.parametrize("type_", [DISCARD, ZEROES])
@pytest.mark.parametrize("what", BAD_RANGES)
def test_case_254_ranges(rig, type_, what):
    """Refused, and nothing of the device is lost."""
    data, want = BAD_RANGES[what]
    rig.mem.write(rig.data, data)
    before = rig.device.image.read_bytes() if rig.device.kind == "file" else None
    assert ask(rig, type_, 0, [(len(data), 0)] if data else []) == (1, want)
    if before is not None:
        assert rig.device.image.read_bytes() == before
    rig.good()
    assert outcome("254:ranges") == "REQERR"


def test_case_254_discard_can_not_unmap(rig):
    """The flag belongs to write-zeroes alone."""
    rig.mem.write(rig.data, ranges((0, 8, 1)))
    assert ask(rig, DISCARD, 0, [(16, 0)]) == (1, UNSUPP)
    assert ask(rig, ZEROES, 0, [(16, 0)]) == (1, OK)


@pytest.mark.parametrize("pieces", [[1] * 16, [8, 8], [3, 13]], ids=str)
def test_case_254_ranges_in_pieces(rig, pieces):
    rig.mem.write(rig.data, ranges((0, 8, 0)))
    assert ask(rig, ZEROES, 0, [(n, 0) for n in pieces]) == (1, OK)
    assert ask(rig, READ, 0, [(SECTOR, WRITE)]) == (SECTOR + 1, OK)
    assert rig.mem.read(rig.data, SECTOR) == bytes(SECTOR)


@pytest.mark.parametrize("room", [*range(20), 20, 21, 64])
@pytest.mark.parametrize("split", [False, True])
def test_case_254_get_id(rig, room, split):
    rig.mem.write(rig.data, b"\xee" * 128)
    parts = [(1, WRITE)] * room if split and room <= 20 else [(room, WRITE)]
    written, status = ask(rig, GET_ID, 0, parts)
    assert status == OK and written <= room + 1
    n = min(room, 20)
    serial = b"0123456789abcdefghij"
    assert rig.mem.read(rig.data, n) == serial[:n]
    assert rig.mem.read(rig.data + n, 128 - n) == b"\xee" * (128 - n)
    assert outcome("254:id") == "OK"


def test_case_256_headers_that_change(rig):
    """The header is read once: while it flips between two requests, each answer is right for one of them."""
    first, second = struct.pack("<IIQ", READ, 0, 1), struct.pack("<IIQ", READ, 0, SECTORS + 5)
    third = struct.pack("<IIQ", GET_ID, 0, 0)
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            for header in (first, second, third):
                rig.mem.write(rig.header, header)

    rig.say_read(1)
    rig.offer(rig.describe(rig.read_chain()))
    rig.served()
    rig.say_read(1)
    rig.offer(rig.describe([(rig.header, 16, 0), (rig.data, SECTOR, WRITE), (rig.status, 1, WRITE)]))
    rig.served()
    sector = rig.mem.read(rig.data, SECTOR)
    serial = b"0123456789abcdefghij"
    thread = threading.Thread(target=flip)
    thread.start()
    seen = set()
    try:
        for _ in range(5000 if FULL else 400):
            rig.mem.write(rig.data, b"\xaa" * SECTOR)
            rig.mem.write(rig.status, b"\xee")
            rig.offer(0)
            rig.served()
            data, status = rig.mem.read(rig.data, SECTOR), rig.mem.read(rig.status, 1)
            assert (status, data) in (
                (OK, sector), (IOERR, b"\xaa" * SECTOR), (OK, serial + b"\xaa" * (SECTOR - 20)),
            ), (status, data[:32])  # fmt: skip
            seen.add((status, data[:4]))
    finally:
        stop.set()
        thread.join()
    assert len(seen) > 1, "it never changed"
    assert outcome(256) == "OK"
