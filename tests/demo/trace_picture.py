#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""docs/img/trace.svg: a front-end with a mistake in it, in front of vhctl's block device, as the tracer saw them.

    . build/env.sh && tests/demo/trace_picture.py build/vhctl docs/img/trace.svg
"""
import os
import subprocess
import sys
import tempfile

from vh.testing import FE, BlkRequest, FrontEnd, Memory, Queue
from vh.trace import Tracer
from vh.trace.picture import picture

BLK = 2  # virtio's number of block devices


def session(fe):
    """The usual beginning, one read, and then a ring is made larger that runs."""
    with Memory(1 << 20) as mem, Queue(mem, 0, 64) as queue:
        fe.negotiate()
        fe.set_mem_table([mem])
        fe.get_config(0, 24)
        fe.start(queue)
        queue.submit(BlkRequest.read(mem, 0, 4096).chain)
        queue.wait()
        fe.vring_state(FE.SET_VRING_NUM, 0, 100)


def main():
    vhctl, out = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        front, back = os.path.join(folder, "front"), os.path.join(folder, "back")
        with subprocess.Popen([vhctl, "serve", "blk", "--socket", back, "--ram", "16M"], stderr=subprocess.PIPE) as server:
            server.stderr.readline()
            with Tracer(front, back, once=True) as tracer, FrontEnd.connect(front) as fe:
                try:
                    session(fe)
                except Exception as e:  # pylint: disable=broad-except
                    print(f"as it should be, the back-end refuses: {e}")
            server.terminate()
    with open(out, "w", encoding="utf-8") as f:
        f.write(picture(tracer.messages, "vhctl trace --listen front --connect back --type blk", BLK))


if __name__ == "__main__":
    main()
