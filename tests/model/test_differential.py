# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The same split rings for the library and for virtio-queue, the crate that devices in Rust are made of.

The random driver of test_model.py, and the one that does what no driver may; both implementations look at the same
memory. Chains have to be the same, the used ring has to be the same bytes, and so has who wants to be told. Where they
differ it is in a table, with the reason. (One more difference needs more memory than there is here: a chain of 2^32 bytes or more,
which no driver may make, ends early there, and is one like all others here.)
"""
import os
import subprocess
from collections import Counter

import pytest
from rig import BUILD, SCALE, SEED
from ring import Wrong
from test_model import SPLIT_SIZES, DeviceRun

PEER = os.path.join(BUILD, "model-peer", "release", "ring-peer")
REFUSES, TAKES = "it refuses as well", "it gives a chain all the same"
#: what is wrong with a ring -> what virtio-queue does, and why
DIFFERENCES = {
    "jump": (REFUSES, "an index that is further ahead than the ring is long is an error of its iterator"),
    "head": (TAKES, "a chain without descriptors: where a descriptor is outside of the table its iterator ends"),
    "next": (TAKES, "the chain ends before the descriptor that is outside of the table"),
    "loop": (TAKES, "the chain ends after as many descriptors as the table has, whatever they are"),
    "busy": (TAKES, "it has no record of what is in flight"),
    "order": (TAKES, "its iterator gives descriptors as they are; Reader and Writer sort them"),
    "outside": (TAKES, "an address is looked up when the buffer is used"),
    "segments": (TAKES, "it has no bound but the table's length"),
    "size of table": (TAKES, "a table may have up to 65535 descriptors, whatever the ring's size"),
    "length of table": (TAKES, "the chain ends before the table"),
    "table outside": (TAKES, "the chain ends where a descriptor can't be read"),
    "nested": (TAKES, "the chain ends before the second table"),
    "indirect not negotiated": (TAKES, "it does not know which features were negotiated"),
    "indirect and next": (TAKES, "NEXT beside INDIRECT is ignored"),
}
seen = Counter()


class PeerRun(DeviceRun):
    """All that DeviceRun does, and the peer beside it, which is given the ring's state anew each time."""

    polite = True  # virtio-queue stores any length

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        ranges = [f"{gpa}:{offset}:{length}" for gpa, offset, length in self.world.ranges]
        self.peer = subprocess.Popen([PEER, str(self.world.file), *ranges], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     pass_fds=[self.world.file], text=True)

    def ask_peer(self, *lines, until=None):
        """Answers of one line each, or one that is several."""
        self.peer.stdin.write("".join(f"{line}\n" for line in lines))
        self.peer.stdin.flush()
        got = [self.peer.stdout.readline().strip() for _ in lines]
        while until and not got[-1].startswith(until):
            got.append(self.peer.stdout.readline().strip())
        assert all(got), "the peer is gone"
        return got

    def opened(self, at, used):
        ring = self.ring
        return f"open {ring.num} {ring.desc} {ring.driver} {ring.device} {at} {used} {int(ring.event_idx)}"

    def compare(self, most, want, wrong):
        at = (self.judge.at - len(want)) % 65536
        _, *chains = self.ask_peer(self.opened(at, self.judge.used), f"pop {most}", until=("end", "wrong"))
        end = chains.pop()
        for line, r in zip(chains, want):
            head, *descs = line.split()[1:]
            parts = [], []
            for addr, length, write in (map(int, desc.split(":")) for desc in descs):
                parts[write].extend(self.guest.hosts(addr, length))
            assert (int(head), *parts) == (r.name, r.reads, r.writes)
            seen["chains"] += 1
        if not wrong:
            assert end == "end" and len(chains) == len(want)
            return
        kinds = {DIFFERENCES[r][0] for r in wrong.reasons}
        does = TAKES if len(chains) > len(want) else REFUSES
        assert does in kinds, f"{wrong}: {does}"
        for r in wrong.reasons:
            seen[r] += 1

    def compare_used(self, before, done, wanted):
        """It does the same to the ring as it was."""
        after, device = bytes(self.rings), self.judge.device
        start, size = self.areas["device"], len(device)
        device[:] = before[start:start + size]
        old = (self.judge.used - len(done)) % 65536
        *_, told = self.ask_peer(self.opened(self.judge.at, old), *(f"used {name} {written}" for name, written in done), "notify")
        assert bytes(self.rings) == after
        # It tells a driver without event indices always, also one that said that it does not want to be told.
        assert told == str(int(wanted)) or (told == "1" and not self.ring.event_idx)
        seen["used"] += len(done)

    def doze(self):
        try:
            self.judge.waiting()
        except Wrong:
            return  # nothing is asked of a device whose ring can't be
        super().doze()
        if self.quiet or not self.asleep:
            return
        after = bytes(self.rings)
        _, more = self.ask_peer(self.opened(self.judge.at, self.judge.used), "arm")
        assert more == "0" and bytes(self.rings) == after

    def go(self, rounds):
        with self.peer:
            super().go(rounds)
            self.peer.stdin.close()
            assert self.peer.wait() == 0


@pytest.mark.parametrize("hostile", (False, True), ids=("well-behaved", "hostile"))
def test_virtio_queue_sees_the_same(hostile):
    for i, num in enumerate(n for n in SPLIT_SIZES if n <= 1024):
        for features in range(4):
            seed = SEED + 1000 * i + features
            try:
                PeerRun(seed, False, num, bool(features & 1), bool(features & 2), hostile=hostile).go(int(600 * SCALE))
            except BaseException:
                print(f"VH_SEED={SEED}: size {num}, event index {features & 1}, indirect {features >> 1}")
                raise


def test_there_was_much_of_everything():
    print(seen)
    assert seen["chains"] > 1000 * min(SCALE, 1) and seen["used"] > 1000 * min(SCALE, 1)
    assert len(seen) > 8
