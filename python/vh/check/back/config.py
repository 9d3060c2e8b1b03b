# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The configuration space, the back-end's channel, status and reset."""

from __future__ import annotations

import socket

from vh.check.back.connect import refused
from vh.check.context import DRIVER_OK, FEATURES_OK, Context, space
from vh.check.core import MUST, ROBUST, SHOULD, USER, check, equal, require
from vh.testing import wire
from vh.testing.wire import FE

CONFIG = f"{USER}: Virtio device config space"
CHANNEL = f"{USER}: Back-end communication"


@check("config.read", MUST, CONFIG, "PF.CONFIG")
def read(c: Context) -> None:
    """GET_CONFIG is answered with the bytes that were asked for, and with their offset and size; each time the same."""
    fe = c.negotiated()
    equal(space(fe, 0, 8), space(fe, 0, 8), "the first 8 bytes, read again")


@check("config.offset", SHOULD, CONFIG, "PF.CONFIG", differs="libvhost-user ignores the offset, and QEMU always asks from 0 on")
def offset(c: Context) -> None:
    """A part of the configuration space that begins at an offset is that part of the whole."""
    fe = c.negotiated()
    whole = space(fe, 0, 24)
    require(len(set(whole)) > 1, "the first 24 bytes are all the same")
    for at, size in ((8, 8), (4, 16), (20, 4)):
        equal(space(fe, at, size), whole[at : at + size], f"{size} bytes at {at}")


@check("config.large", SHOULD, CONFIG, "PF.CONFIG")
def large(c: Context) -> None:
    """256 bytes may be asked for whatever the device has, as SPDK's front-end does: they come, or a refusal, not the end."""
    fe = c.negotiated()
    fe.call(FE.GET_CONFIG, wire.config(0, 256)).close()
    space(fe, 0, 8)


@check("config.outside", ROBUST, CONFIG, "PF.CONFIG")
def outside(c: Context) -> None:
    """What lies outside of the configuration space, or overflows, is not read: an empty reply, zeros, or the end."""
    for at, size in ((0xFFFFFFF0, 32), (250, 200), (4000, 8)):
        fe = c.negotiated()
        try:
            with fe.call(FE.GET_CONFIG, wire.config(at, size)) as msg:
                data = msg.payload[12:]
        except wire.ProtocolError:
            data = b""
        require(not any(data), f"{size} bytes at {at:#x} are not zeros: {data[:16].hex()}")
        fe.close()
        c.survives(f"GET_CONFIG of {size} bytes at {at:#x}")


@check("channel.accepted", MUST, CHANNEL, ("PF.BACKEND_REQ", "PF.REPLY_ACK"))
def accepted(c: Context) -> None:
    """A connected socket may be given for the back-end's own requests, and is kept open."""
    fe = c.negotiated()
    with fe.open_channel() as channel:
        fe.get_u64(FE.GET_FEATURES)
        require(channel.silent(0.05) or not _ended(channel), "the back-end closed the channel")


@check("channel.replaced", SHOULD, CHANNEL, ("PF.BACKEND_REQ", "PF.REPLY_ACK"))
def replaced(c: Context) -> None:
    """A second channel replaces the first, which is closed."""
    fe = c.negotiated()
    first = fe.open_channel()
    with first, fe.open_channel() as second:
        require(first.closed_by_peer(c.options.wait), "the first channel stays open")
        require(second.silent(0.05) or not _ended(second), "the second channel is closed")


def _ended(channel: wire.Conn) -> bool:
    try:
        return not channel.sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False


@check("channel.no-fd", SHOULD, CHANNEL, ("PF.BACKEND_REQ", "PF.REPLY_ACK"))
def no_fd(c: Context) -> None:
    """SET_BACKEND_REQ_FD without a socket is refused."""
    refused(c, c.negotiated(), FE.SET_BACKEND_REQ_FD)


@check("status.kept", MUST, f"{USER}: SET_STATUS, GET_STATUS", "PF.STATUS")
def kept(c: Context) -> None:
    """GET_STATUS tells what SET_STATUS said last."""
    fe = c.negotiated()
    for value in (FEATURES_OK, DRIVER_OK):
        fe.set_status(value)
        equal(fe.get_u64(FE.GET_STATUS) & value, value, "status")


@check("reset.again", MUST, f"{USER}: RESET_DEVICE", ("PF.RESET_DEVICE", "io"))
def again(c: Context) -> None:
    """After RESET_DEVICE the connection goes on, with what was negotiated, and rings can be started anew."""
    rig = c.rig()
    rig.io(2)
    rig.stop()
    rig.fe.do(FE.RESET_DEVICE)
    equal(rig.fe.get_u64(FE.GET_FEATURES), rig.fe.offered, "features after the reset")
    rig.fe.set_status(FEATURES_OK)
    rig.start()
    rig.io(2)


@check("reset.stops", MUST, f"{USER}: RESET_DEVICE", ("PF.RESET_DEVICE", "io"))
def stops(c: Context) -> None:
    """RESET_DEVICE disables all rings: what comes into one afterwards has no effect."""
    rig = c.rig()
    rig.io()
    rig.fe.do(FE.RESET_DEVICE)
    rig.submit()
    rig.fe.get_u64(FE.GET_FEATURES)
    rig.untouched()
