#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""In a guest: a disk and a network device that the kernel simulates, made and used through vhost-vdpa, by vhctl and from Python."""
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys

from vh import Blk, Net

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
from pattern import pattern  # noqa: E402  pylint: disable=wrong-import-position

SIZE, BLOCK = 4 << 20, 64 << 10
FRAMES, MANY = 300, 16


def vhctl(*words):
    done = subprocess.run(["vhctl", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    if done.returncode:
        sys.exit(f"vhctl {' '.join(words)}: {done.stderr.decode()}")
    return done.stdout.decode()


@contextlib.contextmanager
def made(maker):
    """A device of a simulator; its address."""
    vhctl("vdpa", "add", "demo", "--mgmtdev", maker, "--driver", "vhost_vdpa")
    yield "vdpa:demo"
    vhctl("vdpa", "del", "demo")


def disk(rng):
    with made("vdpasim_blk") as where:
        seed = rng.getrandbits(32)
        vhctl("io", "blk", where, "verify", "--size", str(SIZE), "--seed", str(seed))
        model = bytearray(pattern(seed, 0, SIZE))
        with Blk(where) as blk:
            assert blk.read(0, SIZE) == model, "what vhctl wrote is not there"
            for _ in range(8):
                at = rng.randrange(SIZE - BLOCK) // 512 * 512
                model[at:at + BLOCK] = data = rng.randbytes(BLOCK)
                blk.write(at, data)
            assert blk.read(0, SIZE) == model, "what was written is not there"
        said = json.loads(vhctl("io", "blk", where, "read", "--size", str(SIZE), "--json"))
        assert said["sha256"] == hashlib.sha256(model).hexdigest(), "vhctl reads something else"
    print(f"{SIZE >> 20} MiB of a simulated disk verified")


def cable(rng):
    """The simulator sends back what is for everybody."""
    with made("vdpasim_net") as where, Net(where) as net:
        waiting, sent = [], 0
        while sent < FRAMES or waiting:
            while sent < FRAMES and len(waiting) < MANY:
                waiting.append(b"\xff" * 6 + b"\x02\0\0\0\0\1\x88\xb5" + rng.randbytes(rng.randrange(46, 1400)))
                net.send(waiting[-1])
                sent += 1
            frame = net.receive(20)
            assert frame, "a frame was lost"
            if frame[12:14] == b"\x88\xb5":
                assert frame == waiting.pop(0), "a frame came back changed"
    print(f"{FRAMES} frames came back from a simulated cable")


def main():
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    disk(rng)
    cable(rng)


if __name__ == "__main__":
    main()
