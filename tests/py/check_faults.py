# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Mistakes of back-ends, one for each check: what sits between `vhctl serve` and the check, and changes what goes by."""
import os
import socket
import struct

import check_devices
from check_middle import Middle
from vh.check.targets import Target, Unreachable
from vh.testing import wire
from vh.testing.wire import FE, PF, F, Msg, bits

U64 = "U64"


class Faulty(Target):
    """A back-end behind a fault. Its process is that of the real one, unless the fault is about this process."""

    def __init__(self, real, fault):
        self.real, self.fault, self.middles, self.dead = real, fault, [], False
        self.name, self.one_shot = f"faulty {real.name}", False
        self.leaks, self.once = [], getattr(fault, "once", False)

    @property
    def pid(self):
        return os.getpid() if getattr(self.fault, "here", False) else self.real.pid

    def connect(self, timeout):
        if self.dead or (self.once and self.middles):
            raise Unreachable("the back-end is gone")
        ours, theirs = socket.socketpair()
        middle = Middle(theirs, self.real.connect(timeout), self._alter, getattr(self.fault, "greedy", False),
                        getattr(self.fault, "whole", False), self._over)
        self.middles.append(middle)
        return ours

    def _alter(self, middle, to_back, msg):
        middle.target = self
        if to_back:
            middle.seen.append(Msg(msg.request, msg.flags, msg.payload))
        return self.fault(middle, to_back, msg)

    def _over(self, middle, partial):
        if getattr(self.fault, "fatal", lambda *_: False)(middle, partial):
            self.dead = True

    def settle(self, timeout):
        """All connections of the check are closed."""
        for middle in self.middles:
            middle.join()

    def died(self):
        return "the back-end died" if self.dead else self.real.died()

    def close(self):
        for middle in self.middles:
            middle.close()
        for fd in self.leaks:
            os.close(fd)


# --- what makes faults ----------------------------------------------------------------------------------------------


def changed(msg, payload):
    return Msg(msg.request, msg.flags, payload, msg.take())


def status(middle, msg, value=0):
    """The back-end's status in its place, when it is asked for."""
    if msg.flags & wire.NEED_REPLY:
        middle.answer(msg, wire.pack(U64, value=value))
    return []


def of_request(request, what, when=lambda middle, msg: True):
    """what(middle, msg) for that request."""
    def fault(middle, to_back, msg):
        return what(middle, msg) if to_back and msg.request == request and when(middle, msg) else None
    return fault


def of_reply(request, what, when=lambda middle: True):
    def fault(middle, to_back, msg):
        return what(middle, msg) if not to_back and msg.request == request and when(middle) else None
    return fault


def reply_value(request, change, when=lambda middle: True):
    return of_reply(request, lambda _, msg: [changed(msg, wire.pack(U64, value=change(msg.u64)))], when)


def request_value(request, change):
    return of_request(request, lambda _, msg: [changed(msg, wire.pack(U64, value=change(msg.u64)))])


def state(request, change, when=lambda middle, fields: True):
    """The fields of a VRING_STATE request, changed."""
    def what(middle, msg):
        fields = msg.fields("VRING_STATE")
        return [changed(msg, wire.pack("VRING_STATE", **change(fields)))] if when(middle, fields) else None
    return of_request(request, what)


def base_reply(change):
    def what(_, msg):
        fields = msg.fields("VRING_STATE")
        return [changed(msg, wire.pack("VRING_STATE", index=fields["index"], num=change(fields["num"])))]
    return of_reply(FE.GET_VRING_BASE, what)


def says(request, value, when=lambda middle, msg: True):
    """The request is not passed on; its status is this."""
    return of_request(request, lambda middle, msg: status(middle, msg, value), when)


def ends(request, when=lambda middle, msg: True):
    """The connection ends."""
    return of_request(request, lambda middle, msg: middle.end(), when)


def dies(request, when=lambda middle, msg: True):
    """The back-end ends, and is not started again."""
    def what(middle, msg):
        middle.target.dead = True
        middle.end()
    return of_request(request, what, when)


def sent(middle, request):
    """How often the front-end has sent this one, with the one that is just looked at."""
    return sum(m.request == request for m in middle.seen)


def marked(**marks):
    def fault(middle, to_back, msg):
        return None
    for name, value in marks.items():
        setattr(fault, name, value)
    return fault


def table(change):
    """The regions of SET_MEM_TABLE, changed; fds as many as there are regions."""
    def what(_, msg):
        regions = change(msg.fields()["regions"])
        fds = msg.take()
        for fd in fds[len(regions):]:
            os.close(fd)
        return [Msg(msg.request, msg.flags, wire.mem_table(regions), fds[:len(regions)])]
    return of_request(FE.SET_MEM_TABLE, what)


#: nothing that needs I/O works
never_enabled = state(FE.SET_VRING_ENABLE, lambda f: {**f, "num": 0})


# --- the faults -----------------------------------------------------------------------------------------------------


def _reply_flags(middle, msg):
    return [Msg(msg.request, msg.flags | 2, msg.payload)]


def _double(_, msg):
    return [msg, Msg(msg.request, msg.flags, msg.payload)]


def _extra_status(middle, msg):
    if not msg.flags & wire.NEED_REPLY:
        middle.answer(msg, wire.pack(U64, value=0))


def _leak(middle, msg):
    middle.target.leaks.append(os.dup(middle.front.fileno()))


def _base_without_stop(middle, msg):
    middle.answer(msg, wire.pack("VRING_STATE", index=msg.fields()["index"], num=1))
    return []


def _enabled_by_kick(_, msg):
    return [msg, Msg(FE.SET_VRING_ENABLE, wire.VERSION, wire.pack("VRING_STATE", index=msg.u64 & 0xFF, num=1))]


def _stops_all(_, msg):
    return [Msg(FE.SET_VRING_ENABLE, wire.VERSION, wire.pack("VRING_STATE", index=1, num=0)), msg]


def _nofd(_, msg):
    return bool(msg.u64 & wire.VRING_NOFD)


def _twice(request):
    return lambda middle, msg: sent(middle, request) > 1


_leak_of_table = of_request(FE.SET_MEM_TABLE, _leak)
_leak_of_connection = of_request(FE.SET_OWNER, _leak)
_leak_of_table.here = _leak_of_connection.here = True


def _offset_lost(middle, to_back, msg):
    """As libvhost-user has it: the bytes from 0 on, whatever the offset."""
    if msg.request != FE.GET_CONFIG:
        return None
    fields = msg.fields("CONFIG")
    if to_back:
        middle.offset = fields["offset"]
        return [changed(msg, wire.config(0, fields["size"], 0, fields["data"]))]
    return [changed(msg, wire.config(middle.offset, fields["size"], 0, fields["data"]))]


def _config_reply(change):
    def what(_, msg):
        fields = msg.fields("CONFIG")
        return [changed(msg, wire.config(fields["offset"], fields["size"], 0, change(fields["data"])))]
    return of_reply(FE.GET_CONFIG, what)


def _capacity(data):
    return struct.pack("<Q", struct.unpack_from("<Q", data)[0] + 1) + data[8:]


def _small_records(_, msg):
    fields = msg.fields("INFLIGHT")
    return [changed(msg, wire.pack("INFLIGHT", **{**fields, "mmap_size": 8}))]


def _logging(_, msg):
    return msg.fields()["flags"] & 1


def fatal(condition=lambda middle, partial: True):
    """The back-end ends when a connection ends for which that holds."""
    return marked(fatal=condition)


def had(*requests, n=1):
    return lambda middle, _: sum(m.request in requests for m in middle.seen) >= n


started = had(FE.SET_VRING_KICK)
PACKED = bits(F.RING_PACKED)

#: check -> a fault by which it has to turn red
FAULTS = {
    "connect.reply": of_reply(FE.GET_FEATURES, _reply_flags),
    "connect.again": marked(once=True),
    "connect.steady": reply_value(FE.GET_FEATURES, lambda v: v & ~bits(F.RING_INDIRECT_DESC), lambda m: sent(m, FE.SET_FEATURES)),
    "connect.pieces": marked(whole=True),
    "connect.together": marked(greedy=True),
    "features.version-1": reply_value(FE.GET_FEATURES, lambda v: v & ~bits(F.VERSION_1)),
    "features.protocol": reply_value(FE.GET_FEATURES, lambda v: v & ~bits(F.PROTOCOL_FEATURES)),
    "features.known": reply_value(FE.GET_PROTOCOL_FEATURES, lambda v: v | 1 << 40),
    "features.depends": reply_value(FE.GET_PROTOCOL_FEATURES, lambda v: (v | bits(PF.SHMEM)) & ~bits(PF.BACKEND_REQ)),
    "features.protocol-first": ends(FE.GET_PROTOCOL_FEATURES, lambda m, _: not sent(m, FE.SET_FEATURES)),
    "features.protocol-later": ends(FE.GET_PROTOCOL_FEATURES, lambda m, _: sent(m, FE.SET_FEATURES)),
    "features.few": ends(FE.SET_FEATURES, lambda m, msg: not msg.u64 & bits(F.RING_INDIRECT_DESC)),
    "features.not-offered": says(FE.SET_FEATURES, 0),
    "features.queues": reply_value(FE.GET_QUEUE_NUM, lambda v: 0),
    "ack.status": says(FE.SET_VRING_BASE, 5),
    "ack.silent": of_request(FE.SET_VRING_BASE, _extra_status),
    "ack.once": of_reply(FE.GET_FEATURES, _double, lambda m: m.seen[-1].flags & wire.NEED_REPLY),
    "ack.flags": of_reply(FE.GET_FEATURES, lambda _, msg: [Msg(msg.request, msg.flags | 8, msg.payload)],
                          lambda m: m.seen[-1].flags & wire.NEED_REPLY),
    "ack.refusal": says(FE.SET_VRING_NUM, 0),
    "mem.table": table(lambda r: [(g + (1 << 30), *rest) for g, *rest in r]),
    "mem.regions": table(lambda r: [(*most, 0) for *most, _ in r]),
    "mem.eight": says(FE.SET_MEM_TABLE, 1, lambda _, msg: len(msg.fds) > 7),
    "mem.adjoining": table(lambda r: r[:-1]),
    "mem.replace": says(FE.SET_MEM_TABLE, 0, _twice(FE.SET_MEM_TABLE)),
    "mem.slots": reply_value(FE.GET_MAX_MEM_SLOTS, lambda v: 0),
    "mem.all-slots": says(FE.ADD_MEM_REG, 1, lambda m, _: sent(m, FE.ADD_MEM_REG) > 2),
    "mem.add-remove": says(FE.ADD_MEM_REG, 0),
    "mem.added-only": says(FE.ADD_MEM_REG, 0),
    "mem.remove-with-fd": ends(FE.REM_MEM_REG, lambda _, msg: msg.fds),
    "mem.remove-unknown": says(FE.REM_MEM_REG, 0),
    "mem.overlap": says(FE.ADD_MEM_REG, 0),
    "mem.short-file": says(FE.SET_MEM_TABLE, 0),
    "mem.files-closed": _leak_of_table,
    "ring.io": says(FE.SET_VRING_CALL, 0),
    "ring.no-kick": never_enabled,
    "ring.base": base_reply(lambda v: v + 1),
    "ring.base-given": state(FE.SET_VRING_BASE, lambda f: {**f, "num": 0}),
    "ring.base-wraps": base_reply(lambda v: v | 0x10000),
    "ring.around": state(FE.SET_VRING_NUM, lambda f: {**f, "num": 2 * f["num"]}),
    "ring.stop-start": state(FE.SET_VRING_BASE, lambda f: {**f, "num": 0}),
    "ring.stopped": of_request(FE.GET_VRING_BASE, _base_without_stop),
    "ring.never-started": base_reply(lambda v: 0),
    "ring.disabled": of_request(FE.SET_VRING_KICK, _enabled_by_kick),
    "ring.disable": says(FE.SET_VRING_ENABLE, 0, lambda m, _: sent(m, FE.SET_VRING_ENABLE) > 2),
    "ring.always-enabled": request_value(FE.SET_FEATURES, lambda v: v | bits(F.PROTOCOL_FEATURES)),
    "ring.new-call": says(FE.SET_VRING_CALL, 0, _twice(FE.SET_VRING_CALL)),
    "ring.no-call": ends(FE.SET_VRING_CALL, _nofd),
    "ring.sizes": says(FE.SET_VRING_NUM, 1, lambda _, msg: msg.fields()["num"] > 128),
    "ring.all-queues": says(FE.SET_VRING_ENABLE, 0, lambda _, msg: msg.fields()["index"] > 0),
    "ring.others-go-on": of_request(FE.GET_VRING_BASE, _stops_all),
    "ring.indirect": request_value(FE.SET_FEATURES, lambda v: v & ~bits(F.RING_INDIRECT_DESC)),
    "ring.event-idx": says(FE.SET_VRING_CALL, 0),
    "ring.event-idx-quiet": request_value(FE.SET_FEATURES, lambda v: v & ~bits(F.RING_EVENT_IDX)),
    "ring.order-of-setup": says(FE.SET_VRING_KICK, 0, lambda m, _: not sent(m, FE.SET_VRING_CALL)),
    "packed.around": request_value(FE.SET_FEATURES, lambda v: v & ~PACKED),
    "packed.plain": request_value(FE.SET_FEATURES, lambda v: v & ~PACKED),
    "packed.restart": base_reply(lambda v: v ^ 0x80008000),
    "driver.session": never_enabled,
    "config.read": _config_reply(lambda data: os.urandom(len(data))),
    "config.offset": _offset_lost,
    "config.large": ends(FE.GET_CONFIG, lambda _, msg: msg.fields("CONFIG")["size"] > 100),
    "config.outside": dies(FE.GET_CONFIG, lambda _, msg: msg.fields("CONFIG")["offset"] > 100),
    "channel.accepted": says(FE.SET_BACKEND_REQ_FD, 0),
    "channel.replaced": says(FE.SET_BACKEND_REQ_FD, 0, _twice(FE.SET_BACKEND_REQ_FD)),
    "channel.no-fd": says(FE.SET_BACKEND_REQ_FD, 0),
    "status.kept": reply_value(FE.GET_STATUS, lambda v: 0),
    "reset.again": ends(FE.RESET_DEVICE),
    "reset.stops": says(FE.RESET_DEVICE, 0),
    "log.used-ring": says(FE.SET_VRING_ADDR, 0, _logging),
    "log.data": request_value(FE.SET_FEATURES, lambda v: v & ~bits(F.LOG_ALL)),
    "log.off": says(FE.SET_FEATURES, 0, lambda m, _: sent(m, FE.SET_FEATURES) > 2),
    "inflight.region": of_reply(FE.GET_INFLIGHT_FD, _small_records),
    "inflight.resumed": says(FE.SET_INFLIGHT_FD, 0),
    "inflight.recorded": says(FE.SET_INFLIGHT_FD, 0),
    "state.moves": reply_value(FE.CHECK_DEVICE_STATE, lambda v: 1),
    "blk.capacity": _config_reply(_capacity),
    "blk.no-status": fatal(started),
    "blk.wrong-way": fatal(started),
    "net.mtu": says(FE.NET_SET_MTU, 1),
    "net.mac": _config_reply(lambda data: bytes([1]) + data[1:]),
    "net.disabled": says(FE.SET_VRING_ENABLE, 0, lambda _, msg: not msg.fields()["num"]),
    "net.tiny": fatal(started),
    "net.short-header": request_value(FE.SET_FEATURES, lambda v: v | bits(F.VERSION_1)),
    "robust.cut": fatal(lambda _, partial: partial > 0),
    "robust.huge": fatal(lambda _, partial: partial < 0),
    "robust.header": dies(FE.GET_QUEUE_NUM, lambda _, msg: msg.flags != wire.VERSION),
    "robust.unknown": dies(0),
    "robust.sizes": dies(FE.SET_VRING_ADDR, lambda _, msg: len(msg.payload) < 40),
    "robust.more-fds": dies(FE.SET_OWNER, lambda _, msg: msg.fds),
    "robust.fewer-fds": dies(FE.SET_MEM_TABLE, lambda _, msg: not msg.fds),
    "robust.table-count": dies(FE.SET_MEM_TABLE, lambda _, msg: msg.payload[2] or msg.payload[0] != 1),
    "robust.region": dies(FE.SET_MEM_TABLE, lambda _, msg: msg.fields()["regions"][0][1] == 0),
    "robust.overlap": dies(FE.SET_MEM_TABLE, lambda _, msg: msg.fields()["n"] == 2),
    "robust.no-memory-file": fatal(had(FE.SET_MEM_TABLE)),
    "robust.memory-removed": dies(FE.REM_MEM_REG),
    "robust.memory-replaced": dies(FE.SET_MEM_TABLE, _twice(FE.SET_MEM_TABLE)),
    "robust.memory-truncated": fatal(started),
    "robust.ring-index": dies(FE.GET_VRING_BASE, lambda _, msg: msg.fields()["index"] > 9),
    "robust.ring-size": dies(FE.SET_VRING_NUM, lambda _, msg: not msg.fields()["num"]),
    "robust.ring-address": fatal(had(FE.SET_VRING_ADDR)),
    "robust.kick-first": dies(FE.SET_VRING_KICK),
    "robust.start-twice": dies(FE.SET_VRING_NUM, _twice(FE.SET_VRING_NUM)),
    "robust.loop": fatal(started),
    "robust.head": fatal(started),
    "robust.jump": fatal(started),
    "robust.buffer": fatal(started),
    "robust.indirect": fatal(started),
    "robust.event-idx": fatal(started),
    "robust.end-anywhere": fatal(had(FE.SET_VRING_NUM)),
    "robust.files-closed": _leak_of_connection,
    "robust.end-in-flight": fatal(started),
    "robust.second": fatal(lambda middle, _: len(middle.seen) < 2),
}

#: check -> a device with a mistake in what it does with requests
DEVICES = {
    "blk.read-write": check_devices.Disk(loses_writes=True),
    "blk.used-length": check_devices.Disk(counts_wrong=True),
    "blk.segments": check_devices.Disk(most_parts=4),
    "blk.header-in-parts": check_devices.Disk(whole_header=True),
    "blk.flush": check_devices.Disk(fails={4}),
    "blk.unknown": check_devices.Disk(unknown=1),
    "blk.serial": check_devices.Disk(serial=b"\xff\xfe"),
    "blk.readonly": check_devices.Disk(readonly=True, unguarded=True),
    "blk.far": check_devices.Disk(unbounded=True),
    "blk.odd-size": check_devices.Disk(drops_odd=True),
    "blk.large": check_devices.Disk(largest=65536),
    "blk.zeroes": check_devices.Disk(skips={13}),
    "blk.discard": check_devices.Disk(fails={11}),
    "blk.in-flight": check_devices.Disk(drops_one_in=15),
    "net.sent-length": check_devices.Wire(drops_sent=2),
    "net.parts": check_devices.Wire(one_part=True),
    "net.loopback": check_devices.Wire(flips=True),
    "net.num-buffers": check_devices.Wire(buffers=0),
    "net.merged": check_devices.Wire(merges=False),
    "net.no-room": check_devices.Wire(waits_for_room=True),
    "net.small-room": check_devices.Wire(ends_at_small=True),
}
