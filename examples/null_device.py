# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A block device of one gigabyte that holds nothing, on a vhost-user socket: null_device.py SOCKET"""
import sys

import vh


class Null(vh.Device):
    type = vh.DeviceType.BLK
    config = (1 << 30 >> 9).to_bytes(8, "little")  # sectors

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch:
            request.write(bytes(request.wr_len))  # zeroes; the last one is the status
        queue.push(batch)


vh.serve(Null(), sys.argv[1])
