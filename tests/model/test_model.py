# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Random calls of one side of the library, with the model as the other side and as a judge beside it.

On the device's side the judge is a model of a device that looks at the same ring: what it would take is what has to be
popped, what it would store is what has to be in the ring after a push, byte for byte, and it says who wants to be told.
On the driver's side the model is the device, and what it finds in the ring has to be what was submitted.

VH_SEED=... repeats a run, VH_FULL=1 makes it long.
"""
import random
from collections import Counter
from itertools import islice, product

import pytest
from rig import DATA, FULL, PER_TABLE, RINGS, SCALE, SEED, SITES, TABLES, Broken, Lib, World, apply
from ring import DESC, INDIRECT, NEXT, SIDES, U16, Wrong, place, position, wants_packed, wants_split

import vh

DEVICE, DRIVER = vh.QUEUE_DEVICE, vh.QUEUE_DRIVER
SPLIT_SIZES = (1, 2, 4, 8, 16, 64, 256) + ((1024, 32768) if FULL else ())
PACKED_SIZES = (1, 2, 3, 5, 7, 8, 17, 100, 256) + ((1000, 32768) if FULL else ())
total = Counter()


class Run:
    """What runs of both sides have in common."""

    role = 0

    def __init__(self, seed, packed, num, *features):
        self.seed, self.rnd, self.packed = seed, random.Random(seed), packed
        self.world = World(num)
        self.guest = self.world.guest
        self.ring = self.world.geometry(*features)
        self.rings = self.world.views[0]
        self.areas = {"desc": 0, "driver": self.ring.driver - RINGS, "device": self.ring.device - RINGS}
        self.lib = None
        self.start()

    def start(self):
        raise NotImplementedError

    def first_base(self):
        """Where a ring begins: anywhere, often shortly before the index wraps."""
        num = self.ring.num
        if self.packed:
            at = position(self.rnd.choice((0, num - 1, num, 2 * num - 1, self.rnd.randrange(2 * num))), num)
            return at | at << 16
        return self.rnd.choice((0, 65536 - num, 65535, self.rnd.randrange(65536)))

    def pick(self, free):
        """Any of a list, taken out."""
        i = self.rnd.randrange(len(free))
        free[i], free[-1] = free[-1], free[i]
        return free.pop()

    def part(self, write, cross=True):
        """A buffer in memory; it may cross from one region to its neighbour."""
        rnd = self.rnd
        gpa, size = DATA[rnd.randrange(3)]
        if cross and gpa == DATA[0][0] and rnd.random() < 0.2:
            n = rnd.randrange(2, 0x100)
            return gpa + size - rnd.randrange(1, n), n, write
        n = rnd.choice((1, 16, 64, 0x1000, rnd.randrange(1, 0x2000)))
        return gpa + rnd.randrange(size - n + 1), n, write

    def parts(self, most, cross=True):
        rnd = self.rnd
        n = min(most, rnd.choice((1, 1, 2, 3, 3, 4, rnd.randrange(1, 9), rnd.randrange(1, most + 1))))
        reads = rnd.randrange(n + 1)
        return [self.part(i >= reads, cross) for i in range(n)]

    def odd_wish(self, size):
        """A wish for anything, as (offset, bytes); size: of an element of the ring that it is in."""
        rnd, num = self.rnd, self.ring.num
        what = U16.pack(rnd.choice((0, 1, 2, num, num - 1, num | 0x8000, rnd.randrange(65536))))
        if self.packed:
            return 0, what + U16.pack(rnd.randrange(5))
        return (4 + size * num if self.ring.event_idx else 0), what

    def steps(self):
        raise NotImplementedError

    def go(self, rounds):
        steps = self.steps()
        for _ in range(rounds):
            self.rnd.choice(steps)()
        total["calls"] += rounds
        self.lib.close()
        self.world.close()


class DeviceRun(Run):
    """Pop and push of the library. hostile: the model driver does what no driver may, now and then."""

    polite = False  # what it says was written has room

    def __init__(self, *args, hostile=False):
        self.hostile = hostile
        super().__init__(*args)

    def start(self, base=None, again=False):
        if self.lib:
            self.lib.close()
        driver, device = SIDES[self.packed]
        if not again:
            base = self.first_base()
            self.driver = driver(self.guest, self.ring, self.pick, *([base & 0xFFFF] if self.packed else [base]))
        if not again:
            self.max_segs = self.rnd.choice((0, 0, 20, 64)) if self.hostile else 0
        self.lib = Lib(self.world, self.ring, self.packed, DEVICE, base, max_segs=self.max_segs)
        self.judge = device(self.guest, self.ring, base, self.max_segs)
        self.judge.wished = []
        self.tokens = {}  # name -> token
        self.asleep = self.fresh = True  # fresh: a device tells of its first completions in any case
        self.quiet = 0  # chains since it asked not to be told, 0: it did not
        self.spoiled = 0  # steps until a ring that was tampered with is made anew
        self.turns = 0

    def steps(self):
        usual = [self.offer, self.offer, self.pop, self.pop, self.push, self.push, self.collect, self.unpop, self.ask,
                 self.doze, self.refused, self.stop]
        return usual + [self.tamper] if self.hostile else usual

    # The driver.

    def offer(self):
        """Some chains, published together."""
        driver, rnd, ring = self.driver, self.rnd, self.ring
        count = 0
        for _ in range(rnd.choice((1, 1, 2, 5, 32))):
            parts, table, direct = self.parts(max(PER_TABLE, 1)), None, 0
            if ring.indirect and driver.room() and rnd.random() < 0.5:
                table = self.world.table(self.guess_name())
                direct = rnd.randrange(len(parts)) if not self.packed and rnd.random() < 0.2 else 0
            need = direct + 1 if table else len(parts)
            if need > driver.room():
                parts, table, direct = parts[:driver.room()], None, 0
            if not parts:
                break
            driver.add(self.odd(parts), table, direct)
            count += 1
        told = driver.publish()
        if self.spoiled:  # and nobody knows where the device is
            return
        if count and self.asleep:
            assert told, "a device that sleeps would not hear of it"
            self.asleep = False
        if self.quiet and count:
            self.quiet += count
            assert not told or self.quiet > 60000, "a device that polls is told"

    def guess_name(self):
        """One whose table nobody uses: of what is free, the one that is taken next."""
        free = self.driver.free
        if self.ring.in_order:
            return free[0]
        i = self.rnd.randrange(len(free))
        free[i], free[-1] = free[-1], free[i]
        name = free[-1]
        self.driver.pick = self.take_last
        return name

    def take_last(self, free):
        self.driver.pick = self.pick
        return free.pop()

    def odd(self, parts):
        """Empty buffers are allowed, and nothing that a device sees."""
        return [(addr, 0, write) if self.rnd.random() < 0.02 else (addr, n, write) for addr, n, write in parts]

    def collect(self):
        if self.spoiled:
            return
        held = [name for name, _ in self.driver.collect()]
        assert not set(held) & set(self.judge.flying)

    def ask(self):
        """The driver's wish to be told."""
        self.driver.ask(self.rnd.random() < 0.5)
        if self.hostile and self.rnd.random() < 0.3:
            self.driver.store("driver", *self.odd_wish(2))

    # The library and its judge.

    def pop(self):
        most, wrong, want = self.rnd.choice((1, 3, 32, 64)), None, []
        while len(want) < most and not wrong:
            try:
                got = self.judge.take()
            except Wrong as e:
                wrong = e
            else:
                if not got:
                    break
                want.append(got)
        self.compare(most, want, wrong)
        if wrong and not want:
            self.broken(wrong)
            return
        got = self.lib.pop(most)
        if len(got) < len(want):  # no room for more segments, for now
            assert self.lib.queue.stats.seg_waits and self.judge.flying
            for _ in want[len(got):]:
                self.judge.give_back()
        assert len(got) <= len(want)
        for (token, reads, writes, seq), r in zip(got, want):
            assert (reads, writes) == (r.reads, r.writes)
            assert seq == self.judge.numbers[r.name] & 0xFFFFFFFF
            self.tokens[r.name] = token
        total["requests"] += len(got)

    def compare(self, most, want, wrong):
        """For another implementation: what is about to be popped, before anything is."""

    def broken(self, wrong):
        """The ring is over, whatever is in flight; nothing more is written to it."""
        before = bytes(self.rings)
        sites = set().union(*(SITES[r] for r in wrong.reasons))
        for _ in range(2):
            with pytest.raises(Broken) as e:
                self.lib.pop(4)
            assert e.value.site in sites, f"{wrong}, and it is refused by {e.value.site}"
        total[e.value.site] += 1
        if self.tokens:
            with pytest.raises(Broken):
                self.lib.push([(token, 1) for token in islice(self.tokens.values(), 64)])
        assert bytes(self.rings) == before
        total["refused"] += 1
        self.start()

    def push(self):
        rnd, flying = self.rnd, list(self.tokens)
        if not flying:
            return
        n = min(len(flying), rnd.choice((1, 2, 7, 32)))
        names = flying[:n] if rnd.random() < 0.3 else rnd.sample(flying, n)
        done = [(name, rnd.choice((0, 1, 5, 0x1000, 0xFFFFFFFF, self.judge.flying[name].room & 0xFFFFFFFF))) for name in names]
        self.complete(done)

    def complete(self, done):
        assert not self.lib.told(self.lib.call)
        before = bytes(self.rings)
        done = [(name, min(written, self.judge.flying[name].room, 0xFFFFFFFF)) if self.polite else (name, written)
                for name, written in done]
        told = [one for name, written in done for one in self.judge.put(name, written)]
        wanted = self.judge.publish()
        stores, self.judge.wished[:] = self.judge.wished[:], []
        self.lib.push([(self.tokens.pop(name), written) for name, written in done])
        assert bytes(self.rings) == apply(before, stores, self.areas)
        self.compare_used(before, told, wanted)
        called = self.lib.told(self.lib.call)
        assert called == wanted or (called and self.fresh), f"wanted {wanted}, called {called}"
        self.fresh = self.fresh and not told

    def compare_used(self, before, done, wanted):
        """And what was pushed: the ring as it was before, and whether the driver is to be told."""

    def unpop(self):
        n = self.rnd.randrange(5)
        rc = self.lib.unpop(n)
        if not self.judge.newest(n):
            assert rc < 0
            return
        assert rc == 0
        for _ in range(n):
            del self.tokens[next(reversed(self.judge.flying))]
            self.judge.give_back()

    def doze(self):
        """The device asks to be told, or not to be."""
        try:
            waiting = bool(self.judge.waiting())
        except Wrong:
            return
        if self.rnd.random() < 0.6:
            assert self.lib.queue.arm() == waiting
            self.asleep, self.quiet = not waiting, 0
        else:
            self.lib.queue.disarm()
            self.asleep, self.quiet = False, 1

    def refused(self):
        """Tokens that name nothing in flight: nothing changes that a driver looks at."""
        if not self.tokens:
            return
        before, token = bytes(self.rings), next(iter(self.tokens.values()))
        wrong = self.rnd.choice(((token ^ 1 << 31, 0), (token, 0)))
        with pytest.raises(Broken):
            self.lib.push([(token, 0), wrong])
        after = bytearray(self.rings)
        if not self.packed:  # behind the used index
            at = self.areas["device"] + 4 + 8 * (self.judge.used % self.ring.num)
            after[at:at + 8] = before[at:at + 8]
        assert after == before

    def stop(self):
        """Another device goes on, when all is done."""
        self.turns += 1
        if self.turns % 8 or self.spoiled:
            return
        while self.judge.flying:
            self.push()
        base = self.lib.queue.stop()
        assert base == self.judge.base()
        self.start(base, again=True)

    # A driver that does what it may not.

    def tamper(self):
        """One field anywhere, or one of the last chain; the judge says what that means."""
        rnd, num = self.rnd, self.ring.num
        if rnd.random() < 0.5:
            return
        slot = self.judge.at % num if rnd.random() < 0.7 else rnd.randrange(num)
        if not self.packed:
            what = rnd.random()
            if what < 0.05:
                at = (self.driver.at + rnd.choice((-1, 1, num, num + 1, 0x8000))) % 65536
                self.driver.store("driver", 2, U16.pack(at))
            elif what < 0.2:
                head = rnd.choice((num, 65535, rnd.randrange(num), rnd.randrange(num)))
                self.driver.store("driver", 4 + 2 * slot, U16.pack(head))
            slot = U16.unpack_from(self.driver.driver, 4 + 2 * slot)[0] % num
        offset = 16 * slot
        if rnd.random() < 0.3:
            addr, length, a, b = DESC.unpack_from(self.driver.desc, offset)
            flags = b if self.packed else a
            if flags & INDIRECT:
                self.tamper_table(addr, length // 16)
                return
            if flags & NEXT:
                offset = 16 * ((slot + 1) % num if self.packed else b % num)
        row = DESC.unpack_from(self.driver.desc, offset)
        self.driver.store("desc", offset, self.spoil(row))
        self.spoiled = self.spoiled or rnd.randrange(1, 40)

    def tamper_table(self, table, size):
        at = table + 16 * self.rnd.randrange(max(size, 1))
        row = self.guest.read(at, 16)
        if TABLES <= table and row:
            self.guest.write(at, self.spoil(DESC.unpack(row)))
            self.spoiled = self.spoiled or self.rnd.randrange(1, 40)

    def spoil(self, row):
        addr, length, a, b = row
        rnd, num = self.rnd, self.ring.num
        flags, other = (b, a) if self.packed else (a, b)
        what = rnd.randrange(6)
        if what == 0:
            addr = rnd.choice((0, 0xFFFFFFFFFFFFFFF0, DATA[1][0] + 0x7FFF, DATA[2][0] - 1, DATA[0][0] + 1, TABLES + 8))
        elif what == 1:
            length = rnd.choice((0, 1, 15, 16, 17, 16 * 40, 16 * 1024, 16 * 1025, 0xFFFFFFF0, 0xFFFFFFFF))
        elif what == 2:
            flags ^= rnd.choice((1, 2, 4, 5, 6, 7))
        elif what == 3:
            flags ^= rnd.choice((8, 16, 0x100, 0x4000))  # which mean nothing
        elif what == 4:
            other = rnd.choice((num, 65535, rnd.randrange(num), rnd.randrange(num)))
        else:  # a table that lies somewhere
            addr, length, flags = TABLES + rnd.randrange(0x9000), 16 * rnd.choice((1, 2, 3, 40)), flags & ~1 | 4
        return DESC.pack(addr, length, *((other, flags) if self.packed else (flags, other)))

    def go(self, rounds):
        steps = self.steps()
        for _ in range(rounds):
            self.rnd.choice(steps)()
            if self.spoiled:
                self.spoiled -= 1
                if not self.spoiled:
                    self.start()
        total["calls"] += rounds
        self.lib.close()
        self.world.close()


class DriverRun(Run):
    """Submit and reap of the library. hostile: the model device lies, now and then."""

    def __init__(self, *args, hostile=False):
        self.hostile = hostile
        super().__init__(*args)

    def start(self, base=None):
        if self.lib:
            self.lib.close()
        base = self.first_base() if base is None else base
        self.most = 8 if self.ring.indirect and self.ring.num * 8 * 16 <= 0x8000 else 0
        self.lib = Lib(self.world, self.ring, self.packed, DRIVER, base, self.most)
        self.device = SIDES[self.packed][1](self.guest, self.ring, base)
        self.device.brief = lambda: self.rnd.random() < 0.5
        self.at = place(base & 0xFFFF, self.ring.num) if self.packed else base
        self.next_head = 0
        self.cookies = iter(range(self.rnd.randrange(1 << 60), 1 << 62))
        self.offered, self.users, self.done = [], {}, []
        self.left, self.fresh = self.ring.num, True
        self.asleep, self.quiet = True, 0
        self.turns = 0

    def steps(self):
        usual = [self.submit, self.submit, self.take, self.take, self.complete, self.complete, self.reap, self.reap, self.ask,
                 self.doze, self.give_back, self.stop]
        return usual + [self.lie] if self.hostile and not self.ring.in_order else usual

    def host(self, part):
        (where,) = self.guest.hosts(part[0], part[1])
        return where

    def need(self, parts, left, calls):
        """How many descriptors: in the ring, as long as five eighths of it stay free, and one for each request of the call."""
        k = len(parts)
        return 1 if self.most >= k > 1 and left - k < max(self.ring.num - self.ring.num * 3 // 8, calls) else k

    def submit(self):
        wanted, rows, taken, left = [], [], 0, self.left
        calls = self.rnd.choice((1, 1, 2, 5, 32))
        for _ in range(calls):
            parts = self.parts(max(1, min(10, self.ring.num)), cross=False)
            user = next(self.cookies)
            rd, wr = [self.host(p) for p in parts if not p[2]], [self.host(p) for p in parts if p[2]]
            rows.append((rd, wr, user))
            wanted.append((user, rd, wr, parts))
        for i, (*request, parts) in enumerate(wanted):
            need = self.need(parts, left, calls)
            if need > left:
                break
            wanted[i] = *request, need
            left -= need
            taken += 1
        assert not self.lib.told(self.lib.kick)
        before, old = self.device_area(), self.at
        assert self.lib.submit(rows) == taken
        assert self.device_area() == before, "a driver wrote where only a device may"
        places = self.left - left
        self.left = left
        self.offered += wanted[:taken]
        told, wish = self.lib.told(self.lib.kick), False
        if taken and self.packed:
            self.at = (old + places) % (2 * self.ring.num)
            wish = wants_packed(self.device.device, old, self.at, self.ring)
        elif taken:
            self.at = (old + taken) % 65536
            wish = wants_split(self.device.device, 8, old, self.at, self.ring)
        assert told == wish or (told and self.fresh)
        self.fresh = self.fresh and not taken

    def device_area(self):
        return bytes(self.device.device)

    def take(self):
        for _ in range(self.rnd.choice((1, 3, 32))):
            got = self.device.take()
            assert bool(got) == bool(self.offered)
            if not got:
                break
            user, rd, wr, need = self.offered.pop(0)
            assert (got.reads, got.writes, got.places) == (rd, wr, 1 if not self.packed else need)
            assert got.name not in self.users
            if self.ring.in_order and not self.packed:
                assert got.name == self.next_head, "descriptors of a split ring go round"
                self.next_head = (got.name + need) % self.ring.num
            self.users[got.name] = user, rd, wr, need
            total["requests"] += 1

    def give_back(self):
        """This device put one back."""
        if self.device.newest(1) and self.device.flying:
            name = next(reversed(self.device.flying))
            self.next_head = name
            self.device.give_back()
            self.offered.insert(0, self.users.pop(name))

    def complete(self):
        rnd, flying = self.rnd, list(self.device.flying)
        flying = [name for name in flying if name not in self.device.held]
        names = rnd.sample(flying, min(len(flying), rnd.choice((1, 2, 7, 32))))
        count = len(self.done)
        for name in names:
            room = self.device.flying[name].room
            written = rnd.choice((0, 1, room, rnd.randrange(room + 1)))
            for one, said in self.device.put(name, written):
                user, _, _, need = self.users.pop(one)
                self.done.append((user, said, need))
        count = len(self.done) - count
        told = self.device.publish()
        if count and self.asleep:
            assert told, "a driver that sleeps would not hear of it"
            self.asleep = False
        if count and self.quiet:
            self.quiet += count
            assert not told or self.quiet > 60000

    def reap(self):
        most = self.rnd.choice((1, 3, 64))
        want, self.done = self.done[:most], self.done[most:]
        assert self.lib.reap(most) == [(user, written) for user, written, _ in want]
        self.left += sum(need for *_, need in want)

    def ask(self):
        self.device.ask(self.rnd.random() < 0.5)
        if self.hostile and self.rnd.random() < 0.3:
            self.device.store("device", *self.odd_wish(8))

    def doze(self):
        if self.rnd.random() < 0.6:
            assert self.lib.queue.arm() == bool(self.done)
            self.asleep = not self.done
            if self.asleep:  # a driver that finds something has asked for nothing
                self.quiet = 0
        else:
            self.lib.queue.disarm()
            self.asleep, self.quiet = False, 1

    def stop(self):
        self.turns += 1
        if self.turns % 8:
            return
        while self.offered or self.users or self.done:
            self.take()
            self.complete()
            self.reap()
        base = self.lib.queue.stop()
        assert base == (self.device.base() if self.packed else self.device.at)
        self.start(base)

    def lie(self):
        """A used element that is none; what was done before is reaped all the same."""
        if self.rnd.random() < 0.9:
            return
        while self.done:
            self.reap()
        free = set(range(self.ring.num)) - set(self.device.flying)
        busy = list(self.device.flying)
        if not busy:
            return
        room, sites = self.device.flying[busy[0]].room, {}
        sites[431] = lambda: self.forge(self.ring.num, 0)
        sites[431, 1] = lambda: self.forge(65535, 0)
        sites[433] = lambda: self.forge(busy[0], min(room + 1, 0xFFFFFFFF))
        free -= {name for name in free if self.may_be_busy(name)}
        if free:
            sites[432] = lambda: self.forge(min(free), 0)
        if not self.packed:
            sites[430] = lambda: self.device.store("device", 2, U16.pack((self.device.used + len(busy) + len(self.offered) + 1) % 65536))
            sites[430, 1] = lambda: self.device.store("device", 2, U16.pack((self.device.used - 1) % 65536))
        site = self.rnd.choice(list(sites))
        sites[site]()
        for _ in range(2):
            with pytest.raises(Broken) as e:
                self.lib.reap(4)
            assert e.value.site == (site[0] if isinstance(site, tuple) else site)
        total[e.value.site] += 1
        total["refused"] += 1
        self.start()

    def may_be_busy(self, _name):
        """A name that this device did not take yet may be in the ring already."""
        return bool(self.offered)

    def forge(self, name, written):
        first = next(iter(self.device.flying.values()))
        self.device.done([first._replace(name=name)], written)
        self.device.publish()


def sizes(packed):
    return PACKED_SIZES if packed else SPLIT_SIZES


def rounds_for(num, many):
    """Small rings are quick."""
    return max(60, int(many * SCALE * (1 if num <= 256 else 0.05)))


@pytest.mark.parametrize("hostile", (False, True), ids=("well-behaved", "hostile"))
@pytest.mark.parametrize("side", (DeviceRun, DriverRun), ids=("device", "driver"))
@pytest.mark.parametrize("packed", (False, True), ids=("split", "packed"))
def test_a_side_does_what_the_model_says(packed, side, hostile):
    for i, num in enumerate(sizes(packed)):
        for k, features in enumerate(product((False, True), repeat=3)):
            try:
                side(SEED + 1000 * i + k, packed, num, *features, hostile=hostile).go(rounds_for(num, 600))
            except BaseException:
                print(f"VH_SEED={SEED}: size {num}; event index, indirect, in order: {features}")
                raise


def test_there_was_much_of_everything():
    print(total)
    assert total["requests"] > 5000 * min(SCALE, 1) and total["refused"] > 50 * min(SCALE, 1)
