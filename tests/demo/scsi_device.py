# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A SCSI disk, read-only, as small as firmware that boots from it lets it be.

    scsi_device.py SOCKET FILE

VH_TRACE is as vhctl has it.
"""
import os
import signal
import struct
import sys

import vh

SCSI, REQUESTS = 8, 2  # virtio 1.2 section 5.6: the device's id; the queues below are for control and events
HEAD = 51  # bytes of struct virtio_scsi_req_cmd: lun, id, three bytes, 32 of cdb
GOOD, CHECK_CONDITION = 0, 2
NO_TARGET = 3
SECTOR = 512


class Disk(vh.Device):
    type = SCSI
    max_queues = REQUESTS + 1

    def __init__(self, fd):
        self.fd = fd
        self.sectors = os.fstat(fd).st_size // SECTOR
        self.resets = 0
        super().__init__()

    def reset(self, later):
        self.resets += 1

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch if index == REQUESTS else ():
            head = request.read(HEAD)
            status, data = self.command(head[19:]) if head[1] == 0 else (None, b"")
            response = (GOOD, NO_TARGET) if status is None else (status, 0)
            # struct virtio_scsi_resp_cmd, of which the sense data stays empty, then what was asked for
            request.write(struct.pack("<IIHBB96x", 0, 0, 0, *response) + data[:request.wr_len - 108])
        queue.push(batch)

    def command(self, cdb):
        """(status, data) of a command."""
        if cdb[0] == 0x00:  # TEST UNIT READY
            return GOOD, b""
        if cdb[0] == 0x12:  # INQUIRY: a disk
            return GOOD, struct.pack(">BBBBB3x8s16s4s", 0, 0, 5, 2, 31, b"libvh", b"disk in Python", b"1")
        if cdb[0] == 0x25:  # READ CAPACITY
            return GOOD, struct.pack(">II", self.sectors - 1, SECTOR)
        if cdb[0] == 0xA0:  # REPORT LUNS: number 0
            return GOOD, struct.pack(">I12x", 8)
        if cdb[0] == 0x28:  # READ
            at, count = struct.unpack(">xxIxH", cdb[:9])
            return GOOD, os.pread(self.fd, count * SECTOR, at * SECTOR)
        return CHECK_CONDITION, b""


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    fd = os.open(sys.argv[2], os.O_RDONLY)
    with Disk(fd) as disk, vh.Slave(disk) as slave, \
            open(os.environ.get("VH_TRACE", os.devnull), "a", encoding="utf-8") as trace:
        slave.set_trace(lambda message: print(message.json(), file=trace, flush=True))
        slave.listen(sys.argv[1])
        try:
            slave.serve()
        finally:
            print(f"resets: {disk.resets}", flush=True)


if __name__ == "__main__":
    main()
