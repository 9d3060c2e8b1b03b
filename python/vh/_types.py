# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Virtio device types by name: the one table of them; vh.DeviceType has those that libvh has drivers for."""

from __future__ import annotations

TYPES = {"net": 1, "blk": 2, "console": 3, "rng": 4, "scsi": 8, "vsock": 19, "crypto": 20, "fs": 26}
