# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""An entropy device (virtio 1.2 section 5.4) on a vhost-user socket: rng_device.py SOCKET"""
import os
import sys

import vh


class Rng(vh.Device):
    type = 4  # of those that virtio has

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch:
            request.write(os.urandom(min(request.wr_len, 256)))  # the driver asks again for the rest
        queue.push(batch)


vh.serve(Rng(), sys.argv[1])
