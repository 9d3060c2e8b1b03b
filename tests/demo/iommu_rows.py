# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A Linux guest whose disk is behind an IOMMU."""
import json

import ext4
import proc
import qemu
from pattern import pattern


def _check(right, what):
    if not right:
        raise proc.Failed(what)


def _bytes(path):
    with open(path, "rb") as f:
        return f.read()


def row_guest(place, rng):
    """The guest's kernel maps each request by itself, and takes its addresses back when it is done."""
    size, seed = 4 << 20, rng.getrandbits(32)
    guest = qemu.IommuGuest(place.logs)
    ext4.make(place.image, 24 << 20, {"host": pattern(seed, 0, size)})
    with place.serve("--queues", "2", "--iommu", "on") as server:
        server.wait_for_socket(place.socket)
        guest.boot(place.socket, "mount", seed, queues=2, packed=True)
        ext4.check(place.image)
        _check(ext4.read(place.image, "guest") == pattern(seed + 1, 0, size), "the guest's file is not what it wrote")
        guest.boot(place.socket, "write", seed, queues=2)
        _check(server.alive(), f"the back-end ended\n{server.tail()}")
        _check(_bytes(place.image) == pattern(seed, 0, 24 << 20), "the image does not hold what the guest wrote")
    with open(place.trace, encoding="utf-8") as f:
        types = [message["payload"]["type"] for message in map(json.loads, f) if message["req"] == "IOTLB_MSG"
                 and message["payload"] and "type" in message["payload"]]
    updates, invalidations = types.count(2), types.count(3)
    _check(updates > 20 and invalidations > 20, f"only {updates} updates and {invalidations} invalidations")
    return (f"Linux {guest.version} behind intel-iommu: mounted an ext4 over packed rings, compared a file of {size >> 20} MiB and "
            f"wrote another; wrote 24 MiB over split ones; {updates} updates, {invalidations} invalidations")
