# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The least device of a kind of one's own: it answers each request with the request. echo_device.py SOCKET"""
import sys

import vh


class Echo(vh.Device):
    type = 63  # none of virtio's; a driver has to know it

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch:
            request.write(request.read()[:request.wr_len])
        queue.push(batch)


vh.serve(Echo(), sys.argv[1])
