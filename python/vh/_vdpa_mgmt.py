# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vDPA management: which devices there are, what they are made from, which driver has them, and where their node is."""
import dataclasses
import os
from typing import Any, TypeVar

from vh._handle import Handle, create
from vh._lib import fd_of, ffi, milliseconds, new_sized
from vh._model import VdpaHas

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class VdpaMgmtDev:
    """A management device: what makes vDPA devices."""

    bus: str = ""  # "pci"; "" for one without a bus, as a simulator
    name: str = ""  # "0000:01:00.2", "vdpasim_net", "vduse"
    classes: int = 0  # kinds that it makes: bit n = virtio device type n
    max_vqs: int = 0  # queues that a device of it may have; 0 = not said
    features: int = 0  # feature bits that they may have

    def __str__(self) -> str:
        return f"{self.bus}/{self.name}" if self.bus else self.name


@dataclasses.dataclass(frozen=True)
class VdpaDev:
    """A vDPA device, as its maker sees it."""

    name: str = ""
    mgmt_bus: str = ""  # of its management device
    mgmt_name: str = ""
    device_id: int = 0  # virtio device type
    vendor_id: int = 0
    max_vqs: int = 0
    max_vq_size: int = 0
    min_vq_size: int = 0


@dataclasses.dataclass(frozen=True)
class VdpaConfig:
    """What the management side knows of a device's configuration; None is what it doesn't."""

    device_id: int
    features: "int | None" = None  # that it offers
    negotiated: "int | None" = None  # that its driver took; known after FEATURES_OK
    mac: "bytes | None" = None
    net_status: "int | None" = None
    max_vqp: "int | None" = None
    mtu: "int | None" = None
    capacity: "int | None" = None  # 512-byte sectors
    size_max: "int | None" = None
    blk_size: "int | None" = None
    seg_max: "int | None" = None
    num_queues: "int | None" = None
    phys_block_exp: "int | None" = None
    align_offset: "int | None" = None
    min_io: "int | None" = None
    opt_io: "int | None" = None
    max_discard: "int | None" = None
    max_discard_seg: "int | None" = None
    discard_align: "int | None" = None
    max_write_zeroes: "int | None" = None
    max_write_zeroes_seg: "int | None" = None
    read_only: "int | None" = None
    flush: "int | None" = None


@dataclasses.dataclass(frozen=True)
class VdpaPlace:
    """Where a vDPA device is found."""

    name: str = ""
    driver: str = ""  # "vhost_vdpa", "virtio_vdpa"; "" = none has taken it
    parent_bus: str = ""  # "pci"; "" where there is none
    parent: str = ""  # what it was made from: "0000:01:00.2"
    node: int = -1  # N of vhost-vdpa-N, -1 = vhost_vdpa has not taken it
    path: str = ""  # of the node, "/dev/vhost-vdpa-0"; "" = there is none
    major: int = 0  # of the node
    minor: int = 0
    virtio: str = ""  # of the virtio device that virtio_vdpa made, "virtio3"; or ""


def _taken(cls: "type[T]", struct: Any) -> T:
    """A struct with names in it as the dataclass of the same members."""
    fields: Any = cls.__dict__["__dataclass_fields__"]
    return cls(**{name: _value(getattr(struct, name)) for name in fields})


def _value(member: Any) -> Any:
    return member if isinstance(member, int) else os.fsdecode(ffi.string(member))


def _bytes_of(text: "str | None") -> Any:
    return ffi.NULL if text is None else os.fsencode(text)


class VdpaMgmt(Handle):
    """vDPA management of this kernel, over netlink and sysfs.

    A key names one device: its name, "/dev/vhost-vdpa-N", or what it was made from, when it is the only one of that.
    """

    _free = "vh_vdpa_mgmt_free"

    def __init__(self, *, root: "str | None" = None, socket: Any = None, timeout: "float | None" = None):
        """root: what stands before /sys and /dev, where a container has the host's. socket: a generic netlink socket to
        use, as one from the initial network namespace; it stays yours. timeout: seconds, of answers and of nodes."""
        opts = new_sized("vh_vdpa_mgmt_opts", timeout_ms=milliseconds(timeout))
        self._adopt(create("vh_vdpa_mgmt_new", "vh_vdpa_mgmt", opts, _bytes_of(root), fd_of(socket)))

    def _all(self, n: int, get: str, struct: str, cls: "type[T]") -> "list[T]":
        found = []
        for i in range(n):
            out = new_sized(struct)
            self._call(get, i, out)
            found.append(_taken(cls, out))
        return found

    def mgmtdevs(self) -> "list[VdpaMgmtDev]":
        """What can make vDPA devices. ENOENT: this kernel has no vDPA, or its module is not loaded."""
        with self._serial:
            n = self._call("vh_vdpa_mgmt_list_mgmtdevs")
            return self._all(n, "vh_vdpa_mgmt_get_mgmtdev", "vh_vdpa_mgmtdev", VdpaMgmtDev)

    def devs(self) -> "list[VdpaDev]":
        """The vDPA devices."""
        with self._serial:
            n = self._call("vh_vdpa_mgmt_list_devs")
            return self._all(n, "vh_vdpa_mgmt_get_dev", "vh_vdpa_dev", VdpaDev)

    def dev(self, name: str) -> VdpaDev:
        """The one of that name."""
        out = new_sized("vh_vdpa_dev")
        self._call("vh_vdpa_mgmt_find_dev", _bytes_of(name), out)
        return _taken(VdpaDev, out)

    def add(self, mgmtdev: "str | VdpaMgmtDev", name: str, *, mac: "bytes | None" = None, mtu: "int | None" = None,
            max_vqp: "int | None" = None, features: "int | None" = None) -> None:
        """Have a management device make a vDPA device. A device of a VDUSE back-end has the back-end's name."""
        attrs = self._attrs(mac=mac, mtu=mtu, max_vqp=max_vqp, features=features)
        self._call("vh_vdpa_mgmt_add_dev", _bytes_of(str(mgmtdev)), _bytes_of(name), attrs)

    def set_mac(self, name: str, mac: bytes) -> None:
        """Change the MAC address of a device, since Linux 6.12."""
        self._call("vh_vdpa_mgmt_set_dev", _bytes_of(name), self._attrs(mac=mac))

    @staticmethod
    def _attrs(**given: Any) -> Any:
        values = {name: value for name, value in given.items() if value is not None}
        if "mac" in values and len(values["mac"]) != 6:
            raise ValueError("a MAC address has 6 bytes")
        has = sum(VdpaHas[name.upper()] for name in values)
        return new_sized("vh_vdpa_attrs", has=has, **values)

    def delete(self, name: str) -> None:
        """Take a device away; it waits while its node is open."""
        self._call("vh_vdpa_mgmt_del_dev", _bytes_of(name))

    def config(self, name: str) -> VdpaConfig:
        """What is known of a network or block device's configuration."""
        out = new_sized("vh_vdpa_config")
        self._call("vh_vdpa_mgmt_get_config", _bytes_of(name), out)
        known = {has.name.lower() for has in VdpaHas if has.name and out.has & has}
        values = {f: getattr(out, f) for f in VdpaConfig.__dataclass_fields__ if f in known}
        if "mac" in known:
            values["mac"] = bytes(out.mac)
        return VdpaConfig(device_id=out.device_id, **values)

    def stats(self, name: str, queue: int) -> "dict[str, int]":
        """The vendor's counters of a queue. EAGAIN: its driver has not set FEATURES_OK yet."""
        with self._serial:
            n = self._call("vh_vdpa_mgmt_list_stats", _bytes_of(name), queue)
            found = {}
            for i in range(n):
                out = new_sized("vh_vdpa_stat")
                self._call("vh_vdpa_mgmt_get_stat", i, out)
                found[_value(out.name)] = out.value
            return found

    def places(self) -> "list[VdpaPlace]":
        """Where the devices are found, by name; needs no privilege."""
        with self._serial:
            n = self._call("vh_vdpa_mgmt_list_places")
            return self._all(n, "vh_vdpa_mgmt_get_place", "vh_vdpa_place", VdpaPlace)

    def place(self, key: str) -> VdpaPlace:
        """Where one is found. ENODEV: there is no such device; ENOTUNIQ: the key names several."""
        out = new_sized("vh_vdpa_place")
        self._call("vh_vdpa_mgmt_find_place", _bytes_of(key), out)
        return _taken(VdpaPlace, out)

    def bind(self, key: str, driver: "str | None" = "vhost_vdpa") -> VdpaPlace:
        """Give a device to another driver of the vdpa bus; None takes it away from the one that has it."""
        out = new_sized("vh_vdpa_place")
        self._call("vh_vdpa_mgmt_bind", _bytes_of(key), _bytes_of(driver), out)
        return _taken(VdpaPlace, out)


__all__ = ["VdpaConfig", "VdpaDev", "VdpaMgmt", "VdpaMgmtDev", "VdpaPlace"]
