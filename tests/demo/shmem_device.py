# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A disk, read-only, with a region of shared memory, into which it maps a page of a file, twice, once firmware boots from it.

    shmem_device.py SOCKET FILE

It says what the front-end answered to each request; SIGUSR1 has it take them away again. VH_TRACE is as vhctl has it.
"""
import os
import signal
import struct
import sys

import vh

PAGE, REGION = 4096, 1 << 20
FIRST, SECOND = (vh.ShmemMap(0, at * PAGE, PAGE, PAGE, 1) for at in (2, 7))


class Disk(vh.Device):
    type = vh.TYPE_BLK
    shmem = {0: REGION}

    def __init__(self, fd):
        self.fd = fd
        self.config = struct.pack("<Q52x", os.fstat(fd).st_size // vh.BLK_SECTOR)
        self.served = 0
        super().__init__()

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch:
            kind, sector = struct.unpack("<I4xQ", request.read(16))
            room = request.wr_len - 1
            if kind == vh.BLK_READ:
                request.write(os.pread(self.fd, room, sector * vh.BLK_SECTOR))
            request.write(bytes([0 if kind == vh.BLK_READ else 2]), room)
            self.served += 1
        queue.push(batch)


def ask(slave, what, ticket):
    """Say how it ended: 0, or a negative errno value."""
    try:
        slave.reply_to(ticket)
        print(what, 0, flush=True)
    except vh.VhError as e:
        print(what, -e.errno, flush=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    fd = os.open(sys.argv[2], os.O_RDONLY)
    pages = os.memfd_create("shmem")
    os.truncate(pages, 2 * PAGE)
    os.pwrite(pages, b"a page of libvh", PAGE)
    with Disk(fd) as disk, vh.Slave(disk) as slave, open(os.environ.get("VH_TRACE", os.devnull), "a", encoding="utf-8") as trace:
        slave.set_trace(lambda message: print(message.json(), file=trace, flush=True))
        slave.listen(sys.argv[1])
        while not disk.served:
            slave.wait(1)
        ask(slave, "mapped", slave.shmem_map(FIRST, pages))
        ask(slave, "mapped over it", slave.shmem_map(FIRST, pages))
        ask(slave, "mapped", slave.shmem_map(SECOND, pages))
        os.pwrite(pages, b"the page", PAGE)  # after it was mapped: it is shared, no copy
        print("written", flush=True)
        while not signal.sigtimedwait({signal.SIGUSR1}, 0.01):
            slave.wait(0)
        ask(slave, "unmapped", slave.shmem_unmap(FIRST))
        ask(slave, "unmapped again", slave.shmem_unmap(FIRST))
        ask(slave, "unmapped", slave.shmem_unmap(SECOND))
        print("over", flush=True)
        slave.serve()


if __name__ == "__main__":
    main()
