# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A network device that hears what the guest sends, and what QEMU says of it.

    net_device.py SOCKET

It says each thing once: source and type of a frame, the MTU, the address that is announced. VH_TRACE is as vhctl has it.
"""
import os
import signal
import sys

import vh

TX = 1  # the queue; nothing ever arrives on the other
HEAD = 12  # bytes of struct virtio_net_hdr_v1
MTU = 3  # feature bit of a network device


class Ear(vh.Device):
    type = vh.TYPE_NET
    features = 1 << MTU
    max_queues = 2

    def __init__(self):
        self.said = set()
        super().__init__()

    def say(self, *words):
        if words not in self.said:
            self.said.add(words)
            print(*words, flush=True)

    def set_mtu(self, mtu, later):
        self.say("mtu", mtu)

    def send_rarp(self, mac, later):
        self.say("guest", mac.hex())

    def on_batch(self, queue, index, budget):
        if index != TX:
            return
        batch = queue.pop(budget)
        for request in batch:
            frame = request.read(14, offset=HEAD)
            self.say("frame", frame[6:12].hex(), frame[12:].hex())
        queue.push(batch)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Ear() as ear, vh.Slave(ear) as slave, open(os.environ.get("VH_TRACE", os.devnull), "a", encoding="utf-8") as trace:
        slave.set_trace(lambda message: print(message.json(), file=trace, flush=True))
        slave.listen(sys.argv[1])
        slave.serve()


if __name__ == "__main__":
    main()
