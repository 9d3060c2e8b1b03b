# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Back-ends as processes: found by their JSON descriptions, asked for their capabilities, started with a socket, waited for
without a connection, ended without a trace. docs/launch.md shows how. It works without the C library.

    with vh.launch.start("qemu-storage-daemon --blockdev ... --export ...,addr.path={socket}") as b:
        disk = vh.Blk(b.path)
"""
from vh.launch.backend import GRACE, START_TIMEOUT, Backend, start
from vh.launch.installed import ASK_TIMEOUT, Capabilities, Description, capabilities, descriptions, discover, find, folders
from vh.launch.errors import BadOutput, Died, InUse, LaunchError, NotFound, TimedOut
from vh.launch.sockets import NAME_MAX, address, connect, listen, listening, reach, wait_listening

__all__ = [
    "ASK_TIMEOUT", "Backend", "BadOutput", "Capabilities", "Description", "Died", "GRACE", "InUse", "LaunchError", "NAME_MAX", "NotFound",
    "START_TIMEOUT", "TimedOut", "address", "capabilities", "connect", "descriptions", "discover", "find", "folders", "listen",
    "listening", "reach", "start", "wait_listening",
]
