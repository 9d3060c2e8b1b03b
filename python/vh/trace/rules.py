# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the specification forbids, as a table of rules: a name, the section of vhost-user.rst, how bad it is, one function.

A function gets what was said before (a Session), the message, and for a reply its request; it gives the text of what is wrong,
or None. Rules of requests are asked before the message changes the session.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

from vh.testing import wire
from vh.testing.wire import BE, FE, NET, PF, F, bits
from vh.trace.message import BACK_END, BACKEND, ERROR, FRONT_END, MAIN, WARNING, Message

if TYPE_CHECKING:
    from vh.trace.session import Session, _Owed

Check = Callable[["Session", Message], Optional[str]]
ReplyCheck = Callable[["Session", Message, "Optional[_Owed]"], Optional[str]]


class Rule(NamedTuple):
    """One rule. only: ids of the main channel that it is about; empty: any message of either channel."""

    name: str
    section: str
    severity: str
    check: Any
    only: tuple[FE, ...] = ()


def _names(space: Any, mask: int) -> str:
    known = {member.value: member.name for member in space}
    return " ".join(known.get(bit, f"bit {bit}") for bit in range(64) if mask >> bit & 1)


def _u64(m: Message) -> int | None:
    return wire.unpack("U64", m.payload)["value"] if len(m.payload) == 8 else None


def _unpacked(kind: str, m: Message) -> dict[str, Any] | None:
    try:
        fields: dict[str, Any] = wire.unpack(kind, m.payload)
        return fields
    except wire.ProtocolError:
        return None


# --- any message -----------------------------------------------------------------------------------------------------


def _version(_: Session, m: Message) -> str | None:
    return f"version {m.flags & 3}, not 1" if m.flags & 3 != wire.VERSION else None


def _reserved(_: Session, m: Message) -> str | None:
    rest = m.flags & ~(3 | wire.REPLY | wire.NEED_REPLY)
    return f"flags {rest:#x} are reserved" if rest else None


def _cut(_: Session, m: Message) -> str | None:
    return f"the connection ended after {len(m.payload)} of {m.size} bytes" if m.size is not None else None


# --- requests --------------------------------------------------------------------------------------------------------


def _direction(_: Session, m: Message) -> str | None:
    asks = FRONT_END if m.channel == MAIN else BACK_END
    return f"a request of the {m.sender}" if m.sender != asks else None


def _unknown(_: Session, m: Message) -> str | None:
    return f"there is no message {m.request}" if not m.row else None


def _size(s: Session, m: Message) -> str | None:
    row = m.row
    if not row or m.size is not None:
        return None
    least, most = row.min, row.max
    if m.channel == MAIN and m.request == FE.SET_MEM_TABLE:
        return _table_size(s, m)
    if m.channel == MAIN and m.request == FE.SET_LOG_BASE and not s.has_pf(PF.LOG_SHMFD):
        least, most = 8, 16
    n = len(m.payload)
    return None if least <= n <= most else f"{n} bytes, not {least if least == most else f'{least} to {most}'}"


def _table_size(s: Session, m: Message) -> str | None:
    stride = 40 if s.has_pf(PF.XEN_MMAP) else 32
    n = wire.unpack("VRING_STATE", m.payload[:8])["index"] if len(m.payload) >= 8 else 0
    if not n or len(m.payload) != 8 + stride * n:
        return f"{len(m.payload)} bytes for {n} regions"
    return None


def _fd_count(_: Session, m: Message) -> str | None:
    row = m.row
    if not row or row.fd_min <= len(m.fds) <= row.fd_max:
        return None
    if m.channel == MAIN and m.request == FE.SET_MEM_TABLE and len(m.fds) > row.fd_max:
        return None  # more regions than eight: table-fds compares their numbers
    wanted = row.fd_min if row.fd_min == row.fd_max else f"{row.fd_min} to {row.fd_max}"
    return f"{len(m.fds)} file descriptors, not {wanted}"


def _protocol_feature(s: Session, m: Message) -> str | None:
    row = m.row
    missing = row.pf & ~s.pf_acked if row else 0
    if missing and row and m.channel == MAIN and m.request in (FE.GET_MAX_MEM_SLOTS, FE.GET_QUEUE_NUM):
        missing = row.pf & ~(s.pf_offered or 0)  # these ask for what decides whether to negotiate it
    return f"needs {_names(PF, missing)}, which was not negotiated" if missing else None


def _feature(s: Session, m: Message) -> str | None:
    row = m.row
    missing = row.offered & ~(s.features or 0) if row and s.features is not None else 0
    return f"needs {_names(F, missing)}, which was not offered" if missing else None


def _feature_early(s: Session, m: Message) -> str | None:
    row = m.row
    if not row or _feature(s, m):
        return None
    missing = row.acked & ~(s.acked or 0)
    return f"needs {_names(F, missing)}, which was not acked{'' if s.acked else ' yet'}" if missing else None


def _need_reply(s: Session, m: Message) -> str | None:
    return "need_reply is set, and REPLY_ACK was not negotiated" if m.need_reply and not s.has_pf(PF.REPLY_ACK) else None


def _not_offered(s: Session, m: Message) -> str | None:
    value = _u64(m)
    extra = value & ~s.features if value is not None and s.features is not None else 0
    return f"acks {_names(F, extra)}, which the back-end did not offer" if extra else None


def _pf_not_offered(s: Session, m: Message) -> str | None:
    value = _u64(m)
    extra = value & ~s.pf_offered if value is not None and s.pf_offered is not None else 0
    return f"acks {_names(PF, extra)}, which the back-end did not offer" if extra else None


def _without_bit_30(s: Session, m: Message) -> str | None:
    if s.features is None:
        return "before GET_FEATURES has told whether the back-end has protocol features"
    return None if s.features >> F.PROTOCOL_FEATURES & 1 else "the back-end did not offer PROTOCOL_FEATURES (bit 30)"


def _pf_needs(_: Session, m: Message) -> str | None:
    value = _u64(m) or 0
    for bit, needs in wire.PF_NEEDS.items():
        if value >> bit & 1 and needs & ~value:
            return f"acks {bit.name} without {_names(PF, needs & ~value)}"
    return None


def _acked_while_running(s: Session, m: Message) -> str | None:
    value = _u64(m)
    if value is None or s.acked is None or not s.started or (value ^ s.acked) & ~bits(F.LOG_ALL) == 0:
        return None
    return f"changes {_names(F, value ^ s.acked)} while ring {s.started[0].index} runs"


def _owner(s: Session, m: Message) -> str | None:
    return "for the second time on one connection" if s.owner else None


def _of_ring(m: Message) -> int | None:
    """Index of the ring that a message names."""
    row = m.row
    if not row or len(m.payload) < 8:
        return None
    if row.payload == "VRING_FD":
        return int(wire.unpack("U64", m.payload[:8])["value"]) & 0xFF
    return int(wire.unpack("VRING_STATE", m.payload[:8])["index"]) if row.payload in ("VRING_STATE", "VRING_ADDR") else None


def _ring_index(s: Session, m: Message) -> str | None:
    index = _of_ring(m)
    if index is None or m.channel != MAIN:
        return None
    if index > 0xFF:
        return f"ring {index}: there can be 256"
    # Network devices count pairs, and have one more for control.
    return f"ring {index}, and the back-end has {s.queues}" if s.queues and index > 2 * s.queues else None


def _ring_stopped(s: Session, m: Message) -> str | None:
    row = m.row
    if not row or m.channel != MAIN:
        return None
    if row.ring == "ALL_STOPPED" and s.started:
        return f"while ring {s.started[0].index} runs"
    index = _of_ring(m)
    ring = s.rings.get(index) if index is not None else None
    if not ring or not ring.started or row.ring not in ("STOPPED", "STOPPED_OR_LOG"):
        return None
    if row.ring == "STOPPED_OR_LOG":
        addr = _unpacked("VRING_ADDR", m) or {}
        if all(addr.get(k) == ring.addr.get(k) for k in ("desc", "used", "avail")):
            return None
    return f"ring {index} runs: it has had its kick and no GET_VRING_BASE"


def _ring_size(s: Session, m: Message) -> str | None:
    num = (_unpacked("VRING_STATE", m) or {"num": 1})["num"]
    if not num or num > 32768:
        return f"a ring of {num} entries"
    return f"a split ring of {num} entries: no power of two" if not s.has(F.RING_PACKED) and num & (num - 1) else None


def _enable(_: Session, m: Message) -> str | None:
    num = (_unpacked("VRING_STATE", m) or {"num": 0})["num"]
    return f"num is {num}, neither 0 nor 1" if num > 1 else None


def _base(s: Session, m: Message) -> str | None:
    num = (_unpacked("VRING_STATE", m) or {"num": 0})["num"]
    return f"base {num:#x} has more than 16 bits, and the ring is split" if num > 0xFFFF and not s.has(F.RING_PACKED) else None


def _addr_flags(_: Session, m: Message) -> str | None:
    flags = (_unpacked("VRING_ADDR", m) or {"flags": 0})["flags"]
    return f"flags {flags:#x}: only bit 0 means something" if flags & ~1 else None


def _areas(s: Session, m: Message) -> list[tuple[str, int, int, int]]:
    """(name, address, size, alignment) of the three parts of the ring."""
    addr = _unpacked("VRING_ADDR", m)
    if not addr:
        return []
    num = s.ring(addr["index"]).num
    if s.has(F.RING_PACKED):
        shape = ("desc", 16 * num, 16), ("avail", 4, 4), ("used", 4, 4)
    else:
        shape = ("desc", 16 * num, 16), ("avail", 4 + 2 * num, 2), ("used", 4 + 8 * num, 4)
    return [(name, addr[name], size, align) for name, size, align in shape]


def _addr_align(s: Session, m: Message) -> str | None:
    bad = [f"{name} at {at:#x} is not a multiple of {align}" for name, at, _, align in _areas(s, m) if at % align]
    return bad[0] if bad else None


def _addr_memory(s: Session, m: Message) -> str | None:
    if s.has(F.ACCESS_PLATFORM):
        return None
    bad = [f"{name} at {at:#x} ({size} bytes) is in no memory region" for name, at, size, _ in _areas(s, m)
           if not s.region_of(at, size)]
    return bad[0] if bad else None


def _fd_flag(_: Session, m: Message) -> str | None:
    value = _u64(m)
    if value is None:
        return None
    if value >> 9:
        return f"bits 9 to 63 are not zero: {value:#x}"
    nofd = bool(value & wire.VRING_NOFD)
    if nofd and m.fds:
        return "bit 8 says that there is no file descriptor, and there is one"
    return "no file descriptor, and bit 8 does not say so" if not nofd and not m.fds else None


def _event_kind(_: Session, m: Message) -> str | None:
    return f"the file descriptor is no eventfd but a {m.fds[0]}" if m.fds and m.fds[0].kind != "eventfd" else None


def _ring_ready(s: Session, m: Message) -> str | None:
    index = _of_ring(m)
    ring = s.rings.get(index) if index is not None else None
    missing = [what for what, there in (("SET_VRING_NUM", ring and ring.num), ("SET_VRING_ADDR", ring and ring.addr))
               if not there]
    return f"starts ring {index}, which has had no {' and no '.join(missing)}" if missing else None


def _socket_kind(_: Session, m: Message) -> str | None:
    return f"the file descriptor is no socket but a {m.fds[0]}" if m.fds and m.fds[0].kind != "socket" else None


def _regions(s: Session, m: Message) -> list[dict[str, int]]:
    """The regions of SET_MEM_TABLE or ADD_MEM_REG."""
    xen = 8 if s.has_pf(PF.XEN_MMAP) else 0
    at = 8
    out = []
    while at + 32 <= len(m.payload):
        out.append(wire.unpack("MEM_REG", bytes(8) + m.payload[at:at + 32]))
        at += 32 + xen
    return out


def _table_fds(s: Session, m: Message) -> str | None:
    n = len(_regions(s, m))
    return f"{len(m.fds)} file descriptors for {n} regions" if n != len(m.fds) else None


def _table_padding(_: Session, m: Message) -> str | None:
    return "padding is not zero" if any(m.payload[4:8]) else None


def _region_empty(s: Session, m: Message) -> str | None:
    for r in _regions(s, m):
        for key in ("gpa", "uva", "offset"):
            if not r["size"] or r[key] + r["size"] > 1 << 64:
                return f"region of {r['size']} bytes at {r['gpa']:#x} is empty, or wraps"
    return None


def _region_overlap(s: Session, m: Message) -> str | None:
    before = [(r.gpa, r.size) for r in s.regions] if m.request == FE.ADD_MEM_REG else []
    for r in _regions(s, m):
        for gpa, size in before:
            if r["gpa"] < gpa + size and gpa < r["gpa"] + r["size"]:
                return f"region at {r['gpa']:#x} lies over the one at {gpa:#x}"
        before.append((r["gpa"], r["size"]))
    return None


def _region_file(s: Session, m: Message) -> str | None:
    for r, fd in zip(_regions(s, m), m.fds):
        if fd.kind not in (*fd.SIZED, "device", "other"):
            return f"region at {r['gpa']:#x} is in a {fd}, which can't be mapped"
        if fd.kind in fd.SIZED and r["offset"] + r["size"] > fd.size:
            return f"region at {r['gpa']:#x} ends at {r['offset'] + r['size']:#x} of a {fd}"
    return None


def _region_gone(s: Session, m: Message) -> str | None:
    for r in _regions(s, m):
        if not any((x.gpa, x.size, x.uva) == (r["gpa"], r["size"], r["uva"]) for x in s.regions):
            return f"there is no region of {r['size']} bytes at {r['gpa']:#x}"
    return None


def _config_length(_: Session, m: Message) -> str | None:
    config = _unpacked("CONFIG", m)
    if not config or len(config["data"]) == config["size"]:
        return None
    return f"{len(config['data'])} bytes of data, and size says {config['size']}"


def _config_range(_: Session, m: Message) -> str | None:
    c = _unpacked("CONFIG", m)
    if not c or (c["size"] and c["offset"] + c["size"] <= 256):
        return None
    return f"{c['size']} bytes from {c['offset']}: config space has 1 to 256"


def _log_fd(s: Session, m: Message) -> str | None:
    if s.has_pf(PF.LOG_SHMFD) and len(m.fds) != 1:
        return f"{len(m.fds)} file descriptors, and LOG_SHMFD needs one"
    return None


def _status(_: Session, m: Message) -> str | None:
    value = _u64(m) or 0
    return f"status {value:#x} has more than 8 bits" if value > 0xFF else None


def _mtu(_: Session, m: Message) -> str | None:
    value = _u64(m)
    return f"MTU {value}: 68 to 65535" if value is not None and not 68 <= value <= 65535 else None


def _iotlb(_: Session, m: Message) -> str | None:
    msg = _unpacked("IOTLB", m) if m.row and m.row.payload == "IOTLB" else None
    if not msg:
        return None
    if msg["type"] not in ((2, 3) if m.channel == MAIN else (1, 4)):
        return f"type {msg['type']} is not for this direction"
    if msg["type"] <= 2 and not 1 <= msg["perm"] <= 3:
        return f"access {msg['perm']}: 1 read, 2 write, 3 both"
    if msg["type"] == 2 and (not msg["size"] or msg["iova"] + msg["size"] > 1 << 64):
        return f"{msg['size']} bytes at {msg['iova']:#x} are none, or wrap"
    return None


def _inflight(_: Session, m: Message) -> str | None:
    msg = _unpacked("INFLIGHT", m)
    return "no queues, or none of their entries" if msg and not (msg["num_queues"] and msg["queue_size"]) else None


def _device_state(_: Session, m: Message) -> str | None:
    msg = _unpacked("DEVICE_STATE", m)
    return f"direction {msg['direction']}, phase {msg['phase']}" if msg and (msg["direction"] > 1 or msg["phase"]) else None


def _shmem(_: Session, m: Message) -> str | None:
    msg = _unpacked("MMAP", m) if m.row and m.row.payload == "MMAP" else None
    if not msg or (msg["len"] and msg["shm_offset"] + msg["len"] <= 1 << 64):
        return None
    return f"{msg['len']} bytes at {msg['shm_offset']:#x} are none, or wrap"


def _uuid(_: Session, m: Message) -> str | None:
    adds = m.channel == BACKEND and m.request == BE.SHARED_OBJECT_ADD
    return "the UUID is nil" if adds and m.payload and not any(m.payload) else None


def _in_band(_: Session, m: Message) -> str | None:
    in_band = m.request == FE.VRING_KICK if m.channel == MAIN else m.request in (BE.VRING_CALL, BE.VRING_ERR)
    msg = _unpacked("VRING_STATE", m) if in_band else None
    return f"num is {msg['num']}, not 0" if msg and msg["num"] else None


# --- replies ---------------------------------------------------------------------------------------------------------


def _unrequested(s: Session, m: Message, request: _Owed | None) -> str | None:
    answers = BACK_END if m.channel == MAIN else FRONT_END
    if m.sender != answers:
        return f"a reply of the {m.sender}, whose requests go there"
    return "there is no request that it could answer" if not request else None


def _unasked(_: Session, m: Message, request: _Owed | None) -> str | None:
    return "it was not asked for" if request and not request.must and not request.own else None


def _reply_flags(_: Session, m: Message, request: _Owed | None) -> str | None:
    return "need_reply is set in a reply" if m.need_reply else None


def _reply_size(_: Session, m: Message, request: _Owed | None) -> str | None:
    row = m.row
    if not request or not row or m.size is not None:
        return None
    least, most = (row.reply_min, row.reply_max) if request.own else (8, 8)
    n = len(m.payload)
    return None if least <= n <= most else f"{n} bytes, not {least if least == most else f'{least} to {most}'}"


def _reply_fds(_: Session, m: Message, request: _Owed | None) -> str | None:
    row = m.row
    most = row.reply_fd_max if request and request.own and row else 0
    return f"{len(m.fds)} file descriptors, and at most {most} belong there" if len(m.fds) > most else None


def _reply_ring(_: Session, m: Message, request: _Owed | None) -> str | None:
    if not request or m.channel != MAIN or m.request not in (FE.GET_VRING_BASE, FE.GET_VRING_BASE_SKIP_DRAIN):
        return None
    asked, said = _of_ring(request.message), _of_ring(m)
    return f"asked for ring {asked}, answered for ring {said}" if asked != said else None


def _reply_config(_: Session, m: Message, request: _Owed | None) -> str | None:
    if not request or m.channel != MAIN or m.request != FE.GET_CONFIG or not m.payload:
        return None
    asked, said = _unpacked("CONFIG", request.message), _unpacked("CONFIG", m)
    if not asked or not said or not said["size"]:
        return None
    if (asked["offset"], asked["size"]) != (said["offset"], said["size"]):
        return f"asked for {asked['size']} bytes from {asked['offset']}, answered {said['size']} from {said['offset']}"
    return _config_length(_, m)


def _reply_inflight(_: Session, m: Message, request: _Owed | None) -> str | None:
    msg = _unpacked("INFLIGHT", m) if m.channel == MAIN and m.request == FE.GET_INFLIGHT_FD else None
    if not msg or bool(msg["mmap_size"]) == bool(m.fds):
        return None
    return f"{msg['mmap_size']} bytes, and {len(m.fds)} file descriptors"


def _pf_lost(s: Session, m: Message, request: _Owed | None) -> str | None:
    if m.channel != MAIN or m.request != FE.GET_PROTOCOL_FEATURES:
        return None
    value = _u64(m) or 0
    unknown = value & ~bits(*PF)
    return f"offers {_names(PF, unknown)}, which the specification does not have" if unknown else None


# --- the table -------------------------------------------------------------------------------------------------------

_ANY = "Header"
_RING_STATES = "Ring states"
_START = "Starting and stopping rings"
_FEATURES = "Feature negotiation"
_MEMORY = "Memory access"

ANY = (
    Rule("header-version", _ANY, ERROR, _version),
    Rule("header-flags", _ANY, WARNING, _reserved),
    Rule("cut-short", "Communication", ERROR, _cut),
)

REQUESTS = (
    Rule("request-direction", "Communication", ERROR, _direction),
    Rule("unknown-request", "Message types", ERROR, _unknown),
    Rule("payload-size", "Message specification", ERROR, _size),
    Rule("fd-count", "Communication", ERROR, _fd_count),
    Rule("protocol-feature", _FEATURES, ERROR, _protocol_feature),
    Rule("feature-offered", _FEATURES, ERROR, _feature),
    Rule("feature-acked", _FEATURES, WARNING, _feature_early),
    Rule("need-reply", "VHOST_USER_PROTOCOL_F_REPLY_ACK", WARNING, _need_reply),
    Rule("ring-index", "Multiple queue support", ERROR, _ring_index),
    Rule("ring-running", _RING_STATES, ERROR, _ring_stopped),
    Rule("ack-features", _FEATURES, ERROR, _not_offered, (FE.SET_FEATURES,)),
    Rule("ack-protocol-features", _FEATURES, ERROR, _pf_not_offered, (FE.SET_PROTOCOL_FEATURES,)),
    Rule("bit-30", _FEATURES, ERROR, _without_bit_30, (FE.GET_PROTOCOL_FEATURES, FE.SET_PROTOCOL_FEATURES)),
    Rule("protocol-feature-needs", "Protocol features", ERROR, _pf_needs, (FE.SET_PROTOCOL_FEATURES,)),
    Rule("features-while-running", _FEATURES, WARNING, _acked_while_running, (FE.SET_FEATURES,)),
    Rule("owner-twice", "VHOST_USER_SET_OWNER", WARNING, _owner, (FE.SET_OWNER,)),
    Rule("ring-size", "VHOST_USER_SET_VRING_NUM", ERROR, _ring_size, (FE.SET_VRING_NUM,)),
    Rule("enable-value", "VHOST_USER_SET_VRING_ENABLE", ERROR, _enable, (FE.SET_VRING_ENABLE,)),
    Rule("base-value", "A vring state description", ERROR, _base, (FE.SET_VRING_BASE,)),
    Rule("address-flags", "A vring address description", ERROR, _addr_flags, (FE.SET_VRING_ADDR,)),
    Rule("address-alignment", "A vring address description", ERROR, _addr_align, (FE.SET_VRING_ADDR,)),
    Rule("address-memory", _MEMORY, ERROR, _addr_memory, (FE.SET_VRING_ADDR,)),
    Rule("ring-fd", "VHOST_USER_SET_VRING_KICK", ERROR, _fd_flag,
         (FE.SET_VRING_KICK, FE.SET_VRING_CALL, FE.SET_VRING_ERR)),
    Rule("ring-eventfd", "VHOST_USER_SET_VRING_KICK", WARNING, _event_kind,
         (FE.SET_VRING_KICK, FE.SET_VRING_CALL, FE.SET_VRING_ERR)),
    Rule("ring-incomplete", _START, WARNING, _ring_ready, (FE.SET_VRING_KICK,)),
    Rule("channel-socket", "Back-end communication", ERROR, _socket_kind, (FE.SET_BACKEND_REQ_FD, FE.GPU_SET_SOCKET)),
    Rule("table-fds", "VHOST_USER_SET_MEM_TABLE", ERROR, _table_fds, (FE.SET_MEM_TABLE,)),
    Rule("table-padding", "Multiple memory regions description", WARNING, _table_padding, (FE.SET_MEM_TABLE,)),
    Rule("region-range", "Memory region description", ERROR, _region_empty, (FE.SET_MEM_TABLE, FE.ADD_MEM_REG)),
    Rule("region-overlap", "Memory region description", ERROR, _region_overlap, (FE.SET_MEM_TABLE, FE.ADD_MEM_REG)),
    Rule("region-file", "Memory region description", ERROR, _region_file, (FE.SET_MEM_TABLE, FE.ADD_MEM_REG)),
    Rule("region-unknown", "VHOST_USER_REM_MEM_REG", ERROR, _region_gone, (FE.REM_MEM_REG,)),
    Rule("config-length", "Virtio device config space", ERROR, _config_length, (FE.GET_CONFIG, FE.SET_CONFIG)),
    Rule("config-range", "Virtio device config space", ERROR, _config_range, (FE.GET_CONFIG, FE.SET_CONFIG)),
    Rule("iotlb", "An IOTLB message", ERROR, _iotlb),
    Rule("inflight-count", "Inflight description", ERROR, _inflight, (FE.GET_INFLIGHT_FD, FE.SET_INFLIGHT_FD)),
    Rule("device-state", "Device state transfer parameters", ERROR, _device_state, (FE.SET_DEVICE_STATE_FD,)),
    Rule("shmem-range", "VHOST_USER_BACKEND_SHMEM_MAP", ERROR, _shmem),
    Rule("uuid-nil", "VHOST_USER_BACKEND_SHARED_OBJECT_ADD", ERROR, _uuid),
    Rule("in-band-value", "In-band notifications", ERROR, _in_band),
    Rule("endian-value", "VHOST_USER_SET_VRING_ENDIAN", ERROR, _enable, (FE.SET_VRING_ENDIAN,)),
    Rule("log-fd", "VHOST_USER_SET_LOG_BASE", ERROR, _log_fd, (FE.SET_LOG_BASE,)),
    Rule("status-value", "VHOST_USER_SET_STATUS", ERROR, _status, (FE.SET_STATUS,)),
    Rule("mtu-value", "VHOST_USER_NET_SET_MTU", WARNING, _mtu, (FE.NET_SET_MTU,)),
)

REPLIES = (
    Rule("reply-unrequested", "Communication", ERROR, _unrequested),
    Rule("reply-unasked", "VHOST_USER_PROTOCOL_F_REPLY_ACK", ERROR, _unasked),
    Rule("reply-flags", _ANY, WARNING, _reply_flags),
    Rule("reply-size", "Communication", ERROR, _reply_size),
    Rule("reply-fds", "Communication", ERROR, _reply_fds),
    Rule("reply-ring", "VHOST_USER_GET_VRING_BASE", ERROR, _reply_ring),
    Rule("reply-config", "VHOST_USER_GET_CONFIG", ERROR, _reply_config),
    Rule("reply-inflight", "VHOST_USER_GET_INFLIGHT_FD", ERROR, _reply_inflight),
    Rule("offered-unknown", "Protocol features", WARNING, _pf_lost),
)



def of_display(m: Message, asked: bool) -> str | None:
    """What is wrong with a message of a GPU's socket."""
    row = m.gpu_row
    if not row:
        return f"there is no message {m.request}"
    if m.is_reply and not asked:
        return "nobody has asked for that"
    if m.sender != (FRONT_END if m.is_reply else BACK_END):
        return f"a request of the {m.sender}"
    n = len(m.payload) if m.size is None else m.size
    least = row.reply if m.is_reply else struct.calcsize(row.layout)
    if n < (least or 0) or (n > (least or 0) and (m.is_reply or not row.data)):
        return f"{n} bytes, not {least}"
    return f"{len(m.fds)} file descriptors" if len(m.fds) > row.fds else None


#: told by the session itself, when time passes or the connection ends, and of a GPU's socket
TOLD = (
    Rule("reply-order", "Communication", ERROR, None),
    Rule("reply-late", "Communication", WARNING, None),
    Rule("reply-missing", "Communication", ERROR, None),
    Rule("display-message", "Vhost-user-gpu Protocol", ERROR, None),
)

TABLE = (*ANY, *REQUESTS, *REPLIES, *TOLD)
BY_NAME = {rule.name: rule for rule in TABLE}


def check_request(s: Session, m: Message) -> bool:
    """Every rule of a request; was one broken?"""
    broken = False
    for rule in (*ANY, *REQUESTS):
        if rule.only and (m.channel != MAIN or m.request not in rule.only):
            continue
        text = rule.check(s, m)
        if text:
            broken = True
            s.flag(rule.name, m, text)
    return broken


def check_reply(s: Session, m: Message, request: _Owed | None) -> bool:
    broken = False
    for rule in ANY:
        text = rule.check(s, m)
        if text:
            broken = True
            s.flag(rule.name, m, text)
    for rule in REPLIES:
        text = rule.check(s, m, request)
        if text:
            broken = True
            s.flag(rule.name, m, text)
            if rule.name == "reply-unrequested":
                break
    return broken
