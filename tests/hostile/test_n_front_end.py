# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A live front-end, `vhctl io blk`, against a back-end that means it ill: what it gives away, and what it believes."""

import bisect
import contextlib
import mmap
import os
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from lib import outcome, until, vhctl
from vh.testing import BackEnd, wire
from vh.testing.wire import FE, F, bits

RING_PACKED = bits(34)
SECTORS = 2048
#: longer than the front-end's own deadline
WAIT = 20


class Spy(BackEnd):
    """Keeps the memory that it is given, and every byte that it was sent."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.config = bytearray(struct.pack("<Q", SECTORS) + bytes(52))
        self.maps = []
        self.files = []
        self.sent = b""

    def handle(self, msg):
        self.sent += wire.header(msg.request, msg.flags, len(msg.payload)) + msg.payload
        if msg.request == FE.SET_MEM_TABLE:
            self.keep(msg.fields()["regions"], msg.fds)
        elif msg.request == FE.ADD_MEM_REG:
            r = msg.fields()
            self.keep([(r["gpa"], r["size"], r["uva"], r["offset"])], msg.fds)
        super().handle(msg)

    def keep(self, regions, fds):
        for (gpa, size, uva, offset), fd in zip(regions, fds):
            assert offset % 4096 == 0
            self.files.append((os.fstat(fd).st_size, offset + size))
            self.maps.append((gpa, size, uva, mmap.mmap(fd, size, offset=offset)))

    def at(self, uva, size):
        for _, length, start, view in self.maps:
            if start <= uva and uva + size <= start + length:
                return view, uva - start
        raise IndexError(hex(uva))

    def load16(self, uva):
        view, at = self.at(uva, 2)
        return struct.unpack_from("<H", view, at)[0]

    def store(self, uva, data):
        view, at = self.at(uva, len(data))
        view[at : at + len(data)] = data

    def close(self):
        super().close()
        for *_, view in self.maps:
            view.close()
        self.maps.clear()


@contextlib.contextmanager
def front_end(tmp_path, features=0, fixed=False):
    """A front-end that has offered its requests on ring 0 and waits: (the process, the back-end)."""
    path = os.fspath(tmp_path / "s")
    argv = [*(("setarch", "-R") if fixed else ()), vhctl(), "io", "blk", f"unix:{path}", "write", "--size", "64K", "--seed", "7"]
    with BackEnd.listen(path) as listener:
        client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with Spy.accept(listener, features=Spy.FEATURES | features) as spy:
            try:
                spy.start()
                assert until(lambda: spy.ring(0).enabled, WAIT), "no ring is started"
                where, at = ("desc", 14) if features & RING_PACKED else ("avail", 2)
                assert until(lambda: spy.load16(spy.ring(0).addr[where] + at), WAIT), "no request comes"
                yield client, spy
            finally:
                client.kill()
                client.communicate()
    os.unlink(path)


def mapped(pid):
    """[(start, end)] of everything that the process has mapped, in order."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        return sorted(tuple(int(x, 16) for x in line.split()[0].split("-")) for line in f)


def addresses_in(data, ranges):
    """The 8-byte words of data, at any alignment, that are addresses in these ranges."""
    starts = [start for start, _ in ranges]
    found = []
    for shift in range(8):
        words = array("Q", data[shift : shift + (len(data) - shift) // 8 * 8])
        for word in words:
            if word < starts[0] or word > ranges[-1][1]:
                continue
            i = bisect.bisect(starts, word) - 1
            if i >= 0 and word < ranges[i][1]:
                found.append(hex(word))
    return found


def nonzero(view):
    """The pages that were written, one after the other."""
    zero = bytes(4096)
    return b"".join(page for at in range(0, len(view), 4096) if (page := view[at : at + 4096]) != zero)


@pytest.mark.skipif(sys.byteorder != "little", reason="addresses are looked for as they lie in memory here")
@pytest.mark.parametrize("fixed", (False, True), ids=("random", "fixed"))
@pytest.mark.parametrize("features", (0, RING_PACKED), ids=("split", "packed"))
def test_case_223_no_address_of_ours_is_given_away(tmp_path, features, fixed):
    with front_end(tmp_path, features, fixed) as (client, spy):
        ranges = mapped(client.pid)
        assert len(spy.sent) > 300 and addresses_in(b"x" + struct.pack("<Q", ranges[0][0] + 8), ranges), "the search finds nothing"
        assert addresses_in(spy.sent, ranges) == []
        for *_, view in spy.maps:
            written = nonzero(view)
            assert written and addresses_in(written, ranges) == []
        assert outcome(223) == "OK"


if b"__asan_init" in Path(vhctl()).read_bytes():
    # A sanitizer's shadow is mapped over so much that small numbers are addresses too.
    del test_case_223_no_address_of_ours_is_given_away


def test_case_223_what_is_sent_does_not_depend_on_where_things_lie(tmp_path):
    said = []
    for _ in range(3):
        with front_end(tmp_path) as (_, spy):
            said.append(spy.sent)
    assert (said[0] == said[1] == said[2] and "OK") == outcome(223)


def test_case_224_what_is_shared_is_what_was_said(tmp_path):
    """A file ends where its region does, and holds nothing but rings and buffers: see case 223."""
    with front_end(tmp_path) as (_, spy):
        assert spy.files
        assert (all(size == said for size, said in spy.files) and "OK") == outcome(224)


def used(spy, idx, *elements):
    """Used elements from the ring's beginning, then its index, then a signal."""
    at = spy.ring(0).addr["used"]
    for k, (head, length) in enumerate(elements):
        spy.store(at + 4 + 8 * k, struct.pack("<II", head, length))
    spy.store(at + 2, struct.pack("<H", idx & 0xFFFF))
    os.eventfd_write(spy.ring(0).fds[FE.SET_VRING_CALL], 1)


def first_head(spy):
    return spy.load16(spy.ring(0).addr["avail"] + 4)


FORGED = {
    "an id outside of the ring": lambda s: used(s, 1, (s.ring(0).num, 1)),
    "a huge id": lambda s: used(s, 1, (0xFFFFFFFF, 1)),
    "an id that is not in flight": lambda s: used(s, 1, (next(i for i in range(s.ring(0).num) if i != first_head(s)), 1)),
    "one id twice": lambda s: used(s, 2, (first_head(s), 1), (first_head(s), 1)),
    "more bytes than there was room for": lambda s: used(s, 1, (first_head(s), 0xFFFFFFFF)),
    "an index that jumps": lambda s: used(s, s.ring(0).num + 1, (first_head(s), 1)),
    "an index that goes back": lambda s: used(s, -1, (first_head(s), 1)),
    "no status": lambda s: used(s, 1, (first_head(s), 1)),
    "no byte at all": lambda s: used(s, 1, (first_head(s), 0)),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_case_219_forged_completions(tmp_path, forge):
    """The program ends with an error that says why; it is neither killed nor kept."""
    with front_end(tmp_path) as (client, spy):
        forge(spy)
        assert until(lambda: client.poll() is not None, WAIT), "it goes on waiting"
        text = client.stderr.read().decode()
        assert (client.returncode == 1 and text.strip() and "ERRNO") == outcome(219), (client.returncode, text)
