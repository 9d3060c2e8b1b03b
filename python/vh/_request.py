# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The requests of a vhost-user front-end, one method for each message."""
import os
from typing import Any

from vh._iotlb import Iotlb, give
from vh import _model
from vh._byhand import ByHand
from vh._device import CryptoSession
from vh._handle import expect
from vh._inflight import Inflight
from vh._lib import fd_of, ffi, milliseconds, new_sized
from vh._memory import Memory, _region
from vh._model import CONFIG_WRITE, Features, ProtocolFeatures, Region, VringAddr
from vh._postcopy import Postcopy


class Requests(ByHand):
    """Mixed into Master."""

    def _wait(self, name: str, *args: Any) -> int:
        raise NotImplementedError

    def _out(self, name: str, ctype: str, *args: Any) -> int:
        out = ffi.new(f"{ctype} *")
        self._wait(name, *args, out)
        return int(out[0])

    def _get(self, name: str, ctype: str, *args: Any) -> int:
        return self._out(f"vh_master_get_{name}", ctype, *args)

    def get_features(self) -> Features:
        return Features(self._get("features", "uint64_t"))

    def set_features(self, features: int) -> None:
        self._wait("vh_master_set_features", features)

    def get_protocol_features(self) -> ProtocolFeatures:
        return ProtocolFeatures(self._get("protocol_features", "uint64_t"))

    def set_protocol_features(self, features: int) -> None:
        self._wait("vh_master_set_protocol_features", features)

    def set_owner(self) -> None:
        self._wait("vh_master_set_owner")

    def get_queue_num(self) -> int:
        return self._get("queue_num", "uint32_t")

    def get_max_mem_slots(self) -> int:
        return self._get("max_mem_slots", "uint32_t")

    def get_config(self, offset: int = 0, length: int = _model.CONFIG_MAX) -> bytes:
        buf = ffi.new("char[]", max(length, 1))
        self._wait("vh_master_get_config", offset, buf, length)
        return ffi.buffer(buf, length)[:]  # type: ignore[no-any-return]

    def set_config(self, offset: int, data: Any, flags: int = CONFIG_WRITE) -> None:
        buf = ffi.from_buffer(data)
        self._wait("vh_master_set_config", offset, buf, len(buf), flags)

    def set_mem(self, memory: Memory) -> None:
        """Share all regions."""
        ptr = expect(memory, Memory)._enter()
        try:
            self._wait("vh_master_set_mem", ptr)
        finally:
            memory._leave()

    def add_mem_region(self, memory: Memory, index: int) -> None:
        ptr = expect(memory, Memory)._enter()
        try:
            self._wait("vh_master_add_mem_region", ptr, index)
        finally:
            memory._leave()

    def remove_mem_region(self, region: Region) -> None:
        self._wait("vh_master_remove_mem_region", _region(region))

    def set_vring_num(self, queue: int, num: int) -> None:
        self._wait("vh_master_set_vring_num", queue, num)

    def set_vring_addr(self, addr: VringAddr) -> None:
        values = {name: getattr(addr, name) for name in VringAddr.__dataclass_fields__}
        self._wait("vh_master_set_vring_addr", ffi.new("struct vh_vring_addr *", values))

    def set_vring_base(self, queue: int, base: int) -> None:
        self._wait("vh_master_set_vring_base", queue, base)

    def get_vring_base(self, queue: int) -> int:
        """Stops the ring."""
        return self._get("vring_base", "uint32_t", queue)

    def get_vring_base_skip_drain(self, queue: int) -> int:
        """Stops the ring, and leaves what is in flight in the records."""
        return self._out("vh_master_get_vring_base_skip_drain", "uint32_t", queue)

    def vring_kick(self, queue: int) -> None:
        """A kick by message, with INBAND_NOTIFICATIONS."""
        self._wait("vh_master_vring_kick", queue)

    def get_inflight(self, num_queues: int, queue_size: int) -> Inflight:
        """A new file for records of what is in flight, from the back-end."""
        out, fd = new_sized("vh_inflight"), ffi.new("vh_fd *", -1)
        self._wait("vh_master_get_inflight", num_queues, queue_size, out, fd)
        records = Inflight.__new__(Inflight)
        records.num_queues, records.queue_size = num_queues, queue_size
        records._fill(out, fd[0])
        return records

    def set_inflight(self, records: Inflight) -> None:
        """Keep the records there, and first do again what they say was in flight. On every connection, before rings start."""
        self._wait("vh_master_set_inflight", *records._lent())

    def set_log_base(self, fd: Any, offset: int, length: int) -> None:
        """The file of the dirty log. Driver.set_dirty() does all that is to be done."""
        self._wait("vh_master_set_log_base", fd_of(fd), offset, length)

    def set_log_fd(self, fd: Any) -> None:
        """Signalled when the back-end has set bits in the dirty log."""
        self._wait("vh_master_set_log_fd", fd_of(fd))

    def iotlb_update(self, entry: _model.IotlbEntry) -> None:
        """What a range of I/O addresses means; addr is a user address. Inside of on_iotlb_miss it doesn't wait."""
        self._wait("vh_master_iotlb_update", ffi.new("struct vh_iotlb_entry *", {
            "iova": entry.iova, "len": entry.len, "addr": entry.addr, "perm": entry.perm}))

    def iotlb_invalidate(self, iova: int = 0, length: int = (1 << 64) - 1) -> None:
        """The range means nothing any more: when this returns, requests that used it have ended."""
        self._wait("vh_master_iotlb_invalidate", iova, length)

    def set_iotlb(self, table: "Iotlb | None") -> None:
        """Answer the back-end's misses from this map. None: no more."""
        give(self, "vh_master_set_iotlb", table)

    def set_vring_kick(self, queue: int, fd: Any) -> None:
        """Starts the ring."""
        self._wait("vh_master_set_vring_kick", queue, fd_of(fd))

    def set_vring_call(self, queue: int, fd: Any) -> None:
        self._wait("vh_master_set_vring_call", queue, fd_of(fd))

    def set_vring_err(self, queue: int, fd: Any) -> None:
        self._wait("vh_master_set_vring_err", queue, fd_of(fd))

    def set_vring_enable(self, queue: int, on: bool = True) -> None:
        self._wait("vh_master_set_vring_enable", queue, int(on))

    def set_vring_endian(self, queue: int, big: bool) -> None:
        """Byte order of a legacy ring."""
        self._wait("vh_master_set_vring_endian", queue, int(big))

    def send_rarp(self, mac: Any) -> None:
        """Announce the guest after a migration; mac has 6 bytes."""
        buf = ffi.from_buffer(mac)
        self._wait("vh_master_send_rarp", buf, len(buf))

    def set_mtu(self, mtu: int) -> None:
        self._wait("vh_master_set_mtu", mtu)

    def create_crypto_session(self, session: CryptoSession) -> int:
        """The number of the session."""
        struct, _keys = session._lent()
        return self._out("vh_master_create_crypto_session", "int64_t", struct)

    def close_crypto_session(self, number: int) -> None:
        self._wait("vh_master_close_crypto_session", number)

    def set_gpu_socket(self, fd: Any) -> None:
        """The back-end's end of a socket to the display."""
        self._wait("vh_master_set_gpu_socket", fd_of(fd))

    def set_device_state_fd(self, fd: Any, direction: int = _model.STATE_SAVE,
                            phase: int = _model.STATE_STOPPED) -> "int | None":
        """Through what the device's state is to go: the back-end's end of a pipe. What the back-end wants to be used
        instead of the other end, yours to close, or None. save_state() and load_state() do all that is to be done."""
        out = ffi.new("vh_fd *")
        self._wait("vh_master_set_device_state_fd", direction, phase, fd_of(fd), out)
        return int(out[0]) if out[0] >= 0 else None

    def check_device_state(self) -> None:
        """VhError when the back-end could not send, or not understand, all of its state."""
        self._wait("vh_master_check_device_state")

    def _state(self, name: str, fd: Any, timeout: "float | None", max_bytes: int) -> int:
        opts = new_sized("vh_state_opts", timeout_ms=milliseconds(timeout), max_bytes=max_bytes)
        return self._out(name, "uint64_t", opts, fd_of(fd))

    def save_state(self, file: Any = None, *, timeout: "float | None" = None, max_bytes: int = 0) -> "bytes | int":
        """Take the device's state, while no ring runs. As bytes; or into a file, pipe or socket, and how much it was.
        Timeout: how long nothing may move."""
        if file is not None:
            return self._state("vh_master_save_state", file, timeout, max_bytes)
        with open(os.memfd_create("vh-state"), "rb") as memory:
            self._state("vh_master_save_state", memory, timeout, max_bytes)
            memory.seek(0)
            return memory.read()

    def load_state(self, state: Any, *, timeout: "float | None" = None, max_bytes: int = 0) -> int:
        """Give the device the state that another one had: bytes, or a file, pipe or socket. How much it was."""
        if isinstance(state, int) or hasattr(state, "fileno"):
            return self._state("vh_master_load_state", state, timeout, max_bytes)
        with open(os.memfd_create("vh-state"), "r+b", buffering=0) as memory:
            data = memoryview(state)
            while data:
                data = data[memory.write(data):]
            memory.seek(0)
            return self._state("vh_master_load_state", memory, timeout, max_bytes)

    def get_shared_object(self, uuid: Any) -> int:
        """An object that the device has told of: a file descriptor, yours to close."""
        return self._out("vh_master_get_shared_object", "vh_fd", ffi.from_buffer(uuid), len(uuid))

    def get_shmem(self) -> "dict[int, int]":
        """The regions of the device's shared memory: their sizes by number."""
        sizes = ffi.new("uint64_t[]", _model.SHMEM_MAX)
        self._wait("vh_master_get_shmem", sizes, _model.SHMEM_MAX)
        return {shmid: int(size) for shmid, size in enumerate(sizes) if size}

    def postcopy_advise(self) -> "Postcopy":
        """Before memory is shared: where the pages are asked for that the back-end touches and that are missing."""
        out = ffi.new("struct vh_postcopy **")
        self._wait("vh_master_postcopy_advise", out)
        return Postcopy(out[0])

    def postcopy_listen(self) -> None:
        """From now on memory that is shared may have missing pages."""
        self._wait("vh_master_postcopy_listen")

    def postcopy_end(self) -> None:
        """All pages are there; what is missing yet the back-end finds as zeroes."""
        self._wait("vh_master_postcopy_end")

    def reset_owner(self) -> None:
        """Deprecated: back-ends differ in what they do."""
        self._wait("vh_master_reset_owner")

    def reset_device(self) -> None:
        self._wait("vh_master_reset_device")

    def set_status(self, status: int) -> None:
        self._wait("vh_master_set_status", status)

    def get_status(self) -> int:
        return self._get("status", "uint32_t")
