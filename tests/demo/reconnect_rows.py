# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A back-end that is killed while its guest writes, and started again: the guest notices nothing."""
import os
import signal

import proc
import qemu
from migrate_rows import CHUNK, SIZE, serve
from pattern import pattern

KILLS = 3


def row_guest(place, rng):
    rounds = [outlive(place, rng, packed) for packed in (False, True)]
    return (f"over split and then packed rings a Linux guest filled {SIZE >> 20} MiB and compared them, {rounds[0]} and {rounds[1]} "
            f"times, while its back-end was killed {KILLS} times and started again; the image is what it wrote last")


def outlive(place, rng, packed):
    """How many rounds the guest made."""
    seed = rng.getrandbits(32)
    guest = qemu.BlockGuest(place.logs)
    with open(place.image, "wb") as f:
        f.truncate(SIZE + CHUNK)
    device, words = guest.words("rounds", seed, packed=packed)
    argv = guest.argv(f"{place.socket},reconnect=1", device, words)
    server = serve(place, "vhctl-0", place.socket)
    try:
        server.wait_for_socket(place.socket)
        with proc.Process("guest", argv, place.logs) as running:
            for i in range(1, KILLS + 1):
                before = running.output().count("guest: round")
                running.wait_for(lambda n=before: running.output().count("guest: round") > n, "round", 180)
                os.killpg(server.popen.pid, signal.SIGKILL)
                server.wait(10)
                server = serve(place, f"vhctl-{i}", place.socket)
            before = running.output().count("guest: round")
            running.wait_for(lambda: running.output().count("guest: round") > before + 1, "round after the last kill", 180)
            with open(place.image, "r+b") as f:  # the guest may end
                f.seek(SIZE)
                f.write(b"end")
            rc = running.wait(180)
            if rc != qemu.GUEST_OK:
                raise proc.Failed(f"the guest ended with {rc}\n{running.tail()}")
        if not server.alive():
            raise proc.Failed(f"the last back-end ended\n{server.tail()}")
    finally:
        server.end()
    with open(place.image, "rb") as f:
        if f.read(SIZE) != pattern(seed, 0, SIZE):
            raise proc.Failed("the image does not hold what the guest wrote last")
    return running.output().count("guest: round ")
