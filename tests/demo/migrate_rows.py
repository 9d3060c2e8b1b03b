# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A guest that writes to its disk all the time moves from one QEMU to another, each with a back-end of its own."""

import proc
import qemu
from pattern import pattern

CHUNK = 256 << 10  # of tests/lab/guest.c
SIZE = 4 << 20


def serve(place, name, path):
    return proc.Process(name, [place.vhctl, "serve", "blk", "--socket", path, "--file", place.image], place.logs)


def row_guest(place, rng, emulator=(qemu.QEMU,), options=""):
    seed = rng.getrandbits(32)
    guest = qemu.BlockGuest(place.logs, emulator)
    # Before 9.0 a QEMU that emulates the CPU may forget what it wrote while it migrates memory of a multiple of 64 pages.
    guest.memory_mib = 192.125
    with open(place.image, "wb") as f:
        f.truncate(SIZE + CHUNK)
    device, words = guest.words("rounds", seed, options=options)
    wire = place.socket + ".wire"
    sockets, control = [f"{place.socket}.{n}" for n in (1, 2)], [f"{place.socket}.qmp{n}" for n in (1, 2)]

    def run(name, n, *more):
        argv = guest.argv(sockets[n], device, words)
        return proc.Process(name, [*argv, "-qmp", f"unix:{control[n]},server=on,wait=off", *more], place.logs)

    with serve(place, "vhctl-from", sockets[0]) as there, serve(place, "vhctl-to", sockets[1]) as here:
        there.wait_for_socket(sockets[0])
        here.wait_for_socket(sockets[1])
        with run("guest-from", 0) as source, run("guest-to", 1, "-incoming", f"unix:{wire}") as target:
            target.wait_for_socket(wire, 60)
            source.wait_for(lambda: "guest: round 2" in source.output(), "second round", 180)
            qemu.qmp_command(control[0], "migrate", uri=f"unix:{wire}")
            source.wait_for(lambda: moved(control[0]), "end of the migration", 180)
            source.end()
            if not there.alive() or there.end():
                raise proc.Failed(f"the back-end that the guest left ended badly\n{there.tail()}")
            target.wait_for(lambda: target.output().count("guest: round") > 1, "round in the new place", 180)
            with open(place.image, "r+b") as f:  # the guest may end
                f.seek(SIZE)
                f.write(b"end")
            rc = target.wait(180)
            if rc != qemu.GUEST_OK:
                raise proc.Failed(f"the guest ended with {rc}\n{target.tail()}")
        if not here.alive() or here.end():
            raise proc.Failed(f"the back-end that the guest came to ended badly\n{here.tail()}")
    with open(place.image, "rb") as f:
        if f.read(SIZE) != pattern(seed, 0, SIZE):
            raise proc.Failed("the image does not hold what the guest wrote last")
    rounds = [process.output().count("guest: round") for process in (source, target)]
    return (f"Linux {guest.version} filled {SIZE >> 20} MiB and compared them, {rounds[0]} times in the first QEMU and {rounds[1]} in the "
            "second, writing while it moved; the image is what it wrote last")


def moved(control):
    status = qemu.qmp_command(control, "query-migrate").get("status")
    if status in ("failed", "cancelled"):
        raise proc.Failed(f"the migration {status}")
    return status == "completed"
