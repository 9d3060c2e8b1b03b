# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A block device on a file whose requests are all handled in Python.

    blk_device.py SOCKET FILE

Memory slots are not offered and each start is followed by news of the configuration, so that front-ends show here what
they do with a device like that; VH_TRACE is as vhctl has it.
"""
import errno
import os
import signal
import struct
import sys

import vh

OK, IOERR, UNSUPPORTED = 0, 1, 2  # virtio 1.2 section 5.2.6
WCE = 32  # in config space: whether the write cache is on


class FileDisk(vh.Device):
    type = vh.TYPE_BLK
    features = 1 << vh.BLK_F_FLUSH | 1 << vh.BLK_F_MQ | 1 << vh.BLK_F_CONFIG_WCE
    max_queues = 2

    def __init__(self, fd):
        self.fd = fd
        capacity = os.fstat(fd).st_size // vh.BLK_SECTOR
        # struct virtio_blk_config: capacity, wce, num_queues
        self.config = struct.pack("<Q24xBxH", capacity, 1, self.max_queues)
        super().__init__()

    def set_config(self, offset, data, flags, later):
        """Only the write cache can be switched."""
        if offset != WCE or data not in (b"\0", b"\1"):
            return -errno.EPERM
        self.config = self.config[:WCE] + data + self.config[WCE + 1:]
        return None

    def queue_started(self, queue, index):
        self.config_changed()

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch:
            kind, sector = struct.unpack("<I4xQ", request.read(16))
            room = request.wr_len - 1  # the last writable byte is the status
            try:
                status = OK
                if kind == vh.BLK_READ:
                    request.write(os.pread(self.fd, room, sector * vh.BLK_SECTOR))
                elif kind == vh.BLK_WRITE:
                    os.pwrite(self.fd, request.read(offset=16), sector * vh.BLK_SECTOR)
                    if not self.config[WCE]:
                        os.fdatasync(self.fd)
                elif kind == vh.BLK_FLUSH:
                    os.fdatasync(self.fd)
                elif kind == vh.BLK_GET_ID:
                    request.write(b"python".ljust(room, b"\0"))
                else:
                    status = UNSUPPORTED
            except OSError as e:
                status = IOERR
                self.error(index, -e.errno)
            request.write(bytes([status]), room)
        queue.push(batch)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    fd = os.open(sys.argv[2], os.O_RDWR)
    with FileDisk(fd) as disk, vh.Slave(disk, mask_protocol_features=1 << vh.PF_CONFIGURE_MEM_SLOTS) as slave, \
            open(os.environ.get("VH_TRACE", os.devnull), "a", encoding="utf-8") as trace:
        slave.set_trace(lambda message: print(message.json(), file=trace, flush=True))
        slave.listen(sys.argv[1])
        slave.serve()


if __name__ == "__main__":
    main()
