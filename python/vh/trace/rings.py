# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Where a virtqueue stands, seen from outside: how far driver and device are, what is in flight, who wants to be signalled.

A ring is read once, as it happens to be, while both sides may go on; nothing in it is believed. What can't be told from memory
alone is said to be a guess: a device that completes in another order leaves no trace of which requests it skipped.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Iterable

from vh.testing.wire import F

if TYPE_CHECKING:
    from vh.trace.session import Ring, Session

NEXT, WRITE, INDIRECT = 1, 2, 4
_AVAIL, _USED = 1 << 7, 1 << 15
MOST = 32768  # entries of a ring, and of a chain

#: size bytes at an address; IndexError when they are not all there
Read = Callable[[int, int], bytes]


@dataclass
class Descriptor:
    """One buffer of a request."""

    addr: int
    size: int
    writable: bool  # by the device

    def __str__(self) -> str:
        return f"{self.addr:#x}+{self.size}{'w' if self.writable else 'r'}"


@dataclass
class Request:
    """A chain that the device has not given back."""

    position: int  # in the available ring (split), of its first descriptor (packed)
    head: int  # descriptor (split), buffer id (packed)
    descriptors: list[Descriptor] = field(default_factory=list)
    indirect: bool = False
    wrong: str = ""

    def __str__(self) -> str:
        shown = " ".join(map(str, self.descriptors[:6])) + (" ..." if len(self.descriptors) > 6 else "")
        return f"head {self.head}{' (indirect)' if self.indirect else ''}: {shown}{' !! ' if self.wrong else ''}{self.wrong}"

    def as_dict(self) -> dict[str, Any]:
        return {"position": self.position, "head": self.head, "indirect": self.indirect, "wrong": self.wrong,
                "descriptors": [{"addr": d.addr, "len": d.size, "write": d.writable} for d in self.descriptors]}


@dataclass
class RingState:
    """A ring as it was at one moment."""

    index: int
    size: int
    packed: bool = False
    started: bool = False
    enabled: bool = False
    avail_idx: int | None = None  # of the driver: free running (split), next position and wrap counter << 15 (packed)
    used_idx: int | None = None  # of the device
    in_flight: int = 0  # requests
    requests: list[Request] = field(default_factory=list)  # of these, the oldest first
    guessed: bool = False  # which ones are in flight can't be told for sure
    interrupts: str = ""  # when the driver wants to be called
    kicks: str = ""  # when the device wants to be kicked
    kicks_pending: int | None = None  # counters of the eventfds: signalled, and not yet read
    calls_pending: int | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def oldest(self) -> Request | None:
        """In the order of the ring."""
        return self.requests[0] if self.requests else None

    def as_dict(self) -> dict[str, Any]:
        out = {k: v for k, v in vars(self).items() if k != "requests"}
        return {**out, "requests": [r.as_dict() for r in self.requests]}

    def lines(self) -> list[str]:
        """For people."""
        state = "running" if self.started else "stopped"
        out = [f"ring {self.index}: {state}, {'enabled' if self.enabled else 'disabled'}, {'packed' if self.packed else 'split'}, "
               f"{self.size} entries"]
        if self.avail_idx is not None and self.used_idx is not None:
            out.append(f"  driver at {_place(self.avail_idx, self.packed)}, device at {_place(self.used_idx, self.packed)}, "
                       f"{self.in_flight} in flight")
            out.append(f"  the driver wants calls {self.interrupts}; the device wants kicks {self.kicks}")
        if self.kicks_pending is not None or self.calls_pending is not None:
            out.append(f"  kicks not yet read: {_or(self.kicks_pending)}; calls not yet read: {_or(self.calls_pending)}")
        for i, request in enumerate(self.requests[:4]):
            out.append(f"  {'oldest' if not i else 'then'}{' (a guess)' if self.guessed else ''}: {request}")
        if len(self.requests) > 4:
            out.append(f"  and {len(self.requests) - 4} more")
        return out + [f"  !! {problem}" for problem in self.problems]


def _or(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _place(idx: int, packed: bool) -> str:
    return f"{idx & 0x7FFF} (wrap {idx >> 15})" if packed else str(idx)


# --- chains ----------------------------------------------------------------------------------------------------------


def _indirect(request: Request, addr: int, size: int, packed: bool, read_guest: Read | None) -> None:
    request.indirect = True
    if not size or size % 16 or size // 16 > MOST:
        request.wrong = f"an indirect table of {size} bytes"
        return
    if not read_guest:
        request.wrong = f"its table at {addr:#x} can't be read: addresses are those of an IOMMU"
        return
    try:
        table = read_guest(addr, size)
    except IndexError:
        request.wrong = f"its table at {addr:#x} (+{size}) is not in guest memory"
        return
    if packed:
        for at in range(0, size, 16):
            addr, length, _, flags = struct.unpack_from("<QIHH", table, at)
            request.descriptors.append(Descriptor(addr, length, bool(flags & WRITE)))
    else:
        _chain(request, table, 0, size // 16)


def _chain(request: Request, table: bytes, i: int, num: int, read_guest: Read | None = None, top: bool = False) -> None:
    """The descriptors of a split chain, from the i-th of the table."""
    for _ in range(num):
        addr, length, flags, following = struct.unpack_from("<QIHH", table, 16 * i)
        if flags & INDIRECT:
            if top:
                _indirect(request, addr, length, False, read_guest)
            else:
                request.wrong = "an indirect table within one"
            return
        request.descriptors.append(Descriptor(addr, length, bool(flags & WRITE)))
        if not flags & NEXT:
            return
        if following >= num:
            request.wrong = f"descriptor {i} goes on at {following}, of {num}"
            return
        i = following
    request.wrong = "its descriptors are a loop"


# --- split -----------------------------------------------------------------------------------------------------------


def _split(s: RingState, desc: bytes, avail: bytes, used: bytes, event_idx: bool, in_order: bool,
           read_guest: Read | None) -> None:  # fmt: skip
    avail_flags, s.avail_idx = struct.unpack_from("<HH", avail)
    used_flags, s.used_idx = struct.unpack_from("<HH", used)
    assert s.avail_idx is not None and s.used_idx is not None
    n = (s.avail_idx - s.used_idx) & 0xFFFF
    if event_idx:
        s.interrupts = f"when {struct.unpack_from('<H', avail, 4 + 2 * s.size)[0]} is used"
        s.kicks = f"when {struct.unpack_from('<H', used, 4 + 8 * s.size)[0]} is available"
    else:
        s.interrupts = "never" if avail_flags & 1 else "always"
        s.kicks = "never" if used_flags & 1 else "always"
    if n > s.size:
        s.problems.append(f"the indices are {n} apart, and the ring has {s.size} entries")
        return
    s.in_flight = n
    for position, head in _newest(s, avail, n) if in_order else _outstanding(s, avail, used, n):
        request = Request(position, head)
        if head >= s.size:
            request.wrong = f"there are {s.size} descriptors"
        else:
            _chain(request, desc, head, s.size, read_guest, True)
        s.requests.append(request)


def _history(ring: bytes, entry: str, idx: int, size: int) -> list[int]:
    """The heads of an available or used ring, the newest first. What was never written is left out."""
    step = struct.calcsize(entry)
    heads = [struct.unpack_from(entry, ring, 4 + step * ((idx - 1 - age) % size))[0] for age in range(size)]
    return heads[:idx] if idx < size and not any(ring[4 + step * idx:4 + step * size]) else heads


def _newest(s: RingState, avail: bytes, n: int) -> list[tuple[int, int]]:
    """The same where the device uses in order."""
    assert s.used_idx is not None
    places = [(s.used_idx + i) & 0xFFFF for i in range(n)]
    return [(place, struct.unpack_from("<H", avail, 4 + 2 * (place % s.size))[0]) for place in places]


def _outstanding(s: RingState, avail: bytes, used: bytes, n: int) -> list[tuple[int, int]]:
    """(position, head) of the n requests in flight, the oldest first.

    A head is published, used, published again, in turns, and never used before it was published: a last use that is as late as
    the last publication, both counted from the first, is its own. Of the heads that are left the likeliest are those whose last
    use is longest ago. A ring remembers as many publications as it has entries: what is in flight for longer is not among
    them, so that this is sure only for a ring that has not gone round yet, or when each of n heads can't have been used since.
    """
    assert s.avail_idx is not None and s.used_idx is not None
    last_use: dict[int, int] = {}  # head -> how many uses ago
    for age, head in enumerate(_history(used, "<I4x", s.used_idx, s.size)):
        last_use.setdefault(head, age)
    candidates = []
    sure = 0
    seen: set[int] = set()
    published = _history(avail, "<H", s.avail_idx, s.size)
    for age, head in enumerate(published):
        ahead = n + last_use.get(head, s.size) - age  # the publication, of the use
        if head not in seen and ahead > 0:
            candidates.append((ahead, age, head))
            sure += ahead >= s.size if head in last_use else age <= n
        seen.add(head)
    s.guessed = len(candidates) != n or (sure != n and len(published) == s.size)
    if len(candidates) < n:
        s.problems.append(f"{n - len(candidates)} in flight are older than what the ring remembers")
    chosen = sorted(candidates, reverse=True)[:n]
    return [((s.avail_idx - 1 - age) & 0xFFFF, head) for _, age, head in sorted(chosen, key=lambda c: -c[1])]


# --- packed ----------------------------------------------------------------------------------------------------------


def _suppression(area: bytes) -> str:
    off_wrap, flags = struct.unpack_from("<HH", area)
    return {0: "always", 1: "never", 2: f"at {off_wrap & 0x7FFF} (wrap {off_wrap >> 15})"}.get(flags & 3, "as nobody knows (3)")


def _packed(s: RingState, desc: bytes, driver: bytes, device: bytes, in_order: bool, read_guest: Read | None) -> None:
    s.interrupts, s.kicks = _suppression(driver), _suppression(device)
    flags = [struct.unpack_from("<H", desc, 16 * i + 14)[0] for i in range(s.size)]
    avail = [bool(f & _AVAIL) for f in flags]
    # The driver writes slot after slot, each round with the other value of the bit: it stands where the bit changes.
    change = next((i for i in range(s.size) if avail[i] != avail[0]), 0)
    wrap = avail[0] if change else not avail[0]
    if change and any(bit == wrap for bit in avail[change:]):
        s.problems.append("the wrap bits change more than once")
        return
    s.avail_idx = change | wrap << 15
    count = 0
    while count < s.size and bool(flags[change - 1 - count] & _USED) != avail[change - 1 - count]:
        count += 1
    pending = [(change - count + i) % s.size for i in range(count)]
    places = [slot | (wrap if slot < change else not wrap) << 15 for slot in pending]
    pending = pending[_stale(s, desc, driver, in_order, pending, places):]
    first = pending[0] if pending else change
    s.used_idx = first | (wrap if first < change or not pending else not wrap) << 15
    _packed_chains(s, desc, pending, read_guest)


def _stale(s: RingState, desc: bytes, driver: bytes, in_order: bool, pending: list[int], places: list[int]) -> int:
    """How many of the slots that look pending are what is left of a chain that was used: only its first slot is written.

    A driver that asks to be called at a position has seen everything before that. Else the buffer id is all there is to go by.
    """
    off_wrap, how = struct.unpack_from("<HH", driver)
    told = how & 3 == 2 and off_wrap in places
    # Out of order, used elements lie over requests that are still in flight.
    s.guessed = bool(pending) and not (told and in_order)
    if told:
        return places.index(off_wrap)
    if not pending:
        return 0
    before = (pending[0] - 1) % s.size
    buffer_id, flags = struct.unpack_from("<HH", desc, 16 * before + 12)
    if not flags & (_AVAIL | _USED) and not any(desc[16 * before:16 * before + 16]):
        s.guessed = False  # a new ring, in which nothing was used yet
        return 0
    mine = [struct.unpack_from("<H", desc, 16 * slot + 12)[0] == buffer_id for slot in pending]
    # In order one used element can stand for several chains: its id is that of the last of them.
    start = mine.index(True) if in_order and True in mine else 0
    for i, slot in enumerate(pending[start:], start):
        if not mine[i] or struct.unpack_from("<H", desc, 16 * slot + 14)[0] & INDIRECT:
            return i
    return len(pending)


def _packed_chains(s: RingState, desc: bytes, pending: list[int], read_guest: Read | None) -> None:
    request: Request | None = None
    for slot in pending:
        addr, length, buffer_id, flags = struct.unpack_from("<QIHH", desc, 16 * slot)
        request = request or Request(slot, buffer_id)
        if flags & INDIRECT:
            _indirect(request, addr, length, True, read_guest)
        else:
            request.descriptors.append(Descriptor(addr, length, bool(flags & WRITE)))
        if flags & NEXT:
            continue
        request.head = buffer_id
        s.requests.append(request)
        request = None
    if request:
        request.wrong = "its chain does not end"
        s.requests.append(request)
    s.in_flight = len(s.requests)


# --- a ring somewhere ------------------------------------------------------------------------------------------------


def look(read: Read, addr: dict[str, int], size: int, packed: bool = False, event_idx: bool = False, in_order: bool = False,
         read_guest: Read | None = None, index: int = 0) -> RingState:  # fmt: skip
    """The state of the ring whose parts (desc, avail, used) lie at these addresses of read.

    read_guest reads at the addresses that descriptors hold; None: these mean nothing here."""
    s = RingState(index, size, packed)
    if not 0 < size <= MOST or (not packed and size & (size - 1)):
        s.problems.append(f"a ring of {size} entries")
        return s
    sizes = (16 * size, 4, 4) if packed else (16 * size, 6 + 2 * size, 6 + 8 * size)
    parts = []
    for name, n in zip(("desc", "avail", "used"), sizes):
        if name not in addr:
            s.problems.append("nobody has told where it is")
            return s
        try:
            parts.append(read(addr[name], n))
        except IndexError:
            s.problems.append(f"{name} at {addr[name]:#x} (+{n}) can't be read")
            return s
    if packed:
        _packed(s, parts[0], parts[1], parts[2], in_order, read_guest)
    else:
        _split(s, parts[0], parts[1], parts[2], event_idx, in_order, read_guest)
    return s


def _reader(session: Session, place: str) -> Read:
    """Reads from the files that the regions are in, by the front-end's addresses (uva) or the guest's (gpa).

    A file that was cut since is no danger to pread(), as it would be to a mapping."""
    def read(addr: int, size: int) -> bytes:
        for region in session.regions:
            start = getattr(region, place)
            if start <= addr and addr + size <= start + region.size and region.fd >= 0:
                try:
                    data = os.pread(region.fd, size, region.offset + addr - start)
                except (OSError, OverflowError) as e:
                    raise IndexError(str(e)) from e
                if len(data) == size:
                    return data
        raise IndexError(f"{addr:#x}")
    return read


def _pending(fd: int | None) -> int | None:
    """What an eventfd counts, without reading it away."""
    if fd is None:
        return None
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as f:
            for line in f:
                if line.startswith("eventfd-count:"):
                    return int(line.split()[1], 16)
    except (OSError, ValueError):
        pass
    return None


def of_session(session: Session) -> list[RingState]:
    """Every ring that a front-end has spoken of. The session must have been told to keep memory."""
    iommu = session.has(F.ACCESS_PLATFORM)
    return [_of_ring(session, ring, None if iommu else _reader(session, "gpa"), iommu)
            for _, ring in sorted(session.rings.items()) if ring.num or ring.addr]


def _of_ring(session: Session, ring: Ring, read_guest: Read | None, iommu: bool) -> RingState:
    s = look(_reader(session, "uva"), ring.addr, ring.num, session.has(F.RING_PACKED), session.has(F.RING_EVENT_IDX),
             session.has(F.IN_ORDER), read_guest, ring.index)
    if iommu and s.avail_idx is None:
        s.problems.append("behind an IOMMU the addresses of rings may be I/O addresses")
    s.started, s.enabled = ring.started, ring.enabled
    s.kicks_pending, s.calls_pending = _pending(ring.fds.get("kick")), _pending(ring.fds.get("call"))
    return s


def text(states: Iterable[RingState]) -> str:
    """All of them, for people."""
    return "\n".join(line for s in states for line in s.lines()) or "no ring was spoken of"
