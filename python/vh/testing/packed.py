# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The driver side of a packed ring (virtio 1.2, 2.8), by hand."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vh.testing.peer import Memory

NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 1 << 7, 1 << 15
WRAP = 1 << 15  # of a position: the turn that it is in, the first is 1


class PackedRing:
    """Has the calls of vh.testing.Ring. The heads that it gives out are ids of buffers."""

    def __init__(self, mem: Memory, num: int, begin: int = 0):
        """begin: descriptors that were passed before, as if it had run already."""
        self.mem, self.num = mem, num
        self.desc = mem.alloc(16 * num, 4096)
        self.avail = mem.alloc(4, 4)  # when the driver wants calls: always
        self.used = mem.alloc(4, 4096)
        for area, size in ((self.desc, 16 * num), (self.avail, 4), (self.used, 4)):
            mem.write(area, bytes(size))
        self.free = list(range(num))
        self.chains: dict[int, int] = {}  # id -> descriptors
        self.avail_idx = self.used_idx = self._on(WRAP, begin % (2 * num))

    @property
    def base(self) -> int:
        """Both positions, as SET_VRING_BASE has them."""
        return self.avail_idx | self.used_idx << 16

    def _on(self, position: int, n: int) -> int:
        turns, at = divmod((position & ~WRAP) + n, self.num)
        return at | ((position & WRAP) ^ (WRAP if turns % 2 else 0))

    def add(self, chain) -> int:
        """Describe and publish [(gpa, size, device writes)]; returns the id."""
        return self._publish([(addr, size, WRITE if writable else 0) for addr, size, writable in chain])

    def add_indirect(self, chain) -> int:
        """The same through an indirect table."""
        table = self.mem.alloc(16 * len(chain), 16)
        for k, (addr, size, writable) in enumerate(chain):
            self.mem.write(table + 16 * k, struct.pack("<QIHH", addr, size, 0, WRITE if writable else 0))
        return self._publish([(table, 16 * len(chain), INDIRECT)])

    def _publish(self, descriptors) -> int:
        """The flags of the first one are written last: then all of them are there."""
        head = self.free.pop(0)
        self.chains[head] = len(descriptors)
        for k in reversed(range(len(descriptors))):
            addr, size, flags = descriptors[k]
            position = self._on(self.avail_idx, k)
            at = self.desc + 16 * (position & ~WRAP)
            self.mem.write(at, struct.pack("<QIH", addr, size, head))
            flags |= (NEXT if k + 1 < len(descriptors) else 0) | (AVAIL if position & WRAP else USED)
            self.mem.store16(at + 14, flags)
        self.avail_idx = self._on(self.avail_idx, len(descriptors))
        return head

    def reap(self) -> list[tuple[int, int]]:
        """What the device has used since the last call: (id, bytes written)."""
        done = []
        while self.chains:
            at = self.desc + 16 * (self.used_idx & ~WRAP)
            if self.mem.load16(at + 14) & (AVAIL | USED) != (AVAIL | USED if self.used_idx & WRAP else 0):
                break
            written, head = struct.unpack("<IH", self.mem.read(at + 8, 6))
            assert head in self.chains, f"the device has used the buffer {head}, which is not in flight"
            self.used_idx = self._on(self.used_idx, self.chains.pop(head))
            self.free.append(head)
            done.append((head, written))
        return done
