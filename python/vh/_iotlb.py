# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The IOTLB: what I/O addresses mean, behind an IOMMU."""
import errno
from typing import Any

from vh._error import VhError
from vh._handle import Handle, create, listed, pointer
from vh._lib import ffi, new_sized, record
from vh._memory import Memory
from vh._model import IOTLB_EVICT, IOTLB_MAX_ENTRIES, IOTLB_USER_ADDR, MEM_READ, MEM_WRITE, IotlbEntry, IotlbMiss, IotlbStats


class Iotlb(Handle):
    """Ranges of I/O addresses, each with what it means in a memory and what a device may do there.

    What is not known is missed: next_miss() tells of it, fileno() is readable then, and update() or deny() answers.
    """

    _free = "vh_iotlb_free"

    def __init__(self, memory: "Memory | None" = None, *, user_addresses: bool = False, evict: bool = False,
                 max_entries: int = 0):
        """Without a memory it is a map that is only looked up. evict: a cache, which forgets when it is full."""
        flags = (IOTLB_USER_ADDR if user_addresses else 0) | (IOTLB_EVICT if evict else 0)
        opts = new_sized("vh_iotlb_opts", flags=flags, max_entries=max_entries)
        self._memory = memory
        with pointer(memory, Memory) as ptr:
            self._adopt(create("vh_iotlb_new", "vh_iotlb", opts, ptr))

    def update(self, iova: int, length: int, addr: int, perm: int = MEM_READ | MEM_WRITE) -> None:
        """The range means this from now on, whatever was said of it before."""
        self._call("vh_iotlb_update", ffi.new("struct vh_iotlb_entry *",
                                              {"iova": iova, "len": length, "addr": addr, "perm": perm}))

    def invalidate(self, iova: int = 0, length: int = (1 << 64) - 1) -> None:
        """Nothing is known of the range any more."""
        self._call("vh_iotlb_invalidate", iova, length)

    def segments(self, iova: int, length: int, write: bool = False) -> "list[memoryview]":
        """A range in pieces, read-only unless for writing. EAGAIN: a byte of it is not known; EFAULT: not allowed."""
        if self._memory is None:
            raise ValueError("this IOTLB has no memory")
        while True:
            before, after = self._memory.snapshot(), None
            found = self._translate(iova, length, MEM_READ | (MEM_WRITE if write else 0))
            after = self._memory.snapshot()
            if before.number == after.number:
                return [after._pin(s.addr, s.len, write) for s in found]

    def _translate(self, iova: int, length: int, perm: int) -> "list[Any]":
        room = 16  # the length may be anybody's word
        while True:
            segs = ffi.new("struct vh_seg[]", room)
            try:
                n = self._call("vh_iotlb_translate", iova, length, perm, segs, room)
                return list(segs[0:n])
            except VhError as e:
                if e.errno != errno.ENOSPC or room > IOTLB_MAX_ENTRIES:
                    raise
            room *= 4

    def entries(self, start: int = 0) -> "list[IotlbEntry]":
        """What is known from an I/O address on, in order. Neighbours that go on with each other are one."""
        return [record(IotlbEntry, e) for e in
                listed(lambda array, n: self._call("vh_iotlb_entries", start, array, n), "vh_iotlb_entry")]

    def fileno(self) -> int:
        """Readable when next_miss() has something; the same for the life of the IOTLB."""
        return self._call("vh_iotlb_fd")

    def next_miss(self) -> "IotlbMiss | None":
        """The oldest miss that nobody was told of."""
        out = new_sized("vh_iotlb_miss")
        return record(IotlbMiss, out) if self._call("vh_iotlb_next_miss", out) else None

    def deny(self, iova: int) -> None:
        """Nothing will be known of what was missed; the queue that waits for it breaks."""
        self._call("vh_iotlb_deny", iova)

    @property
    def stats(self) -> IotlbStats:
        out = new_sized("vh_iotlb_stats")
        self._call("vh_iotlb_get_stats", out)
        return record(IotlbStats, out)  # type: ignore[no-any-return]


def give(handle: Handle, call: str, iotlb: "Iotlb | None") -> None:
    """A call about an IOTLB, or about none."""
    with pointer(iotlb, Iotlb) as ptr:
        handle._call(call, ptr)


__all__ = ["Iotlb"]
