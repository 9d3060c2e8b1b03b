# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A guest that writes to its disk all the time: it moves from one QEMU to another, each with a back-end of its own, with its
memory or before it; or its back-end is replaced under it."""
import contextlib

import proc
import qemu
from pattern import pattern

CHUNK = 256 << 10  # of tests/lab/guest.c
SIZE = 4 << 20


def serve(place, name, path, *options):
    return proc.Process(name, [place.vhctl, "serve", "blk", "--socket", path, "--file", place.image, *options], place.logs)


def rounds(process):
    return process.output().count("guest: round")


class Busy:
    """The guest, its image, and how it is made to end."""

    def __init__(self, place, rng, emulator=(qemu.QEMU,), options="", packed=False):
        self.place, self.seed = place, rng.getrandbits(32)
        self.guest = qemu.BlockGuest(place.logs, emulator)
        # Before 9.0 a QEMU that emulates the CPU may forget what it wrote while it migrates memory of a multiple of 64 pages.
        self.guest.memory = f"{(192 << 10) + 128}K"
        self.device, self.words = self.guest.words("rounds", self.seed, packed=packed, options=options)
        with open(place.image, "wb") as f:
            f.truncate(SIZE + CHUNK)

    def run(self, name, socket, *more):
        return proc.Process(name, [*self.guest.argv(socket, self.device, self.words), *more], self.place.logs)

    def finish(self, process):
        with open(self.place.image, "r+b") as f:
            f.seek(SIZE)
            f.write(b"end")
        rc = process.wait(180)
        if rc != qemu.GUEST_OK:
            raise proc.Failed(f"the guest ended with {rc}\n{process.tail()}")

    def check_image(self):
        with open(self.place.image, "rb") as f:
            if f.read(SIZE) != pattern(self.seed, 0, SIZE):
                raise proc.Failed("the image does not hold what the guest wrote last")


def end(server, what):
    if not server.alive() or server.end():
        raise proc.Failed(f"the back-end {what} ended badly\n{server.tail()}")


def row_guest(place, rng, emulator=(qemu.QEMU,), options="", postcopy=False):
    busy = Busy(place, rng, emulator, options)
    wire = place.socket + ".wire"
    sockets, control = [f"{place.socket}.{n}" for n in (1, 2)], [f"{place.socket}.qmp{n}" for n in (1, 2)]
    switch = ["--postcopy"] * postcopy

    def run(name, n, *more):
        return busy.run(name, sockets[n], "-qmp", f"unix:{control[n]},server=on,wait=off", *more)

    with serve(place, "vhctl-from", sockets[0], *switch) as there, serve(place, "vhctl-to", sockets[1], *switch) as here:
        there.wait_for_socket(sockets[0])
        here.wait_for_socket(sockets[1])
        with run("guest-from", 0) as source, run("guest-to", 1, "-incoming", f"unix:{wire}") as target:
            target.wait_for_socket(wire, 60)
            source.wait_for(lambda: "guest: round 2" in source.output(), "second round", 180)
            if postcopy:
                before_its_memory(control, source)
            qemu.qmp_command(control[0], "migrate", uri=f"unix:{wire}")
            if postcopy:
                source.wait_for(lambda: status(control[0])["status"] in ("active", "completed"), "begin of the migration", 60)
                qemu.qmp_command(control[0], "migrate-start-postcopy")
            source.wait_for(lambda: status(control[0])["status"] == "completed", "end of the migration", 180)
            asked = status(control[0])["ram"]["postcopy-requests"]
            source.end()
            end(there, "that the guest left")
            target.wait_for(lambda: rounds(target) > 1, "round in the new place", 180)
            busy.finish(target)
        end(here, "that the guest came to")
    busy.check_image()
    if postcopy and not asked:
        raise proc.Failed("all memory came before anybody asked for it")
    return (f"Linux {busy.guest.version} filled {SIZE >> 20} MiB and compared them, {rounds(source)} times in the first QEMU and "
            f"{rounds(target)} in the second, writing while it moved; the image is what it wrote last"
            + (f"; {asked} pages were asked for before they came" if postcopy else ""))


def row_postcopy(place, rng):
    return row_guest(place, rng, postcopy=True)


def before_its_memory(control, process):
    """So slow that most of the memory is on its way yet when the guest goes on."""
    for path in control:
        process.wait_for_socket(path, 60)
        qemu.qmp_command(path, "migrate-set-capabilities", capabilities=[{"capability": "postcopy-ram", "state": True}])
    qemu.qmp_command(control[0], "migrate-set-parameters", **{"max-bandwidth": 4 << 20})


def status(control):
    said = qemu.qmp_command(control, "query-migrate")
    if said.get("status") in ("failed", "cancelled"):
        raise proc.Failed(f"the migration {said}")
    return {"status": "", **said}


def row_upgrade(place, rng):
    """Twice a new program takes the place of the one that serves."""
    busy = Busy(place, rng, packed=True)

    def successor(n):
        return serve(place, f"vhctl-{n}", place.socket, "--handover", place.socket + ".handover")

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(successor(0))
        server.wait_for_socket(place.socket)
        guest = stack.enter_context(busy.run("guest", place.socket))
        for n in (1, 2):
            guest.wait_for(lambda n=n: rounds(guest) >= 2 * n, "round", 180)
            old, server = server, stack.enter_context(successor(n))
            if old.wait(60):
                raise proc.Failed(f"the back-end that was replaced ended badly\n{old.tail()}\n{server.tail()}")
        guest.wait_for(lambda: rounds(guest) >= 6, "round of the last back-end", 180)
        busy.finish(guest)
        end(server, "that came last")
    busy.check_image()
    return (f"Linux {busy.guest.version} filled {SIZE >> 20} MiB and compared them, {rounds(guest)} times over packed rings, while its "
            "back-end was replaced twice; the image is what it wrote last")
