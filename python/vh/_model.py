# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
# Made from include/vh/*.h by ./run regen; do not edit.
"""Constants by their C names without VH_, enumerations, and records that the library fills."""
import dataclasses
import enum

__version__ = "0.1.0"
F_NOTIFY_ON_EMPTY = 24
F_LOG_ALL = 26
F_ANY_LAYOUT = 27
F_RING_INDIRECT_DESC = 28
F_RING_EVENT_IDX = 29
F_PROTOCOL_FEATURES = 30
F_VERSION_1 = 32
F_ACCESS_PLATFORM = 33
F_RING_PACKED = 34
F_IN_ORDER = 35
F_ORDER_PLATFORM = 36
F_NOTIFICATION_DATA = 38
F_RING_RESET = 40
TYPE_NET = 1
TYPE_BLK = 2
POLL_ALWAYS = 4294967295
VDUSE_MAKE = 1
VDUSE_TAKE_UP = 2
VDUSE_UMEM = 4
VERSION_MAJOR = 0
VERSION_MINOR = 1
VERSION_PATCH = 0
ERROR_ARGUMENT = 1
ERROR_SYSTEM = 2
ERROR_PEER = 3
ERROR_MEMORY = 4
ERROR_QUEUE = 5
ERROR_DEVICE = 6
ERROR_STATE = 7
ERROR_NONE = 4294967295
ERROR_TEXT_SIZE = 232
LOG_ERROR = 1
LOG_WARNING = 2
LOG_INFO = 3
LOG_DEBUG = 4
MSG_SENT = 0
MSG_RECEIVED = 1
MSG_CHANNEL_MAIN = 0
MSG_CHANNEL_BACKEND = 1
EVENT_CONNECTED = 1
EVENT_DISCONNECTED = 2
EVENT_CHANNEL_ENDED = 24
EVENT_REFUSED = 3
EVENT_STARTED = 4
EVENT_STOPPED = 5
EVENT_ENABLED = 6
EVENT_DISABLED = 7
EVENT_DRAINING = 8
EVENT_BROKEN = 9
EVENT_MEMORY_CHANGED = 10
EVENT_CONFIG_WRITTEN = 11
EVENT_RESET = 12
EVENT_STATUS = 13
EVENT_NEGOTIATED = 14
EVENT_DEVICE_ERROR = 15
EVENT_PAUSED = 16
EVENT_DIRTY_LOST = 17
EVENT_INFLIGHT_LOST = 18
EVENT_RESUBMITTED = 19
EVENT_IOTLB_TIMEOUT = 20
EVENT_IOTLB_FAULT = 21
EVENT_STATE = 22
EVENT_POSTCOPY = 23
EVENT_RECONNECTING = 32
EVENT_GAVE_UP = 33
POSTCOPY_OFF = 0
POSTCOPY_ADVISED = 1
POSTCOPY_LISTENS = 2
POSTCOPY_SHARED = 3
EVENT_CONFIG_CHANGED = 64
EVENT_BACKEND_REQUEST = 65
EVENT_SHMEM_RESET = 66
EVENT_STATE_MOVED = 70
EVENT_NEEDS_RESET = 96
EVENT_SESSION_RUNNING = 97
START_KICK_FD = 1
START_COMPLETED = 2
START_KICK = 3
START_DRIVER_OK = 4
METRICS_CONNECTION = 1
METRICS_QUEUE = 2
METRICS_NUMBER = 1
METRICS_COUNTER = 2
METRICS_TIME = 3
METRICS_CHOICE = 4
METRICS_BITS = 5
METRICS_REQUEST = 6
METRICS_TEXT = 7
METRICS_BRIEF = 1
METRICS_SPACE_DEVICE = 4294967295
METRICS_MAX_PROPS = 64
METRICS_NAME_SIZE = 64
METRICS_ADDRESS_SIZE = 128
METRICS_HELP_SIZE = 128
METRICS_UNKNOWN = 18446744073709551615
MSG_MAX_FDS = 32
MSG_SEND_FDS = 8
MSG_MAX_PAYLOAD = 4096
CONFIG_MAX = 256
CONFIG_WRITE = 0
CONFIG_MIGRATION = 1
PF_MQ = 0
PF_LOG_SHMFD = 1
PF_RARP = 2
PF_REPLY_ACK = 3
PF_MTU = 4
PF_BACKEND_REQ = 5
PF_CROSS_ENDIAN = 6
PF_CRYPTO_SESSION = 7
PF_PAGEFAULT = 8
PF_CONFIG = 9
PF_BACKEND_SEND_FD = 10
PF_HOST_NOTIFIER = 11
PF_INFLIGHT_SHMFD = 12
PF_RESET_DEVICE = 13
PF_INBAND_NOTIFICATIONS = 14
PF_CONFIGURE_MEM_SLOTS = 15
PF_STATUS = 16
PF_XEN_MMAP = 17
PF_SHARED_OBJECT = 18
PF_DEVICE_STATE = 19
PF_GET_VRING_BASE_INFLIGHT = 20
PF_GPA_ADDRESSES = 21
PF_SHMEM = 22
PF_GET_VRING_BASE_SKIP_DRAIN = 23
VRING_LOG = 1
UUID_LEN = 16
SHMEM_MAX = 256
SHMEM_WRITABLE = 1
DIALECT_SPEC = 0
DIALECT_RUST_VMM = 1
DIALECT_VIRTIO_FS = 2
DIALECT_CROSVM = 3
FS_MAP = 1002
FS_UNMAP = 1003
FS_SYNC = 1004
FS_IO = 1005
FS_MAX_RANGES = 8
FS_READ = 1
FS_WRITE = 2
MAC_LEN = 6
REPLY_TABLE = 0
REPLY_NONE = 1
REPLY_ACK = 2
REPLY_OWN = 3
MEM_MAX_REGIONS = 509
MEM_READ = 1
MEM_WRITE = 2
REGION_HUGE = 1
REGION_SEALED = 2
REGION_BROKEN = 4
MAP_XEN_FOREIGN = 1
MAP_XEN_GRANT = 2
MAP_ON_DEMAND = 256
DIRTY_PAGE = 4096
IOTLB_USER_ADDR = 1
IOTLB_EVICT = 2
IOTLB_MAX_ENTRIES = 65536
IOTLB_MAX_MISSES = 64
QUEUE_MAX_SIZE = 32768
QUEUE_PACKED_BASE = 2147516416
QUEUE_DEVICE = 1
QUEUE_DRIVER = 2
REQ_RESUBMITTED = 1
REQ_LAST = 2
QUEUE_HOLD = 1
QUEUE_STOPPED = 0
QUEUE_RUNNING = 1
QUEUE_DRAINING = 2
QUEUE_BROKEN = 3
QUEUE_SLEEP = 0
QUEUE_MORE = 1
QUEUE_LOG_USED = 1
DEVICE_MANUAL_QUEUES = 1
DEVICE_NO_REPEAT = 2
BLKDEV_NULL = 1
BLKDEV_RAM = 2
BLKDEV_FILE = 3
BLKDEV_READONLY = 1
BLKDEV_NO_URING = 2
NET_F_CSUM = 0
NET_F_GUEST_CSUM = 1
NET_F_MTU = 3
NET_F_MAC = 5
NET_F_GUEST_TSO4 = 7
NET_F_GUEST_TSO6 = 8
NET_F_GUEST_ECN = 9
NET_F_GUEST_UFO = 10
NET_F_HOST_TSO4 = 11
NET_F_HOST_TSO6 = 12
NET_F_HOST_ECN = 13
NET_F_HOST_UFO = 14
NET_F_MRG_RXBUF = 15
NET_F_STATUS = 16
NET_F_CTRL_VQ = 17
NET_F_CTRL_RX = 18
NET_F_CTRL_VLAN = 19
NET_F_GUEST_ANNOUNCE = 21
NET_F_MQ = 22
NET_F_CTRL_MAC_ADDR = 23
NET_HDR_SIZE = 12
NET_FRAME_MIN = 14
NET_FRAME_MAX = 65553
NETDEV_LOOPBACK = 1
NETDEV_TAP = 2
NETDEV_SINK = 3
NETDEV_SOURCE = 4
GPU_GET_PROTOCOL_FEATURES = 1
GPU_SET_PROTOCOL_FEATURES = 2
GPU_GET_DISPLAY_INFO = 3
GPU_CURSOR_POS = 4
GPU_CURSOR_POS_HIDE = 5
GPU_CURSOR_UPDATE = 6
GPU_SCANOUT = 7
GPU_UPDATE = 8
GPU_DMABUF_SCANOUT = 9
GPU_DMABUF_UPDATE = 10
GPU_GET_EDID = 11
GPU_DMABUF_SCANOUT2 = 12
GPU_PF_EDID = 0
GPU_PF_DMABUF2 = 1
GPU_MAX_SCANOUTS = 16
GPU_CURSOR_BYTES = 16384
GPU_EDID_MAX = 1024
VDPA_S_ACKNOWLEDGE = 1
VDPA_S_DRIVER = 2
VDPA_S_DRIVER_OK = 4
VDPA_S_FEATURES_OK = 8
VDPA_S_NEEDS_RESET = 64
VDPA_S_FAILED = 128
VDPA_BF_MSG_V2 = 1
VDPA_BF_BATCH = 2
VDPA_BF_ASID = 3
VDPA_BF_SUSPEND = 4
VDPA_BF_RESUME = 5
VDPA_BF_ENABLE_AFTER_DRIVER_OK = 6
VDPA_BF_DESC_ASID = 7
VDPA_BF_PERSIST = 8
VDPA_MAX_CONFIG = 4096
VDPA_NAME_SIZE = 256
VDPA_TEXT_SIZE = 64
VDPA_HAS_MAC = 10
VDPA_HAS_NET_STATUS = 11
VDPA_HAS_MAX_VQP = 12
VDPA_HAS_MTU = 13
VDPA_HAS_NEGOTIATED = 14
VDPA_HAS_FEATURES = 20
VDPA_HAS_CAPACITY = 21
VDPA_HAS_SIZE_MAX = 22
VDPA_HAS_BLK_SIZE = 23
VDPA_HAS_SEG_MAX = 24
VDPA_HAS_NUM_QUEUES = 25
VDPA_HAS_PHYS_BLOCK_EXP = 26
VDPA_HAS_ALIGN_OFFSET = 27
VDPA_HAS_MIN_IO = 28
VDPA_HAS_OPT_IO = 29
VDPA_HAS_MAX_DISCARD = 30
VDPA_HAS_MAX_DISCARD_SEG = 31
VDPA_HAS_DISCARD_ALIGN = 32
VDPA_HAS_MAX_WRITE_ZEROES = 33
VDPA_HAS_MAX_WRITE_ZEROES_SEG = 34
VDPA_HAS_READ_ONLY = 35
VDPA_HAS_FLUSH = 36
STATE_SAVE = 0
STATE_LOAD = 1
STATE_STOPPED = 0
POSTCOPY_WRITE = 1
KERN_NET = 1
KERN_VSOCK = 2
KERN_SCSI = 3
KERN_NET_HDR = 1
KERN_IOCTL_NO = 0
KERN_IOCTL_YES = 1
KERN_IOCTL_UNKNOWN = 2
KERN_MAX_CONFIG = 256
KERN_MAX_FEATURES = 64
KERN_WWPN_MAX = 224
KERN_BF_IOTLB_MSG_V2 = 1
KERN_LITTLE_ENDIAN = 0
KERN_BIG_ENDIAN = 1
DRIVER_STOP_DROP = 1
DRIVER_IOMMU = 1
DRIVER_RING_OFF = 1
DRIVER_RING_NEEDS_RESET = 2
BLK_SECTOR = 512
BLK_ID_SIZE = 20
BLK_READ = 0
BLK_WRITE = 1
BLK_FLUSH = 4
BLK_GET_ID = 8
BLK_DISCARD = 11
BLK_WRITE_ZEROES = 13
BLK_UNMAP = 1
BLK_F_SIZE_MAX = 1
BLK_F_SEG_MAX = 2
BLK_F_GEOMETRY = 4
BLK_F_RO = 5
BLK_F_BLK_SIZE = 6
BLK_F_FLUSH = 9
BLK_F_TOPOLOGY = 10
BLK_F_CONFIG_WCE = 11
BLK_F_MQ = 12
BLK_F_DISCARD = 13
BLK_F_WRITE_ZEROES = 14
BLK_F_LIFETIME = 15
BLK_F_SECURE_ERASE = 16
BLK_F_ZONED = 17
NET_TRUNCATED = 1
NET_RECEIVE = 0
NET_SEND = 1


class Features(enum.IntFlag, boundary=enum.KEEP):
    """Feature bits of the rings and of the transport."""

    NOTIFY_ON_EMPTY = 1 << 24
    LOG_ALL = 1 << 26
    ANY_LAYOUT = 1 << 27
    RING_INDIRECT_DESC = 1 << 28
    RING_EVENT_IDX = 1 << 29
    PROTOCOL_FEATURES = 1 << 30
    VERSION_1 = 1 << 32
    ACCESS_PLATFORM = 1 << 33
    RING_PACKED = 1 << 34
    IN_ORDER = 1 << 35
    ORDER_PLATFORM = 1 << 36
    NOTIFICATION_DATA = 1 << 38
    RING_RESET = 1 << 40


class ProtocolFeatures(enum.IntFlag, boundary=enum.KEEP):
    """vhost-user protocol feature bits."""

    MQ = 1 << 0
    LOG_SHMFD = 1 << 1
    RARP = 1 << 2
    REPLY_ACK = 1 << 3
    MTU = 1 << 4
    BACKEND_REQ = 1 << 5
    CROSS_ENDIAN = 1 << 6
    CRYPTO_SESSION = 1 << 7
    PAGEFAULT = 1 << 8
    CONFIG = 1 << 9
    BACKEND_SEND_FD = 1 << 10
    HOST_NOTIFIER = 1 << 11
    INFLIGHT_SHMFD = 1 << 12
    RESET_DEVICE = 1 << 13
    INBAND_NOTIFICATIONS = 1 << 14
    CONFIGURE_MEM_SLOTS = 1 << 15
    STATUS = 1 << 16
    XEN_MMAP = 1 << 17
    SHARED_OBJECT = 1 << 18
    DEVICE_STATE = 1 << 19
    GET_VRING_BASE_INFLIGHT = 1 << 20
    GPA_ADDRESSES = 1 << 21
    SHMEM = 1 << 22
    GET_VRING_BASE_SKIP_DRAIN = 1 << 23


class BlkFeatures(enum.IntFlag, boundary=enum.KEEP):
    """Feature bits of a block device."""

    SIZE_MAX = 1 << 1
    SEG_MAX = 1 << 2
    GEOMETRY = 1 << 4
    RO = 1 << 5
    BLK_SIZE = 1 << 6
    FLUSH = 1 << 9
    TOPOLOGY = 1 << 10
    CONFIG_WCE = 1 << 11
    MQ = 1 << 12
    DISCARD = 1 << 13
    WRITE_ZEROES = 1 << 14
    LIFETIME = 1 << 15
    SECURE_ERASE = 1 << 16
    ZONED = 1 << 17


class DeviceType(enum.IntEnum):
    """Virtio device types."""

    NET = 1
    BLK = 2


class ErrorDomain(enum.IntEnum):
    """Who refused."""

    ARGUMENT = 1  # the caller's argument
    SYSTEM = 2  # a system call or an allocation
    PEER = 3  # the other end of the connection
    MEMORY = 4  # guest memory
    QUEUE = 5  # a virtqueue
    DEVICE = 6  # the device behind a back-end
    STATE = 7  # right call, wrong moment


class LogLevel(enum.IntEnum):
    """How much a log line matters."""

    ERROR = 1
    WARNING = 2
    INFO = 3
    DEBUG = 4


class EventKind(enum.IntEnum):
    """Kinds of events."""

    CONNECTED = 1
    DISCONNECTED = 2  # reason: see struct vh_event; value: number of the check that ended it, 0 = none
    CHANNEL_ENDED = 24  # reason: as of VH_EVENT_DISCONNECTED; value: number of the check, 0 = none
    REFUSED = 3  # a second client was closed at once
    STARTED = 4  # queue; reason: VH_START_*
    STOPPED = 5  # queue; value: base
    ENABLED = 6  # queue
    DISABLED = 7  # queue
    DRAINING = 8  # queue; value: requests in flight
    BROKEN = 9  # queue; reason: negative errno value, value: number of the check
    MEMORY_CHANGED = 10  # value: snapshot number
    CONFIG_WRITTEN = 11
    RESET = 12  # reason: what the device said, 0 or a negative errno value
    STATUS = 13  # value: device status byte
    NEGOTIATED = 14  # value: feature bits acked
    DEVICE_ERROR = 15  # queue; reason: what vh_device_error() said last; value: vh_queue_stats.failed
    PAUSED = 16  # vh_slave_pause(): it is quiet now
    DIRTY_LOST = 17  # a write is not in the dirty log: -ERANGE beyond it, -EFAULT it was truncated
    INFLIGHT_LOST = 18  # queue; the file of its inflight records was truncated: it goes on without
    RESUBMITTED = 19  # queue; value: requests that were in flight before, and are done again
    IOTLB_TIMEOUT = 20  # value: an I/O address that the front-end said nothing of in time
    IOTLB_FAULT = 21  # queue, broken; value: I/O address; reason: VH_MEM_* that may not be done
    STATE = 22  # device state: reason 0 all went, -EINPROGRESS it goes, else why not; value: bytes
    POSTCOPY = 23  # pages of memory come when they are touched; value: VH_POSTCOPY_*
    RECONNECTING = 32  # it will try; reason: why the last connection or try ended; value: ms until then
    GAVE_UP = 33  # it won't any more; reason: why the last try failed; value: failures in a row
    CONFIG_CHANGED = 64  # the back-end says that config space changed
    BACKEND_REQUEST = 65  # a back-end request was served; reason: 0, 1 = refused; value: its id
    SHMEM_RESET = 66  # all shared memory is to be unmapped; value: how many mappings there were
    STATE_MOVED = 70  # vh_master_save_state() and _load_state(); reason: how it ended; value: bytes
    NEEDS_RESET = 96  # queue; reason: why nobody can tell where it goes on, a negative errno value
    SESSION_RUNNING = 97  # the back-end came back, and was told all that the session had told before


class StartReason(enum.IntEnum):
    """Why a ring started."""

    KICK_FD = 1  # SET_VRING_KICK found the ring complete
    COMPLETED = 2  # the missing message arrived
    KICK = 3  # the first kick
    DRIVER_OK = 4  # VDUSE: the driver runs


class MetricsType(enum.IntEnum):
    """What a value of a MetricsReader is."""

    NUMBER = 1  # goes up and down
    COUNTER = 2  # only goes up
    TIME = 3  # CLOCK_MONOTONIC, nanoseconds: since when it is so; 0 = it is not
    CHOICE = 4  # one of a few, named by vh_metrics_choice()
    BITS = 5  # feature bits, named by vh_feature_name(vh_metrics_prop.space)
    REQUEST = 6  # id of a message, named by vh_msg_name()
    TEXT = 7  # no value: vh_metrics_row.name or .address, by vh_metrics_prop.space 0 or 1


class QueueState(enum.IntEnum):
    """What a queue does."""

    STOPPED = 0
    RUNNING = 1
    DRAINING = 2  # no more pops; stops when the last request in flight is pushed
    BROKEN = 3  # the peer broke the ring or its memory; restart to recover


class RegionFlags(enum.IntFlag, boundary=enum.KEEP):
    """What is said of a region."""

    HUGE = 1  # vh_mem_alloc: ask for huge pages, fails if there are none; report: has them
    SEALED = 2  # report: the file can't shrink (F_SEAL_SHRINK)
    BROKEN = 4  # report: the file was truncated under the mapping


class ReplyMode(enum.IntEnum):
    """What reply a raw request expects."""

    TABLE = 0  # as the message table says; ask for a status where REPLY_ACK allows it
    NONE = 1  # expect none, ask for none
    ACK = 2  # set need_reply, expect a u64 status
    OWN = 3  # expect a reply of the message's own


class GpuRequest(enum.IntEnum):
    """Messages of a GPU's socket."""

    GET_PROTOCOL_FEATURES = 1  # by vh_gpu_negotiate()
    SET_PROTOCOL_FEATURES = 2  # the same
    GET_DISPLAY_INFO = 3  # by vh_gpu_get_modes()
    CURSOR_POS = 4  # scanout_id, x, y
    CURSOR_POS_HIDE = 5  # the same
    CURSOR_UPDATE = 6  # scanout_id, x, y, hot_x, hot_y, data: 64 x 64 pixels of 4 bytes
    SCANOUT = 7  # scanout_id, width, height; 0 x 0: off
    UPDATE = 8  # scanout_id, x, y, width, height, data: so many pixels of 4 bytes
    DMABUF_SCANOUT = 9  # scanout_id, x, y, width, height, fd_*, and the fd; none: off
    DMABUF_UPDATE = 10  # scanout_id, x, y, width, height; answered when it was shown
    GET_EDID = 11  # by vh_gpu_get_edid()
    DMABUF_SCANOUT2 = 12  # as DMABUF_SCANOUT, and the modifier; needs VH_GPU_PF_DMABUF2


class GpuFeatures(enum.IntFlag, boundary=enum.KEEP):
    """Protocol features of a GPU's socket."""

    EDID = 1 << 0
    DMABUF2 = 1 << 1


class VdpaStatus(enum.IntFlag, boundary=enum.KEEP):
    """Status of a vDPA device."""

    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    NEEDS_RESET = 64
    FAILED = 128


class VdpaBackendFeatures(enum.IntFlag, boundary=enum.KEEP):
    """Features of the file of a vDPA device."""

    MSG_V2 = 1 << 1  # messages with an address space
    BATCH = 1 << 2  # many mappings as one change
    ASID = 1 << 3  # several address spaces
    SUSPEND = 1 << 4  # vh_vdpa_suspend()
    RESUME = 1 << 5  # vh_vdpa_resume()
    ENABLE_AFTER_DRIVER_OK = 1 << 6  # a ring may be enabled late
    DESC_ASID = 1 << 7  # descriptors in an address space of their own
    PERSIST = 1 << 8  # mappings survive a reset


class VdpaHas(enum.IntFlag, boundary=enum.KEEP):
    """What is said of a vDPA device."""

    MAC = 1 << 10
    NET_STATUS = 1 << 11
    MAX_VQP = 1 << 12
    MTU = 1 << 13
    NEGOTIATED = 1 << 14
    FEATURES = 1 << 20
    CAPACITY = 1 << 21
    SIZE_MAX = 1 << 22
    BLK_SIZE = 1 << 23
    SEG_MAX = 1 << 24
    NUM_QUEUES = 1 << 25
    PHYS_BLOCK_EXP = 1 << 26
    ALIGN_OFFSET = 1 << 27
    MIN_IO = 1 << 28
    OPT_IO = 1 << 29
    MAX_DISCARD = 1 << 30
    MAX_DISCARD_SEG = 1 << 31
    DISCARD_ALIGN = 1 << 32
    MAX_WRITE_ZEROES = 1 << 33
    MAX_WRITE_ZEROES_SEG = 1 << 34
    READ_ONLY = 1 << 35
    FLUSH = 1 << 36


class BlkOp(enum.IntEnum):
    """Block requests."""

    READ = 0
    WRITE = 1
    FLUSH = 4
    GET_ID = 8
    DISCARD = 11
    WRITE_ZEROES = 13


@dataclasses.dataclass(frozen=True)
class Region:
    """One range of guest memory. @frozen, 64 bytes."""

    gpa: int = 0  # guest physical address
    uva: int = 0  # front-end user address, the key on the wire
    len: int = 0  # bytes
    offset: int = 0  # offset in the file of the region's first byte
    host: int = 0  # address of the first byte in this process
    page_size: int = 0  # page size of the backing, bytes
    flags: int = 0  # VH_REGION_*
    number: int = 0  # snapshot number that this description was taken from
    map_flags: int = 0  # VH_MAP_*, 0 = a file like any other
    map_domain: int = 0  # whose memory it is, where that matters


@dataclasses.dataclass(frozen=True)
class DirtyInfo:
    """A dirty log. Size-first out struct."""

    broken: int = 0  # 1: its file was truncated, bits are lost
    offset: int = 0  # of its first byte in the file
    len: int = 0  # bytes
    pages: int = 0  # that it has bits for, from guest address 0 on
    lost: int = 0  # writes to pages beyond these: nobody will copy them


@dataclasses.dataclass(frozen=True)
class IotlbEntry:
    """What a range of I/O addresses means. @frozen, 32 bytes."""

    iova: int = 0  # first I/O address
    len: int = 0  # bytes
    addr: int = 0  # what it means: guest address, or user address with VH_IOTLB_USER_ADDR
    perm: int = 0  # VH_MEM_READ, VH_MEM_WRITE or both: what the device may do
    flags: int = 0  # must be 0


@dataclasses.dataclass(frozen=True)
class IotlbMiss:
    """An I/O address that nothing is known of. Size-first out struct."""

    perm: int = 0  # VH_MEM_*: what the device wants to do there
    iova: int = 0  # the first byte that is not known


@dataclasses.dataclass(frozen=True)
class IotlbStats:
    """Counters. Size-first out struct."""

    entries: int = 0  # now; neighbours that go on with each other are one
    max_entries: int = 0  # that there may be
    waiting: int = 0  # misses in the list now
    updates: int = 0
    invalidations: int = 0
    evicted: int = 0  # entries that had to make room
    misses: int = 0  # that queues had, each range counted once while it is waited for
    dropped: int = 0  # misses for which the list had no room; they come again
    timed_out: int = 0  # misses that nobody answered in time


@dataclasses.dataclass(frozen=True)
class VringAddr:
    """SET_VRING_ADDR: addresses as the back-end is to see them. @frozen, 40 bytes."""

    index: int = 0
    flags: int = 0  # 0 or VH_VRING_LOG
    desc: int = 0  # vh_uva, or vh_iova with ACCESS_PLATFORM
    used: int = 0
    avail: int = 0
    log: int = 0  # vh_gpa at which writes to the used ring are logged


@dataclasses.dataclass(frozen=True)
class FsRange:
    """One range of a virtio-fs request. @frozen, 32 bytes."""

    fd_offset: int = 0  # in the file
    cache_offset: int = 0  # in the cache; IO: guest physical address
    len: int = 0  # bytes, > 0
    flags: int = 0  # VH_FS_READ, VH_FS_WRITE


@dataclasses.dataclass(frozen=True)
class Event:
    """News of a handle. Size-first out struct."""

    kind: int = 0  # VH_EVENT_*
    queue: int = 0  # queue index, VH_ERROR_NONE for the device
    reason: int = 0  # by kind
    value: int = 0  # by kind
    count: int = 0  # how many of this kind were coalesced into it, >= 1


@dataclasses.dataclass(frozen=True)
class QueueStats:
    """Counters since the queue was made. Size-first out struct."""

    state: int = 0  # as vh_queue_state() tells it
    requests: int = 0  # popped or submitted
    completed: int = 0  # pushed or reaped
    bytes_in: int = 0  # readable bytes of popped requests; written bytes reaped
    bytes_out: int = 0  # written bytes pushed; readable bytes submitted
    kicks: int = 0  # device: kicks received; driver: kicks sent
    calls: int = 0  # device: calls sent; driver: calls received
    errors: int = 0  # times that the queue broke
    seg_waits: int = 0  # pops cut short because the segment pool was used up
    in_flight: int = 0
    broken_site: int = 0  # number of the check that broke it, 0 = none
    oldest_in_flight_ns: int = 0  # age of the oldest request in flight, 0 = none, or seen now for the first time
    failed: int = 0  # device: requests that it could not do, see vh_device_error()
    iotlb_misses: int = 0  # device: I/O addresses that were not known, and had to be asked for


@dataclasses.dataclass(frozen=True)
class SlaveStats:
    """Counters. Size-first out struct."""

    connected: int = 0  # 1 while a front-end is connected
    connections: int = 0  # taken
    refused: int = 0  # second clients
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0  # control socket
    bytes_out: int = 0
    rejected: int = 0  # messages refused by a check
    errors: int = 0  # connections ended by us
    owed: int = 0  # replies owed
    n_queues: int = 0
    oldest_owed_ns: int = 0  # age of the oldest owed reply, 0 = none
    conn_messages_in: int = 0
    conn_messages_out: int = 0
    conn_bytes_in: int = 0
    conn_bytes_out: int = 0
    conn_rejected: int = 0
    queue_requests: int = 0
    queue_completed: int = 0
    queue_failed: int = 0
    queue_bytes_in: int = 0
    queue_bytes_out: int = 0
    queue_kicks: int = 0
    queue_calls: int = 0
    queue_errors: int = 0
    queue_in_flight: int = 0  # now
    oldest_in_flight_ns: int = 0  # of all queues, now


@dataclasses.dataclass(frozen=True)
class VduseInfo:
    """What it is like now. Size-first out struct."""

    status: int = 0  # device status that the driver set last
    offered: int = 0  # feature bits
    features: int = 0  # that the driver took, from FEATURES_OK on
    api_version: int = 0  # VDUSE's, of this kernel, at most what the library knows
    taken_up: int = 0  # 1: the device was there before
    n_queues: int = 0
    running: int = 0  # queues that run
    owed: int = 0  # 1: the kernel waits for an answer
    regions: int = 0  # pieces of the driver's memory that are mapped
    messages: int = 0  # of the kernel, answered
    refused: int = 0  # of these, by a check or by the device
    interrupts: int = 0  # made
    umem: int = 0  # bytes of bounce pages that are this process's own; 0 = the kernel's are used, or none yet
    umem_rc: int = 0  # why they can't be, since the last reset; 0 = no reason


@dataclasses.dataclass(frozen=True)
class VdpaInfo:
    """What a device says of itself. Size-first out struct."""

    device_id: int = 0  # virtio device type
    features: int = 0  # that it offers
    backend_features: int = 0  # that its file offers: bit numbers VH_VDPA_BF_*
    first_iova: int = 0  # I/O addresses that it can use
    last_iova: int = 0  # inclusive
    max_vring_num: int = 0  # entries that a ring may have, after a reset
    num_vrings: int = 0  # 0 = this kernel does not say
    num_groups: int = 0  # of rings that share an address space; 0 = this kernel does not say
    num_asids: int = 0  # address spaces; 0 = this kernel does not say
    config_size: int = 0  # bytes; 0 = this kernel does not say
    status: int = 0  # VH_VDPA_S_*


@dataclasses.dataclass(frozen=True)
class MasterStats:
    """Counters since vh_master_new(). Size-first out struct."""

    connected: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    rejected: int = 0  # replies and back-end requests refused by a check
    backend_requests: int = 0
    tickets: int = 0  # replies expected now
    oldest_ticket_ns: int = 0  # age of the oldest expected reply, 0 = none


@dataclasses.dataclass(frozen=True)
class BlkInfo:
    """What the device is. Size-first out struct."""

    block_size: int = 0  # bytes
    capacity: int = 0  # bytes
    features: int = 0  # negotiated
    read_only: int = 0
    n_queues: int = 0  # of the session
    max_queues: int = 0  # that the device has
    seg_max: int = 0  # data segments in a request, 0 = not said
    max_discard: int = 0  # sectors in a request, 0 = no discard
    max_write_zeroes: int = 0  # sectors in a request, 0 = no write-zeroes
    write_cache: int = 0  # 1: flush is needed
    max_bytes: int = 0  # of data in a request, whole blocks


@dataclasses.dataclass(frozen=True)
class GpuMode:
    """A mode of one scanout. @frozen, 24 bytes."""

    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    enabled: int = 0  # 0 or 1
    flags: int = 0


@dataclasses.dataclass(frozen=True)
class PostcopyFault:
    """A page that the back-end waits for. Size-first out struct."""

    flags: int = 0  # VH_POSTCOPY_WRITE
    gpa: int = 0  # guest address of the page
    address: int = 0  # where in it the back-end is, in its own address space
    page_size: int = 0  # bytes to be brought, at least
