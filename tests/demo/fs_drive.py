# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A file system in user space, as far as its first words: FUSE_INIT, then the names in its root and the bytes of a file.

    fs_drive.py SOCKET split|packed NAME

Prints the names of the directory, and what the file of that name holds. VH_TRACE is as vhctl has it.
"""
import os
import struct
import sys

import vh

# The kernel's interface to file systems in user space, linux/fuse.h.
LOOKUP, OPEN, READ, RELEASE, INIT, OPENDIR, READDIR, RELEASEDIR = 1, 14, 15, 18, 26, 27, 28, 29
ROOT = 1
IN, OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
ROOM, WAIT = 1 << 16, 10


class Fuse:
    def __init__(self, driver):
        self.queue = driver.queue(1)  # 0 is for requests that go before others
        self.ask, self.room = driver.alloc(ROOM), driver.alloc(ROOM)
        self.unique = 0

    def call(self, opcode, node, body=b""):
        """One request to its end; the answer behind its header."""
        self.unique += 2
        data = IN.pack(IN.size + len(body), opcode, self.unique, node, 0, 0, 0, 0) + body
        self.ask[:len(data)] = data
        readable = [self.ask[:IN.size], self.ask[IN.size:len(data)]] if body else [self.ask[:IN.size]]
        assert self.queue.submit([(readable, [self.room[:OUT.size], self.room[OUT.size:]], opcode)]) == 1
        while not (done := self.queue.reap(1)):
            assert self.queue.wait(WAIT), f"no answer to request {opcode}"
        length, error, unique = OUT.unpack_from(self.room)
        assert (done[0].user, unique, length) == (opcode, self.unique, done[0].written), "the answer to something else"
        assert not error, f"request {opcode}: {os.strerror(-error)}"
        return bytes(self.room[OUT.size:length])

    def init(self):
        answer = self.call(INIT, 0, struct.pack("<IIII", 7, 31, 1 << 16, 0))
        return struct.unpack_from("<II", answer)

    def names(self):
        handle = self.call(OPENDIR, ROOT, struct.pack("<II", os.O_RDONLY, 0))[:8]
        found, offset = [], 0
        while data := self.call(READDIR, ROOT, handle + struct.pack("<QIIQII", offset, 4096, 0, 0, 0, 0)):
            at = 0
            while at < len(data):
                _, offset, length, _ = struct.unpack_from("<QQII", data, at)
                found.append(data[at + 24:at + 24 + length].decode())
                at += 24 + (length + 7 & ~7)
        self.call(RELEASEDIR, ROOT, handle + struct.pack("<IIQ", 0, 0, 0))
        return sorted(set(found) - {".", ".."})

    def content(self, name):
        node = struct.unpack_from("<Q", self.call(LOOKUP, ROOT, name.encode() + b"\0"))[0]
        handle = self.call(OPEN, node, struct.pack("<II", os.O_RDONLY, 0))[:8]
        parts, offset = [], 0
        while data := self.call(READ, node, handle + struct.pack("<QIIQII", offset, 8192, 0, 0, 0, 0)):
            parts.append(data)
            offset += len(data)
        self.call(RELEASE, node, handle + struct.pack("<IIQ", 0, 0, 0))
        return b"".join(parts)


def main():
    path, layout, name = sys.argv[1:]
    with open(os.environ.get("VH_TRACE", os.devnull), "a", encoding="utf-8") as trace, vh.Master() as master:
        master.set_trace(lambda message: print(message.json(), file=trace, flush=True))
        master.connect(path)
        mask = 0 if layout == "packed" else 1 << vh.F_RING_PACKED
        driver = vh.Driver(master, n_queues=2, mask_features=mask)
        driver.start()
        fuse = Fuse(driver)
        print("version %d.%d" % fuse.init())
        print(" ".join(fuse.names()))
        print(fuse.content(name).hex())
        driver.stop()
        fuse = None
        driver.close()


if __name__ == "__main__":
    main()
