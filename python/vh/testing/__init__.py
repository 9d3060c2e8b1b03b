# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A test kit for vhost-user peers in pure Python, on raw sockets.

`wire` packs and unpacks messages and moves them with their file descriptors; `peer` has a front-end that runs a whole
session by hand (memory, rings, block requests) and the skeleton of a back-end. Nothing is checked before it is sent:
a test may deviate from the protocol anywhere. `faults` is a bad line between two peers, `hostile` has back-ends
that mean ill, `machine` is a front-end that does anything that it may. Only the standard library is used, by `machine` hypothesis too.
"""

from vh.testing.peer import BackEnd, BlkRequest, FrontEnd, Memory, Queue, Ring
from vh.testing.wire import BE, BLK, FE, NET, PF, Closed, Conn, F, Msg, ProtocolError

__all__ = [
    "BE",
    "BLK",
    "BackEnd",
    "BlkRequest",
    "Closed",
    "Conn",
    "F",
    "FE",
    "FrontEnd",
    "Memory",
    "Msg",
    "NET",
    "PF",
    "ProtocolError",
    "Queue",
    "Ring",
]
