# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The vhost-user message table. Made by ./run regen from src/wire; do not edit."""

import enum
from typing import NamedTuple


class Message(NamedTuple):
    """One row of the table; the columns are explained in src/wire/messages.def."""

    name: str
    id: int
    payload: str
    min: int
    max: int
    accept_min: int
    accept_max: int
    fd_min: int
    fd_max: int
    accept_fd_min: int
    accept_fd_max: int
    reply: str
    reply_payload: str
    reply_min: int
    reply_max: int
    reply_fd_max: int
    refusal: str
    ring: str
    pf: int
    acked: int
    offered: int


class FE(enum.IntEnum):
    """Ids of front-end requests."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    CREATE_CRYPTO_SESSION = 26
    CLOSE_CRYPTO_SESSION = 27
    POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29
    POSTCOPY_END = 30
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    GPU_SET_SOCKET = 33
    RESET_DEVICE = 34
    VRING_KICK = 35
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40
    GET_SHARED_OBJECT = 41
    SET_DEVICE_STATE_FD = 42
    CHECK_DEVICE_STATE = 43
    GET_SHMEM_CONFIG = 44
    GET_VRING_BASE_SKIP_DRAIN = 45


class BE(enum.IntEnum):
    """Ids of back-end requests."""

    IOTLB_MSG = 1
    CONFIG_CHANGE_MSG = 2
    VRING_HOST_NOTIFIER_MSG = 3
    VRING_CALL = 4
    VRING_ERR = 5
    SHARED_OBJECT_ADD = 6
    SHARED_OBJECT_REMOVE = 7
    SHARED_OBJECT_LOOKUP = 8
    SHMEM_MAP = 9
    SHMEM_UNMAP = 10


class PF(enum.IntEnum):
    """Feature bit numbers: protocol features."""

    MQ = 0
    LOG_SHMFD = 1
    RARP = 2
    REPLY_ACK = 3
    MTU = 4
    BACKEND_REQ = 5
    CROSS_ENDIAN = 6
    CRYPTO_SESSION = 7
    PAGEFAULT = 8
    CONFIG = 9
    BACKEND_SEND_FD = 10
    HOST_NOTIFIER = 11
    INFLIGHT_SHMFD = 12
    RESET_DEVICE = 13
    INBAND_NOTIFICATIONS = 14
    CONFIGURE_MEM_SLOTS = 15
    STATUS = 16
    XEN_MMAP = 17
    SHARED_OBJECT = 18
    DEVICE_STATE = 19
    GET_VRING_BASE_INFLIGHT = 20
    GPA_ADDRESSES = 21
    SHMEM = 22
    GET_VRING_BASE_SKIP_DRAIN = 23


class F(enum.IntEnum):
    """Feature bit numbers: bits of every device type."""

    NOTIFY_ON_EMPTY = 24
    LOG_ALL = 26
    ANY_LAYOUT = 27
    RING_INDIRECT_DESC = 28
    RING_EVENT_IDX = 29
    PROTOCOL_FEATURES = 30
    VERSION_1 = 32
    ACCESS_PLATFORM = 33
    RING_PACKED = 34
    IN_ORDER = 35
    ORDER_PLATFORM = 36
    SR_IOV = 37
    NOTIFICATION_DATA = 38
    NOTIF_CONFIG_DATA = 39
    RING_RESET = 40
    ADMIN_VQ = 41


class NET(enum.IntEnum):
    """Feature bit numbers: net devices."""

    CSUM = 0
    GUEST_CSUM = 1
    CTRL_GUEST_OFFLOADS = 2
    MTU = 3
    MAC = 5
    GSO = 6
    GUEST_TSO4 = 7
    GUEST_TSO6 = 8
    GUEST_ECN = 9
    GUEST_UFO = 10
    HOST_TSO4 = 11
    HOST_TSO6 = 12
    HOST_ECN = 13
    HOST_UFO = 14
    MRG_RXBUF = 15
    STATUS = 16
    CTRL_VQ = 17
    CTRL_RX = 18
    CTRL_VLAN = 19
    CTRL_RX_EXTRA = 20
    GUEST_ANNOUNCE = 21
    MQ = 22
    CTRL_MAC_ADDR = 23
    VQ_NOTF_COAL = 52
    NOTF_COAL = 53
    GUEST_USO4 = 54
    GUEST_USO6 = 55
    HOST_USO = 56
    HASH_REPORT = 57
    GUEST_HDRLEN = 59
    RSS = 60
    RSC_EXT = 61
    STANDBY = 62
    SPEED_DUPLEX = 63


class BLK(enum.IntEnum):
    """Feature bit numbers: block devices."""

    BARRIER = 0
    SIZE_MAX = 1
    SEG_MAX = 2
    GEOMETRY = 4
    RO = 5
    BLK_SIZE = 6
    SCSI = 7
    FLUSH = 9
    TOPOLOGY = 10
    CONFIG_WCE = 11
    MQ = 12
    DISCARD = 13
    WRITE_ZEROES = 14
    LIFETIME = 15
    SECURE_ERASE = 16
    ZONED = 17


#: front-end requests, by id
FRONT_END = {
    1: Message("GET_FEATURES", 1, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "OWN", "U64", 8, 8, 0, "CLOSE", "ANY", 0x0, 0x0, 0x0),
    2: Message("SET_FEATURES", 2, "U64", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x0, 0x0),
    3: Message("SET_OWNER", 3, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x0, 0x0),
    4: Message("RESET_OWNER", 4, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x0, 0x0),
    5: Message("SET_MEM_TABLE", 5, "MEM_TABLE", 40, 328, 40, 1288, 1, 8, 1, 32, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x0, 0x0),
    6: Message("SET_LOG_BASE", 6, "LOG", 16, 16, 8, 16, 0, 1, 0, 1, "OWN_LOG", "LOG", 0, 16, 0, "CLOSE", "ANY", 0x0, 0x4000000, 0x4000000),
    7: Message("SET_LOG_FD", 7, "NONE", 0, 0, 0, 0, 1, 1, 1, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x0, 0x0),
    8: Message("SET_VRING_NUM", 8, "VRING_STATE", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "STOPPED", 0x0, 0x0, 0x0),
    9: Message("SET_VRING_ADDR", 9, "VRING_ADDR", 40, 40, 40, 40, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "STOPPED_OR_LOG", 0x0, 0x0, 0x0),
    10: Message("SET_VRING_BASE", 10, "VRING_STATE", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "STOPPED", 0x0, 0x0, 0x0),
    11: Message("GET_VRING_BASE", 11, "VRING_STATE", 8, 8, 8, 8, 0, 0, 0, 0, "OWN", "VRING_STATE", 8, 8, 0, "CLOSE", "STOPS", 0x0, 0x0, 0x0),
    12: Message("SET_VRING_KICK", 12, "VRING_FD", 8, 8, 8, 8, 0, 1, 0, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "STARTS", 0x0, 0x0, 0x0),
    13: Message("SET_VRING_CALL", 13, "VRING_FD", 8, 8, 8, 8, 0, 1, 0, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x0, 0x0),
    14: Message("SET_VRING_ERR", 14, "VRING_FD", 8, 8, 8, 8, 0, 1, 0, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x0, 0x0),
    15: Message("GET_PROTOCOL_FEATURES", 15, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "OWN", "U64", 8, 8, 0, "CLOSE", "ANY", 0x0, 0x0, 0x40000000),
    16: Message("SET_PROTOCOL_FEATURES", 16, "U64", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x0, 0x40000000),
    17: Message("GET_QUEUE_NUM", 17, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "OWN", "U64", 8, 8, 0, "CLOSE", "ANY", 0x1, 0x0, 0x0),
    18: Message("SET_VRING_ENABLE", 18, "VRING_STATE", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x40000000, 0x40000000),
    19: Message("SEND_RARP", 19, "U64", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x4, 0x0, 0x40000000),
    20: Message("NET_SET_MTU", 20, "U64", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x10, 0x8, 0x8),
    21: Message("SET_BACKEND_REQ_FD", 21, "NONE", 0, 0, 0, 0, 1, 1, 1, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x20, 0x0, 0x40000000),
    22: Message("IOTLB_MSG", 22, "IOTLB", 32, 32, 32, 32, 0, 0, 0, 0, "OWN", "U64", 8, 8, 0, "U64_1", "ANY", 0x0, 0x200000000, 0x200000000),
    23: Message("SET_VRING_ENDIAN", 23, "VRING_STATE", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "STOPPED", 0x40, 0x0, 0x0),
    24: Message("GET_CONFIG", 24, "CONFIG", 12, 268, 12, 268, 0, 0, 0, 0, "OWN", "CONFIG", 0, 268, 0, "EMPTY", "ANY", 0x200, 0x0, 0x0),
    25: Message("SET_CONFIG", 25, "CONFIG", 12, 268, 12, 268, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x200, 0x0, 0x0),
    26: Message("CREATE_CRYPTO_SESSION", 26, "CRYPTO", 1072, 1072, 1072, 1072, 0, 0, 0, 0, "OWN", "CRYPTO", 1072, 1072, 0, "NO_SESSION", "ANY", 0x80, 0x0, 0x0),
    27: Message("CLOSE_CRYPTO_SESSION", 27, "U64", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x80, 0x0, 0x0),
    28: Message("POSTCOPY_ADVISE", 28, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "OWN", "NONE", 0, 0, 1, "NO_FD", "ANY", 0x100, 0x0, 0x0),
    29: Message("POSTCOPY_LISTEN", 29, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x100, 0x0, 0x0),
    30: Message("POSTCOPY_END", 30, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "OWN", "U64", 8, 8, 0, "U64_1", "ANY", 0x100, 0x0, 0x0),
    31: Message("GET_INFLIGHT_FD", 31, "INFLIGHT", 24, 24, 24, 24, 0, 0, 0, 0, "OWN", "INFLIGHT", 24, 24, 1, "MMAP_0", "ALL_STOPPED", 0x1000, 0x0, 0x0),
    32: Message("SET_INFLIGHT_FD", 32, "INFLIGHT", 24, 24, 24, 24, 1, 1, 1, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "ALL_STOPPED", 0x1000, 0x0, 0x0),
    33: Message("GPU_SET_SOCKET", 33, "NONE", 0, 0, 0, 0, 1, 1, 1, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x0, 0x0, 0x0),
    34: Message("RESET_DEVICE", 34, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x2000, 0x0, 0x0),
    35: Message("VRING_KICK", 35, "VRING_STATE", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "STARTS", 0x4000, 0x0, 0x0),
    36: Message("GET_MAX_MEM_SLOTS", 36, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "OWN", "U64", 8, 8, 0, "CLOSE", "ANY", 0x8000, 0x0, 0x0),
    37: Message("ADD_MEM_REG", 37, "MEM_REG", 40, 48, 40, 48, 1, 1, 1, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x8000, 0x0, 0x0),
    38: Message("REM_MEM_REG", 38, "MEM_REG", 40, 48, 40, 48, 0, 0, 0, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x8000, 0x0, 0x0),
    39: Message("SET_STATUS", 39, "U64", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "ANY", 0x10000, 0x0, 0x0),
    40: Message("GET_STATUS", 40, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "OWN", "U64", 8, 8, 0, "CLOSE", "ANY", 0x10000, 0x0, 0x0),
    41: Message("GET_SHARED_OBJECT", 41, "UUID", 16, 16, 0, 16, 0, 0, 0, 0, "OWN", "UUID", 0, 16, 1, "NO_FD", "ANY", 0x40000, 0x0, 0x0),
    42: Message("SET_DEVICE_STATE_FD", 42, "DEVICE_STATE", 8, 8, 8, 8, 1, 1, 1, 1, "OWN", "U64", 8, 8, 1, "U64_101", "ALL_STOPPED", 0x80000, 0x0, 0x0),
    43: Message("CHECK_DEVICE_STATE", 43, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "OWN", "U64", 8, 8, 0, "U64_1", "ANY", 0x80000, 0x0, 0x0),
    44: Message("GET_SHMEM_CONFIG", 44, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "OWN", "SHMEM_CONFIG", 2056, 2056, 0, "CLOSE", "ANY", 0x400000, 0x0, 0x0),
    45: Message("GET_VRING_BASE_SKIP_DRAIN", 45, "VRING_STATE", 8, 8, 8, 8, 0, 0, 0, 0, "OWN", "VRING_STATE", 8, 8, 0, "CLOSE", "STOPS", 0x901000, 0x0, 0x0),
}
#: back-end requests, by id
BACK_END = {
    1: Message("IOTLB_MSG", 1, "IOTLB", 32, 32, 32, 32, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "NOT_SUSPENDED", 0x20, 0x200000000, 0x200000000),
    2: Message("CONFIG_CHANGE_MSG", 2, "NONE", 0, 0, 0, 0, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "NOT_SUSPENDED", 0x220, 0x0, 0x0),
    3: Message("VRING_HOST_NOTIFIER_MSG", 3, "VRING_AREA", 24, 24, 24, 24, 0, 1, 0, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "NOT_SUSPENDED", 0xc20, 0x0, 0x0),
    4: Message("VRING_CALL", 4, "VRING_STATE", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "NOT_SUSPENDED", 0x4020, 0x0, 0x0),
    5: Message("VRING_ERR", 5, "VRING_STATE", 8, 8, 8, 8, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "NOT_SUSPENDED", 0x4020, 0x0, 0x0),
    6: Message("SHARED_OBJECT_ADD", 6, "UUID", 16, 16, 16, 16, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "NOT_SUSPENDED", 0x40020, 0x0, 0x0),
    7: Message("SHARED_OBJECT_REMOVE", 7, "UUID", 16, 16, 16, 16, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "NOT_SUSPENDED", 0x40020, 0x0, 0x0),
    8: Message("SHARED_OBJECT_LOOKUP", 8, "UUID", 16, 16, 16, 16, 0, 0, 0, 0, "OWN", "U64", 8, 8, 1, "U64_1", "NOT_SUSPENDED", 0x40020, 0x0, 0x0),
    9: Message("SHMEM_MAP", 9, "MMAP", 40, 40, 40, 40, 1, 1, 1, 1, "ACK", "NONE", 0, 0, 0, "STATUS", "NOT_SUSPENDED", 0x400420, 0x0, 0x0),
    10: Message("SHMEM_UNMAP", 10, "MMAP", 40, 40, 40, 40, 0, 0, 0, 0, "ACK", "NONE", 0, 0, 0, "STATUS", "NOT_SUSPENDED", 0x400020, 0x0, 0x0),
}


class GpuMessage(NamedTuple):
    """A message of a GPU's socket, which the back-end sends."""

    name: str
    id: int
    layout: str  # of struct, before the data
    fields: "tuple[str, ...]"
    data: bool  # pixels follow
    fds: int  # at most
    reply: "int | None"  # bytes; None: there is none


#: messages of a GPU's socket, by id
GPU_MESSAGES = {
    1: GpuMessage("GET_PROTOCOL_FEATURES", 1, "=", (), False, 0, 8),
    2: GpuMessage("SET_PROTOCOL_FEATURES", 2, "=Q", ("value",), False, 0, None),
    3: GpuMessage("GET_DISPLAY_INFO", 3, "=", (), False, 0, 408),
    4: GpuMessage("CURSOR_POS", 4, "=III", ("scanout_id", "x", "y"), False, 0, None),
    5: GpuMessage("CURSOR_POS_HIDE", 5, "=III", ("scanout_id", "x", "y"), False, 0, None),
    6: GpuMessage("CURSOR_UPDATE", 6, "=IIIII", ("scanout_id", "x", "y", "hot_x", "hot_y"), True, 0, None),
    7: GpuMessage("SCANOUT", 7, "=III", ("scanout_id", "width", "height"), False, 0, None),
    8: GpuMessage("UPDATE", 8, "=IIIII", ("scanout_id", "x", "y", "width", "height"), True, 0, None),
    9: GpuMessage("DMABUF_SCANOUT", 9, "=IIIIIIIIII", ("scanout_id", "x", "y", "width", "height", "fd_width", "fd_height", "fd_stride", "fd_flags", "fd_fourcc"), False, 1, None),
    10: GpuMessage("DMABUF_UPDATE", 10, "=IIIII", ("scanout_id", "x", "y", "width", "height"), False, 0, 0),
    11: GpuMessage("GET_EDID", 11, "=I", ("scanout_id",), False, 0, 1056),
    12: GpuMessage("DMABUF_SCANOUT2", 12, "=IIIIIIIIIIQ", ("scanout_id", "x", "y", "width", "height", "fd_width", "fd_height", "fd_stride", "fd_flags", "fd_fourcc", "modifier"), False, 1, None),
}
