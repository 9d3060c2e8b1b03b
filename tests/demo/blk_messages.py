# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Say to a back-end of block devices what a driver session has no reason to say, and see that it does it.

    blk_messages.py SOCKET

Memory is shared as one table, regions are taken back, the write cache is switched off, there is an fd for errors.
VH_TRACE is as vhctl has it.
"""
import os
import sys

import vh

MIB = 1 << 20
WCE = 32  # offset in struct virtio_blk_config: whether the write cache is on


def connected(trace, **options):
    master = vh.Master(**options)
    master.set_trace(lambda message: print(message.json(), file=trace, flush=True))
    master.connect(sys.argv[1])
    return master


def single_messages(master):
    assert master.negotiate() & vh.Features.VERSION_1
    with vh.Memory() as memory:
        for n in range(3):
            memory.alloc(n * MIB, MIB)
        regions = memory.regions()
        master.set_mem(memory)
        master.remove_mem_region(regions[1])
        master.add_mem_region(memory, 1)
        err = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        master.set_vring_err(0, err)
        os.close(err)
        for on in (b"\0", b"\1"):
            master.set_config(WCE, on)
            assert master.get_config(WCE, 1) == on, "the write cache is not as it was set"


def a_table_of_memory(master):
    with vh.Blk(master) as disk:
        for seed in range(4):
            data = bytes([seed * 37 + 1]) * 8192
            disk.write(seed * 65536, data)
            disk.flush()
            assert disk.read(seed * 65536, len(data)) == data, f"other bytes at {seed * 65536}"


def main():
    with open(os.environ.get("VH_TRACE", os.devnull), "a", encoding="utf-8") as trace:
        with connected(trace) as master:
            single_messages(master)
        with connected(trace, mask_protocol_features=1 << vh.PF_CONFIGURE_MEM_SLOTS) as master:
            a_table_of_memory(master)


if __name__ == "__main__":
    main()
