# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Devices that do what they should, for front-ends that are checked: a disk in memory, and a network that gives back."""

from __future__ import annotations

import contextlib
import struct
import threading
from typing import Any, Callable, Iterator

import vh
from vh.testing.peer import BLK_T_FLUSH, BLK_T_GET_ID, BLK_T_IN, BLK_T_OUT, SECTOR
from vh.testing.wire import BLK, bits

OK, IOERR, UNSUPP = 0, 1, 2


class Disk(vh.Device):
    """A disk in memory, of zeros at first."""

    type = vh.DeviceType.BLK
    features = bits(BLK.FLUSH, BLK.MQ)
    max_queues = 4

    def __init__(self, size: int = 16 << 20):
        self.data = bytearray(size)
        self.config = struct.pack("<Q", size // SECTOR) + bytes(26) + struct.pack("<H", self.max_queues) + bytes(24)
        super().__init__()

    def on_batch(self, queue: Any, index: int, budget: int) -> None:
        batch = queue.pop(budget)
        for request in batch:
            if request.wr_len:
                status = self._do(request) if request.rd_len >= 16 else IOERR
                request.write(bytes([status]), request.wr_len - 1)
        queue.complete(batch, None)

    def _do(self, request: Any) -> int:
        kind, _, sector = struct.unpack("<IIQ", request.read(16))
        at, n = sector * SECTOR, (request.rd_len - 16 if kind == BLK_T_OUT else request.wr_len - 1)
        if kind in (BLK_T_IN, BLK_T_OUT) and (n % SECTOR or at + n > len(self.data)):
            return IOERR
        if kind == BLK_T_IN:
            request.write(self.data[at : at + n])
        elif kind == BLK_T_OUT:
            self.data[at : at + n] = request.read(offset=16)
        elif kind == BLK_T_GET_ID:
            request.write(b"vh.check".ljust(20, b"\0")[:n])
        elif kind != BLK_T_FLUSH:
            return UNSUPP
        return OK


MAKES: dict[str, Callable[[], vh.Device]] = {
    "blk": Disk,
    "net": lambda: vh.NetDev.loopback(mac="52:54:00:76:68:01", mtu=1500, pairs=1),
}


@contextlib.contextmanager
def serving(kind: str, path: str) -> Iterator[vh.Slave]:
    """Such a device at a path, served by a thread."""
    with MAKES[kind]() as device, vh.Slave(device) as slave:
        slave.listen(path)
        thread = threading.Thread(target=slave.serve, name="vh.check reference", daemon=True)
        thread.start()
        try:
            yield slave
        finally:
            slave.stop()
            thread.join(10)


def main(words: list[str]) -> int:
    """python3 -m vh.check.reference blk|net PATH: until it is told to end."""
    with MAKES[words[0]]() as device, vh.Slave(device) as slave:
        slave.listen(words[1])
        slave.serve()
    return 0


if __name__ == "__main__":
    import signal
    import sys

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(main(sys.argv[1:]))
