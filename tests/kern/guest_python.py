#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The Python package on a kernel that has the devices: Kern, Vdpa, VdpaMgmt, Vduse, and Blk and Net over them.

Says what tests/kern/guest.h says. What is imported here is all that the guest has.
"""
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import socket
import struct
import sys
import threading
import traceback

import vh
from vh import Blk, Device, Dirty, Driver, Kern, Memory, Net, Vdpa, VdpaMgmt, VdpaStatus, Vduse, VhError  # the package loads at use

NAME = "pyguest"
TYPE = b"\x88\xb5"  # of a frame, for experiments
BLOCK = 4096
MIB = 1 << 20
F = vh.Features


class Skipped(Exception):
    """This kernel lacks something."""


@contextlib.contextmanager
def refused(number, text=""):
    try:
        yield
    except VhError as e:
        assert e.errno == number and text in str(e), e
    else:
        raise AssertionError(f"{errno.errorcode[number]} {text}")


@contextlib.contextmanager
def made(maker, driver="vhost_vdpa", **attrs):
    """A vDPA device NAME; its place."""
    with VdpaMgmt() as mgmt:
        try:
            mgmt.add(maker, NAME, **attrs)
        except VhError as e:
            if e.errno == errno.ENODEV and maker != "vduse":
                raise Skipped("no simulators") from None
            raise
        try:
            yield mgmt.bind(NAME, driver)
        finally:
            mgmt.delete(NAME)


@contextlib.contextmanager
def exported(device, **options):
    """A device of ours that the kernel has as NAME, served by a thread."""
    try:
        with device, Vduse(NAME, device, make=True, **options) as vduse:
            thread = threading.Thread(target=vduse.serve)
            thread.start()
            try:
                yield vduse
            finally:
                vduse.stop()
                thread.join()
    finally:
        Vduse.remove(NAME)


def drive_disk(where):
    """Blocks are written through one session and read through the next."""
    for step in range(2):
        with Blk(where) as blk:
            for i in range(16):
                block = bytes([i + 1]) * BLOCK
                if step == 0:
                    blk.write(i * 3 * BLOCK, block)
                assert blk.read(i * 3 * BLOCK, BLOCK) == block
            with refused(errno.ERANGE):
                blk.read(blk.capacity, 512)


def drive_cable(where):
    """What is sent to everybody comes back, in order; frames of somebody else's are passed over."""
    with Net(where) as net:
        for i in range(20):
            frame = b"\xff" * 6 + bytes([2, 0, 0, 0, 0, i]) + TYPE + bytes([i]) * (46 + 71 * i)
            net.send(frame)
            while (got := net.receive(20)) and got[12:14] != TYPE:
                pass
            assert got == frame, (i, got)


def kernel_calls():
    with Kern("/dev/vhost-net") as k, Memory() as mem, Dirty(1 << 32) as log:
        assert k.kind == vh.KERN_NET and k.get_features() & F.VERSION_1
        with refused(errno.EPERM, "vh_kern_set_owner() comes first"):
            k.set_vring_num(0, 64)
        assert k.probe()["VHOST_SET_VRING_BUSYLOOP_TIMEOUT"] is None
        k.set_owner()
        with refused(errno.EBUSY, "it has an owner already"):
            k.set_owner()
        known = k.probe()
        assert known["VHOST_SET_VRING_BUSYLOOP_TIMEOUT"] is True and known["VHOST_VSOCK_SET_RUNNING"] is False
        if known["VHOST_GET_FEATURES_ARRAY"]:
            assert k.get_features_array(4)[::2] == [int(k.get_features()), 0]
        else:
            with refused(errno.ENOTTY, "VHOST_GET_FEATURES_ARRAY"):
                k.get_features_array(2)
        with refused(errno.EOPNOTSUPP):
            k.set_features(1 << 62)
        k.set_backend_features(k.get_backend_features())
        mem.alloc(0, MIB)
        k.set_mem(mem)
        k.set_log_base(log)
        k.set_features(F.VERSION_1 | F.LOG_ALL)
        k.set_vring_num(0, 64)
        with refused(errno.EINVAL, "a power of two"):
            k.set_vring_num(0, 3)
        at = mem.regions()[0].host
        k.set_vring_addr(0, at, at + 8192, at + 4096)
        k.set_vring_base(0, 5)
        assert k.get_vring_base(0) == 5
        k.set_vring_busyloop(0, 7)
        assert k.get_vring_busyloop(0) == 7
        event = os.eventfd(0)
        for call in (k.set_vring_kick, k.set_vring_call, k.set_vring_err):
            call(0, event)
        with open(os.devnull, "rb") as f, refused(errno.EINVAL, "no eventfd"):
            k.set_vring_kick(0, f)
        os.close(event)
        k.reset_owner()
    with refused(errno.ENOENT, "modprobe vhost_net"):
        Kern("/nowhere/vhost-net")


def kernel_sockets_and_disks():
    with Kern("/dev/vhost-vsock") as a, Kern("/dev/vhost-vsock") as b:
        a.vsock_set_cid(77)
        with refused(errno.EADDRINUSE, "another guest has this address"):
            b.vsock_set_cid(77)
        a.set_owner()
        with refused(errno.EFAULT):
            a.vsock_set_running(True)
    with Kern("/dev/vhost-scsi") as k:
        assert k.scsi_get_abi_version() == 1
        k.scsi_set_events_missed(True)
        assert k.scsi_get_events_missed() is True
        k.set_owner()
        worker = k.new_worker()
        k.attach_vring_worker(2, worker)
        assert k.get_vring_worker(2) == worker
        with refused(errno.EBUSY, "still attached"):
            k.free_worker(worker)
        k.attach_vring_worker(2, k.get_vring_worker(3))
        k.free_worker(worker)
        with refused(errno.EFAULT, "come before it"):
            k.scsi_set_endpoint("naa.600140554cf3a18e", 1)


def echo(packets, ready):
    """At the interface of a tap: what comes in goes out again, until it says that it is over."""
    ready.set()
    while True:
        frame, at = packets.recvfrom(2000)
        if not frame or frame[14:18] == b"over":
            return
        if at[2] != socket.PACKET_OUTGOING:
            packets.send(frame)


def kernel_network():
    with open("/dev/net/tun", "r+b", buffering=0) as tap, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, \
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5)) as packets:
        name = struct.pack("16sH22x", NAME.encode(), 0x5002)  # IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
        fcntl.ioctl(tap, 0x400454ca, name)  # TUNSETIFF
        fcntl.ioctl(tap, 0x400454d8, struct.pack("i", vh.NET_HDR_SIZE))  # TUNSETVNETHDRSZ
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", NAME.encode(), 0x101))  # SIOCSIFFLAGS: IFF_UP | IFF_PROMISC
        packets.bind((NAME, 0x88b5))
        ready = threading.Event()
        thread = threading.Thread(target=echo, args=(packets, ready))
        thread.start()
        ready.wait()
        try:
            with Kern("/dev/vhost-net") as k:
                k.attach(tap)
                assert k.backend().kind == "vhost-kernel"
                drive_cable(k)
        finally:
            tap.write(bytes(vh.NET_HDR_SIZE) + b"\xff" * 6 + bytes(6) + TYPE + b"over".ljust(46))
            thread.join()


def management():
    with VdpaMgmt() as mgmt:
        makers = {str(d): d for d in mgmt.mgmtdevs()}
        assert "vduse" in makers
        if "vdpasim_net" not in makers:
            raise Skipped("no simulators")
        assert makers["vdpasim_net"].classes & 1 << vh.DeviceType.NET
        mac = bytes([0x52, 0x54, 0, 1, 2, 3])
        with made("vdpasim_net", mac=mac, mtu=1400) as place:
            assert place.driver == "vhost_vdpa" and os.path.exists(place.path) and mgmt.place(place.path) == place
            assert mgmt.dev(NAME).device_id == vh.DeviceType.NET and NAME in {d.name for d in mgmt.devs()}
            config = mgmt.config(NAME)
            assert config.mac == mac and config.mtu == 1400 and config.negotiated is None
            mgmt.set_mac(NAME, mac[:5] + b"\4")
            assert mgmt.config(NAME).mac == mac[:5] + b"\4"
            with refused(errno.EEXIST):
                mgmt.add("vdpasim_net", NAME)
            with refused(errno.EAGAIN):
                mgmt.stats(NAME, 0)
            assert mgmt.bind(NAME, "virtio_vdpa").virtio.startswith("virtio")
            with refused(errno.ENODEV):
                Vdpa(NAME)
            assert mgmt.bind(NAME, None).driver == ""
        for call in (mgmt.dev, mgmt.delete, mgmt.config, mgmt.place):
            with refused(errno.ENODEV):
                call(NAME)
        with refused(errno.ENODEV):
            mgmt.add("nobody", NAME)
        with made("vdpasim_blk"), refused(errno.EOPNOTSUPP):
            mgmt.set_mac(NAME, mac)


def vdpa_calls():
    with made("vdpasim_net"), Vdpa(NAME) as v, mmap.mmap(-1, 8 * BLOCK) as memory:
        info = v.info
        assert info.device_id == vh.DeviceType.NET and info.num_vrings >= 2 and info.num_groups == 2
        with refused(errno.EBUSY):
            Vdpa(NAME)
        v.set_owner()
        v.set_backend_features(info.backend_features & 0x1e)
        v.set_status(VdpaStatus.ACKNOWLEDGE)
        with refused(errno.EINVAL):
            v.set_status(VdpaStatus.ACKNOWLEDGE | VdpaStatus.DRIVER_OK)
        begun = VdpaStatus.ACKNOWLEDGE | VdpaStatus.DRIVER
        v.set_status(begun)
        v.set_features(info.features & F.VERSION_1 | F.ACCESS_PLATFORM)
        v.set_status(begun | VdpaStatus.FEATURES_OK)
        assert v.status == begun | VdpaStatus.FEATURES_OK
        assert v.vring_group(0) == 0 and v.vring_group(2) == 1
        v.set_group_asid(1, 1)
        at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        v.batch(True, asid=1)
        for i in range(4):
            v.map(MIB + 2 * i * BLOCK, BLOCK, at + i * BLOCK, asid=1)
        v.batch(False, asid=1)
        with refused(errno.EFAULT):
            v.map(MIB, BLOCK, at, asid=1)
        v.unmap(MIB, 8 * BLOCK, asid=1)
        with refused(errno.EINVAL):
            v.set_vring_num(0, 32768)
        with refused(errno.ENOBUFS):
            v.set_vring_num(50, 64)
        v.set_vring_num(0, info.max_vring_num)
        with refused(errno.EOPNOTSUPP, "this device does not have it"):
            v.vring_size(0)
        event = os.eventfd(0)
        v.set_config_call(event)
        v.set_vring_call(0, event)
        v.set_vring_call(0, None)
        os.close(event)
        assert len(v.get_config(0, 6)) == 6
        with refused(errno.EOPNOTSUPP):
            v.map_doorbell(0)
        v.set_status(0)


def vdpa_disk():
    with made("vdpasim_blk") as place:
        drive_disk("vdpa:" + NAME)
        with Vdpa(place.path) as v:
            drive_disk(v)
        with Vdpa(NAME) as v, Driver(v, type=vh.DeviceType.BLK) as driver:
            driver.start()
            v.suspend()
            assert v.get_vring_base(0) == 0
            v.resume()
            drive_disk(driver)


def pci_maker(kind):
    """A PCI device of the machine's, which vp_vdpa has."""
    with VdpaMgmt() as mgmt:
        for maker in mgmt.mgmtdevs():
            if maker.bus == "pci" and maker.classes & 1 << kind:
                return str(maker)
    raise Skipped("no simulators")


def vdpa_pci_disk():
    with made(pci_maker(vh.DeviceType.BLK)):
        drive_disk("vdpa:" + NAME)
        with Vdpa(NAME) as v, Driver(v, type=vh.DeviceType.BLK, n_queues=1) as driver:
            for _ in range(3):
                driver.start()
                driver.stop()
            driver.start()
            with refused(errno.EOPNOTSUPP, "stop the session instead"):
                driver.enable(0, False)
            drive_disk(driver)


def vdpa_network():
    with made("vdpasim_net"), Vdpa(NAME) as v:
        drive_cable(v)


def vduse_disk():
    with exported(Device.ram(MIB)) as vduse:
        assert vduse.info.api_version in (0, 1)
        with made("vduse"):
            drive_disk("vdpa:" + NAME)
        with made("vduse", "virtio_vdpa") as place:
            block = os.listdir(f"/sys/bus/virtio/devices/{place.virtio}/block")[0]
            with open("/dev/" + block, "r+b", buffering=0) as disk:
                assert disk.read(BLOCK) == b"\1" * BLOCK
                disk.seek(8 * BLOCK)
                disk.write(b"kernel" * 512)
                os.fsync(disk.fileno())
        with made("vduse"), Blk("vdpa:" + NAME) as blk:
            assert blk.read(8 * BLOCK, 3072) == b"kernel" * 512
        with refused(errno.EBUSY):
            Vduse.remove(NAME)


def vduse_umem():
    """The kernel's driver is bounced through pages of this process."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with exported(Device.ram(MIB), umem=True) as vduse:
        with open(f"/sys/class/vduse/{NAME}/bounce_size", "w", encoding="utf-8") as size:
            size.write("1048576")
        with made("vduse", "virtio_vdpa") as place:
            block = os.listdir(f"/sys/bus/virtio/devices/{place.virtio}/block")[0]
            with open("/dev/" + block, "r+b", buffering=0) as disk:
                disk.write(b"kernel" * 512)
                os.fsync(disk.fileno())
            assert (vduse.info.umem, vduse.info.umem_rc) == (1 << 20, 0)


class Disk(Device):
    """A disk whose requests are handled in Python."""
    type = vh.DeviceType.BLK
    config = struct.pack("<Q", MIB // vh.BLK_SECTOR).ljust(60, b"\0")

    def __init__(self):
        self.data = bytearray(MIB)
        self.served = 0
        super().__init__()

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch:
            kind, sector = struct.unpack("<I4xQ", request.read(16))
            at, room = sector * vh.BLK_SECTOR, request.wr_len - 1
            if kind == vh.BLK_READ:
                request.write(self.data[at:at + room])
            elif kind == vh.BLK_WRITE:
                data = request.read(offset=16)
                self.data[at:at + len(data)] = data
            request.write(bytes([0 if kind in (vh.BLK_READ, vh.BLK_WRITE) else 2]), room)
            self.served += 1
        queue.push(batch)


def vduse_python():
    disk = Disk()
    with exported(disk):
        with made("vduse"):
            drive_disk("vdpa:" + NAME)
        assert disk.served >= 48 and disk.data[3 * BLOCK] == 2
        with made("vduse", "virtio_vdpa") as place:
            with open("/dev/" + os.listdir(f"/sys/bus/virtio/devices/{place.virtio}/block")[0], "rb", buffering=0) as block:
                assert block.read(BLOCK) == b"\1" * BLOCK


CASES = {
    "kernel-calls": kernel_calls,
    "kernel-sockets-and-disks": kernel_sockets_and_disks,
    "kernel-network": kernel_network,
    "management": management,
    "vdpa-calls": vdpa_calls,
    "vdpa-disk": vdpa_disk,
    "vdpa-pci-disk": vdpa_pci_disk,
    "vdpa-network": vdpa_network,
    "vduse-disk": vduse_disk,
    "vduse-umem": vduse_umem,
    "vduse-python": vduse_python,
}


def main():
    bad = 0
    for name in CASES:
        print("case", name, flush=True)
    for name, case in CASES.items():
        try:
            case()
            print("ok", name, flush=True)
        except Skipped as e:
            print(f"# skip: {e}\nskip {name}", flush=True)
        except Exception as e:  # pylint: disable=broad-exception-caught
            bad = 1
            traceback.print_exc(file=sys.stdout)
            print(f"# why: {type(e).__name__}: {e} {[f'{f.name}:{f.lineno}' for f in traceback.extract_tb(e.__traceback__)]}")
            print("not ok", name, flush=True)
    sys.exit(bad)


if __name__ == "__main__":
    main()
