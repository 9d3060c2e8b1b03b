# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A model of virtqueues, both layouts and both sides, written from the text of virtio 1.2, sections 2.7 and 2.8.

It is slow and short, and shares nothing with the library. A driver writes what a driver writes. A device reads what is
there and says what has to come out of it: a request, or all that is wrong with the first chain that is not one. Where it
stores into the ring it goes through `store`, so that a test can have it say what it would store, and compare.
"""
import struct
from bisect import bisect_right
from itertools import islice, takewhile
from typing import NamedTuple

NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 1 << 7, 1 << 15
DESC = struct.Struct("<QIHH")  # split: addr, len, flags, next; packed: addr, len, id, flags
U16, U32, ELEM, AREA, WORD = (struct.Struct("<" + f) for f in ("H", "I", "II", "HH", "IHH"))
ALWAYS, NEVER, AT = 0, 1, 2  # flags of an event area


class Guest:
    """Guest memory: regions, and where the bytes of each are in the address space of the other side."""

    def __init__(self, regions):
        """[(guest address, view, address of the host)]"""
        self.regions = sorted(regions)
        self.starts = [gpa for gpa, _, _ in self.regions]

    def pieces(self, gpa, length):
        """[(region, offset, length)] of a range, cut at the borders of regions; None when some of it is outside."""
        found = []
        while length:
            i = bisect_right(self.starts, gpa) - 1
            if i < 0 or gpa >= self.starts[i] + len(self.regions[i][1]):
                return None
            offset = gpa - self.starts[i]
            n = min(length, len(self.regions[i][1]) - offset)
            found.append((i, offset, n))
            gpa, length = gpa + n, length - n
        return found

    def hosts(self, gpa, length):
        """The same as [(address of the host, length)]."""
        found = self.pieces(gpa, length)
        return found and [(self.regions[i][2] + offset, n) for i, offset, n in found]

    def read(self, gpa, length):
        found = self.pieces(gpa, length)
        return None if found is None else b"".join(self.regions[i][1][at:at + n] for i, at, n in found)

    def write(self, gpa, data):
        for i, at, n in self.pieces(gpa, len(data)):
            self.regions[i][1][at:at + n], data = data[:n], data[n:]

    def view(self, gpa, length):
        ((i, at, n),) = self.pieces(gpa, length)
        return self.regions[i][1][at:at + n]


class Geometry(NamedTuple):
    """Where a ring is, and what was negotiated."""

    num: int
    desc: int
    driver: int
    device: int
    event_idx: bool = False
    indirect: bool = False
    in_order: bool = False

    def sizes(self, packed):
        """Bytes of the three areas."""
        event = 2 if self.event_idx else 0
        return (16 * self.num, 4, 4) if packed else (16 * self.num, 4 + 2 * self.num + event, 4 + 8 * self.num + event)


class Request(NamedTuple):
    """A chain that a device took: its name, its parts for reading and writing, and how many places it has in the ring."""

    name: int
    reads: list
    writes: list
    places: int

    @property
    def room(self):
        return sum(n for _, n in self.writes)


class Wrong(Exception):
    """The ring is not what a driver may make of it; reasons: all that is wrong, in words."""

    def __init__(self, *reasons):
        super().__init__(", ".join(sorted(reasons)))
        self.reasons = frozenset(reasons)


class Side:
    """What both sides of both layouts have: the areas as views, and a way to store into them."""

    packed = False

    def __init__(self, guest, ring):
        self.guest, self.ring, self.num = guest, ring, ring.num
        self.desc, self.driver, self.device = (
            guest.view(at, n) for at, n in zip((ring.desc, ring.driver, ring.device), ring.sizes(self.packed)))
        self.wished = None  # a list: what would be stored goes there, as (area, offset, bytes)

    def store(self, area, offset, data):
        if self.wished is not None:
            self.wished.append((area, offset, data))
        else:
            getattr(self, area)[offset:offset + len(data)] = data


def passed(event, old, new, turn):
    """Whether going from old to new, on a circle of so many places, went past the place of event."""
    return (event - old) % turn < (new - old) % turn


# What a device makes of descriptors.

class Chain:
    """A chain as it is being read."""

    def __init__(self, guest, max_segs):
        self.guest, self.max_segs = guest, max_segs
        self.parts, self.seen_write, self.wrong = ([], []), False, set()

    def buffer(self, addr, length, write):
        if write:
            self.seen_write = True
        elif self.seen_write:
            self.wrong.add("order")
        where = self.guest.hosts(addr, length)
        if where is None:
            self.wrong.add("outside")
            return
        self.parts[write].extend(where)
        if len(self.parts[0]) + len(self.parts[1]) > self.max_segs:
            self.wrong.add("segments")

    def table(self, addr, length, chained, allowed):
        """The descriptors of an indirect table."""
        if not allowed:
            self.wrong.add("indirect not negotiated")
        if chained:
            self.wrong.add("indirect and next")
        if not length or length % 16:
            self.wrong.add("length of table")
        elif length // 16 > self.max_segs:
            self.wrong.add("size of table")
        if self.wrong:
            raise Wrong(*self.wrong)
        data = self.guest.read(addr, length)
        if data is None:
            raise Wrong("table outside")
        return list(DESC.iter_unpack(data))

    def request(self, name, places):
        if self.wrong:
            raise Wrong(*self.wrong)
        return Request(name, *self.parts, places)


class Device(Side):
    """The device's side, of either layout."""

    def __init__(self, guest, ring, max_segs=None):
        super().__init__(guest, ring)
        self.max_segs = max_segs or max(ring.num, 1024)
        self.flying = {}  # name -> Request, in the order in which they were taken
        self.numbers = {}  # name -> how many were taken before it
        self.taken = 0
        self.held = {}  # in order: name -> written, of what is done and waits for older ones
        self.brief = lambda: False  # in order: whether a run gets one used element, of its last

    def take(self):
        """The next request, or None. Wrong: there is something else."""
        got = self.peek()
        if got:
            self.flying[got.name] = got
            self.numbers[got.name] = self.taken
            self.taken += 1
            self.step(got.places)
        return got

    def newest(self, n):
        """Whether the newest n that were taken are all in flight, and not done."""
        names = list(islice(reversed(self.flying), n))
        return not self.held.keys() & set(names) and [self.numbers[name] for name in names] == [self.taken - 1 - i for i in range(n)]

    def give_back(self):
        """The newest one, as if it had not been taken."""
        name, got = self.flying.popitem()
        del self.numbers[name]
        self.taken -= 1
        self.step(-got.places)

    def put(self, name, written):
        """A request is done. The driver knows after publish(). What it is told of by then: [(name, written)]; of a run that
        has one used element it takes all but the last for filled."""
        self.held[name] = min(written, self.flying[name].room, 0xFFFFFFFF)
        run = [name]
        if self.ring.in_order:
            run = list(takewhile(self.held.__contains__, self.flying))
        brief = len(run) > 1 and self.brief()
        if brief:
            self.held.update((one, min(self.flying[one].room, 0xFFFFFFFF)) for one in run[:-1])
        told, group = [], []
        for one in run:
            del self.numbers[one]
            told.append((one, self.held.pop(one)))
            group.append(self.flying.pop(one))
            if not brief or len(group) == len(run):
                self.done(group, told[-1][1])
                group = []
        return told


class SplitDevice(Device):
    def __init__(self, guest, ring, base=0, max_segs=None):
        super().__init__(guest, ring, max_segs)
        self.at = base
        self.used = self.published = U16.unpack_from(self.device, 2)[0]

    def waiting(self):
        """How many are available."""
        ready = (U16.unpack_from(self.driver, 2)[0] - self.at) % 65536
        if ready > self.num:
            raise Wrong("jump")
        return ready

    def step(self, n):
        self.at = (self.at + (n > 0) - (n < 0)) % 65536

    def peek(self):
        if not self.waiting():
            return None
        head, = U16.unpack_from(self.driver, 4 + 2 * (self.at % self.num))
        if head >= self.num:
            raise Wrong("head")
        if head in self.flying:
            raise Wrong("busy")
        return self.walk(head)

    def walk(self, head):
        chain, table, size, at, seen = Chain(self.guest, self.max_segs), None, self.num, head, 0
        while True:
            addr, length, flags, follows = table[at] if table else DESC.unpack_from(self.desc, 16 * at)
            seen += 1
            if flags & INDIRECT:
                if table:
                    raise Wrong("nested", *chain.wrong)
                table = chain.table(addr, length, flags & NEXT, self.ring.indirect)
                size, at, seen = len(table), 0, 0
                continue
            chain.buffer(addr, length, bool(flags & WRITE))
            if not flags & NEXT:
                return chain.request(head, 1)
            if follows >= size or seen == size:
                raise Wrong(*chain.wrong, *(["next"] if follows >= size else []), *(["loop"] if seen == size else []))
            at = follows

    def done(self, group, written):
        self.store("device", 4 + 8 * (self.used % self.num), ELEM.pack(group[-1].name, written))
        self.used = (self.used + len(group)) % 65536

    def publish(self):
        """What was put is the driver's. Whether it wants to hear of it."""
        old, self.published = self.published, self.used
        if old == self.used:
            return False
        self.store("device", 2, U16.pack(self.used))
        return wants_split(self.driver, 2, old, self.used, self.ring)

    def ask(self, on):
        """To be told of what becomes available, or not."""
        if self.ring.event_idx:
            self.store("device", 4 + 8 * self.num, U16.pack((self.at - (not on)) % 65536))
        else:
            self.store("device", 0, U16.pack(not on))

    def base(self):
        return self.at


class PackedDevice(Device):
    """Places are counted on a circle of two turns: below num the wrap counter is 1, from there on 0."""

    packed = True

    def __init__(self, guest, ring, base=0x80008000, max_segs=None):
        super().__init__(guest, ring, max_segs)
        self.turn = 2 * ring.num
        self.at, self.used = place(base & 0xFFFF, ring.num), place(base >> 16, ring.num)
        self.batch, self.published = [], self.used

    def step(self, n):
        self.at = (self.at + n) % self.turn

    def waiting(self):
        """Whether there is one."""
        flags = DESC.unpack_from(self.desc, 16 * (self.at % self.num))[3]
        return (flags & (AVAIL | USED)) == (AVAIL if self.at < self.num else USED)

    def peek(self):
        if not self.waiting():
            return None
        _, _, name, flags = DESC.unpack_from(self.desc, 16 * (self.at % self.num))
        try:
            return self.walk()
        except Wrong as e:
            raise Wrong(*e.reasons, *(() if flags & NEXT else self.misnamed(name))) from None

    def misnamed(self, name):
        return ("name",) if name >= self.num else ("busy",) if name in self.flying else ()

    def walk(self):
        chain, seen = Chain(self.guest, self.max_segs), 0
        free = self.num - sum(r.places for r in self.flying.values())
        while True:
            seen += 1
            if seen > free:
                raise Wrong("overrun", *chain.wrong)
            addr, length, name, flags = DESC.unpack_from(self.desc, 16 * ((self.at + seen - 1) % self.num))
            if flags & INDIRECT:
                if seen > 1:
                    raise Wrong("mixed", *chain.wrong)
                for one in chain.table(addr, length, flags & NEXT, self.ring.indirect):
                    if one[3] & INDIRECT:
                        raise Wrong("nested", *chain.wrong)
                    chain.buffer(one[0], one[1], bool(one[3] & WRITE))
                break
            chain.buffer(addr, length, bool(flags & WRITE))
            if not flags & NEXT:
                break
        chain.wrong.update(self.misnamed(name))
        return chain.request(name, seen)

    def done(self, group, written):
        """Used descriptors go one after the other where the ring stands; each passes over the places of its chains."""
        mine = AVAIL | USED if self.used < self.num else 0
        word = WORD.pack(written, group[-1].name, mine | (WRITE if written else 0))
        self.batch.append((16 * (self.used % self.num) + 8, word))
        self.used = (self.used + sum(got.places for got in group)) % self.turn

    def publish(self):
        """The first one last, since it is where the driver looks."""
        old, self.published = self.published, self.used
        if not self.batch:
            return False
        for offset, word in reversed(self.batch):
            self.store("desc", offset, word)
        self.batch = []
        return wants_packed(self.driver, old, self.used, self.ring)

    def ask(self, on):
        ask_packed(self, "device", self.at, on)

    def base(self):
        return position(self.at, self.num) | position(self.used, self.num) << 16


def place(pos, num):
    """Of a position with a wrap counter in bit 15."""
    return (pos & 0x7FFF) + (0 if pos & 0x8000 else num)


def position(at, num):
    return at | 0x8000 if at < num else at - num


def wants_packed(area, old, new, ring):
    """Whether the peer, whose event area this is, wants to hear that descriptors from old to new were published."""
    where, flags = AREA.unpack_from(area)
    flags &= 3
    if flags == AT and ring.event_idx and where & 0x7FFF < ring.num:
        return passed(place(where, ring.num), old, new, 2 * ring.num)
    return flags != NEVER


def wants_split(area, size, old, new, ring):
    """The same; area is the peer's ring, which has elements of so many bytes."""
    if ring.event_idx:
        return passed(U16.unpack_from(area, 4 + size * ring.num)[0], old, new, 65536)
    return not U16.unpack_from(area)[0] & 1


def ask_packed(side, area, at, on):
    if on and side.ring.event_idx:
        side.store(area, 0, AREA.pack(position(at, side.num), AT))
    else:
        side.store(area, 0, AREA.pack(0, ALWAYS if on else NEVER))


# What a driver writes.

class Driver(Side):
    """The driver's side, of either layout. Parts are (address, length, is for the device to write)."""

    def __init__(self, guest, ring, pick):
        """pick(list): takes one of what is free out of it. In order descriptors go round."""
        super().__init__(guest, ring)
        self.pick = (lambda free: free.pop(0)) if ring.in_order else pick
        self.places = {}  # name -> what is its own in the ring
        self.free = list(range(ring.num))

    def table(self, at, parts, linked):
        """An indirect table; links lead to the next one where there are any."""
        last = len(parts) - 1
        rows = []
        for i, (addr, length, write) in enumerate(parts):
            flags = (WRITE if write else 0) | (NEXT if linked and i < last else 0)
            rows.append(DESC.pack(addr, length, flags, i + 1) if linked else DESC.pack(addr, length, 0, flags))
        self.guest.write(at, b"".join(rows))
        return at, 16 * len(parts)


class SplitDriver(Driver):
    def __init__(self, guest, ring, pick, base=0):
        super().__init__(guest, ring, pick)
        self.at = self.published = self.seen = base
        self.store("driver", 0, bytes(2) + U16.pack(base))
        self.store("device", 0, bytes(2) + U16.pack(base))

    def room(self):
        return len(self.free)

    def add(self, parts, table=None, direct=0):
        """A chain; with a table the parts from that one on go there. Its name. The device sees it after publish()."""
        rows = [(addr, length, WRITE if write else 0) for addr, length, write in (parts[:direct] if table else parts)]
        if table:
            rows.append((*self.table(table, parts[direct:], True), INDIRECT))
        mine = [self.pick(self.free) for _ in rows]
        for i, (addr, length, flags) in enumerate(rows):
            more = i + 1 < len(rows)
            self.store("desc", 16 * mine[i], DESC.pack(addr, length, flags | (NEXT if more else 0), mine[i + 1] if more else 0))
        self.places[mine[0]] = mine
        self.offer(mine[0])
        return mine[0]

    def offer(self, head):
        self.store("driver", 4 + 2 * (self.at % self.num), U16.pack(head))
        self.at = (self.at + 1) % 65536

    def publish(self):
        """Whether the device wants to hear of it."""
        old, self.published = self.published, self.at
        if old == self.at:
            return False
        self.store("driver", 2, U16.pack(self.at))
        return wants_split(self.device, 8, old, self.at, self.ring)

    def collect(self):
        """[(name, written)] of what the device has done."""
        got = []
        while self.seen != U16.unpack_from(self.device, 2)[0]:
            name, written = ELEM.unpack_from(self.device, 4 + 8 * (self.seen % self.num))
            self.free += self.places.pop(name)
            self.seen = (self.seen + 1) % 65536
            got.append((name, written))
        return got

    def ask(self, on):
        if self.ring.event_idx:
            self.store("driver", 4 + 2 * self.num, U16.pack((self.seen - (not on)) % 65536))
        else:
            self.store("driver", 0, U16.pack(not on))


class PackedDriver(Driver):
    packed = True

    def __init__(self, guest, ring, pick, base=0x80008000):
        super().__init__(guest, ring, pick)
        self.turn = 2 * ring.num
        self.at = self.published = self.seen = place(base & 0xFFFF, ring.num)
        # Behind where it begins everything is a turn old: used by the other wrap counter.
        for i in range(ring.num):
            old = AVAIL | USED if (self.at < ring.num) == (i < self.at % ring.num) else 0
            self.store("desc", 16 * i + 8, WORD.pack(0, 0, old))
        self.store("driver", 0, bytes(4))
        self.store("device", 0, bytes(4))
        self.left = ring.num
        self.batch = []

    def room(self):
        return self.left

    def add(self, parts, table=None, direct=0):
        del direct  # a table is a chain of its own here
        rows = [(addr, length, WRITE if write else 0) for addr, length, write in parts]
        if table:
            rows = [(*self.table(table, parts, False), INDIRECT)]
        name = self.pick(self.free)
        self.places[name] = len(rows)
        for i, (addr, length, flags) in enumerate(rows):
            mine = AVAIL if self.at < self.num else USED
            flags |= mine | (NEXT if i + 1 < len(rows) else 0)
            self.batch.append((16 * (self.at % self.num), DESC.pack(addr, length, name, flags)))
            self.at = (self.at + 1) % self.turn
        self.left -= len(rows)
        return name

    def publish(self):
        old, self.published = self.published, self.at
        if not self.batch:
            return False
        for offset, row in reversed(self.batch):
            self.store("desc", offset, row)
        self.batch = []
        return wants_packed(self.device, old, self.at, self.ring)

    def collect(self):
        got = []
        while self.left < self.num:
            _, written, name, flags = DESC.unpack_from(self.desc, 16 * (self.seen % self.num))
            if (flags & (AVAIL | USED)) != (AVAIL | USED if self.seen < self.num else 0):
                break
            places = self.places.pop(name)
            self.free.append(name)
            self.left += places
            self.seen = (self.seen + places) % self.turn
            got.append((name, written if flags & WRITE else 0))
        return got

    def ask(self, on):
        ask_packed(self, "driver", self.seen, on)


SIDES = {False: (SplitDriver, SplitDevice), True: (PackedDriver, PackedDevice)}
