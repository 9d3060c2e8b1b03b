# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vDPA management: over what a kernel once answered, and over a tree that looks like its sysfs."""
import errno
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest
from binding import PACKAGE, TOP, vh

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the recordings are little-endian")


def recordings():
    with open(os.path.join(TOP, "tests", "data", "vdpa_netlink.tsv"), encoding="ascii") as f:
        rows = [line.split() for line in f if line[0] != "#"]
    return [(row[0], bytes.fromhex(row[1]), [bytes.fromhex(a) for a in row[2:]]) for row in rows]


def numbered(datagram, seq):
    out, at = bytearray(datagram), 0
    while at + 16 <= len(out):
        length = int.from_bytes(out[at:at + 4], "little")
        out[at + 8:at + 12] = seq
        at += (length + 3) & ~3
    return bytes(out)


class Kernel:
    """The other end of a netlink socket. prefer: of several recordings of one request, which."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.prefer = ""
        self.rows = recordings()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while request := self.theirs.recv(4096):
            same = [(name, answers) for name, asked, answers in self.rows
                    if asked[:8] == request[:8] and asked[16:] == request[16:]]
            same.sort(key=lambda row: row[0] != self.prefer)
            for answer in same[0][1]:
                self.theirs.send(numbered(answer, request[8:12]))

    def close(self):
        self.ours.close()
        self.thread.join()
        self.theirs.close()


@pytest.fixture
def kernel():
    k = Kernel()
    yield k
    k.close()


@pytest.fixture
def mgmt(kernel):
    with vh.VdpaMgmt(socket=kernel.ours, timeout=60) as m:
        yield m
    kernel.ours.shutdown(socket.SHUT_RDWR)


def test_devices_are_listed(mgmt, kernel):
    kernel.prefer = "mgmtdev-list2"
    found = mgmt.mgmtdevs()
    assert [str(d) for d in found] == ["vduse", "vdpasim_net", "vdpasim_blk", "pci/0000:00:02.0"]
    assert found[1].max_vqs == 3
    assert [d.name for d in mgmt.devs()] == ["vnet0", "vblk0", "vp0"]
    assert mgmt.dev("vnet0") == vh.VdpaDev(name="vnet0", mgmt_name="vdpasim_net", device_id=1, max_vqs=3, max_vq_size=256,
                                           min_vq_size=1)


def test_devices_are_made_changed_and_taken_away(mgmt, kernel):
    mgmt.add("vdpasim_net", "vnet0", mac=bytes.fromhex("525400112233"), mtu=1400)
    mgmt.add(vh.VdpaMgmtDev(bus="pci", name="0000:00:02.0"), "vp0")
    mgmt.set_mac("vnet0", bytes.fromhex("525400112244"))
    with pytest.raises(vh.VhError, match="not supported") as e:
        mgmt.set_mac("vblk0", bytes.fromhex("525400112244"))
    assert e.value.errno == errno.EOPNOTSUPP
    with pytest.raises(ValueError):
        mgmt.set_mac("vnet0", b"12345")
    with pytest.raises(vh.VhError, match="no such management device") as e:
        mgmt.add("nothing", "x")
    assert e.value.errno == errno.ENODEV
    kernel.prefer = "add-exists"
    with pytest.raises(FileExistsError):
        mgmt.add("vdpasim_blk", "vblk0")
    mgmt.delete("vnet0")


def test_what_is_not_said_is_none(mgmt):
    net, blk = mgmt.config("vnet0"), mgmt.config("vblk0")
    assert (net.mac, net.mtu, net.max_vqp, net.capacity, net.negotiated) == (bytes.fromhex("525400112233"), 1400, None, None, None)
    assert (blk.capacity, blk.blk_size, blk.mac, blk.read_only) == (0x40000, 512, None, 0)


def test_counters_have_names(mgmt, kernel):
    with pytest.raises(BlockingIOError):
        mgmt.stats("vnet0", 0)
    kernel.prefer = "stats"
    assert mgmt.stats("vnet0", 0) == {"rx packets": 0, "rx bytes": 0, "rx errors": 0, "rx overruns": 0, "rx drops": 0}


@pytest.fixture
def root(tmp_path):
    """A device behind a PCI function, with a node; another that nobody has."""
    for folder in ("dev", "sys/bus/pci", "sys/bus/vdpa/devices", "sys/bus/vdpa/drivers/vhost_vdpa",
                   "sys/devices/pci0000:00/0000:00:02.0/vp0/vhost-vdpa-2", "sys/devices/vblk0"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sys/devices/pci0000:00/0000:00:02.0/subsystem").symlink_to("../../../bus/pci")
    (tmp_path / "sys/devices/pci0000:00/0000:00:02.0/vp0/vhost-vdpa-2/dev").write_text("243:2\n")
    (tmp_path / "sys/devices/pci0000:00/0000:00:02.0/vp0/driver").symlink_to("../../../../bus/vdpa/drivers/vhost_vdpa")
    (tmp_path / "sys/bus/vdpa/devices/vp0").symlink_to("../../../devices/pci0000:00/0000:00:02.0/vp0")
    (tmp_path / "sys/bus/vdpa/devices/vblk0").symlink_to("../../../devices/vblk0")
    (tmp_path / "dev/vhost-vdpa-2").touch()
    os.mkfifo(tmp_path / "sys/bus/vdpa/drivers/vhost_vdpa/bind")
    return tmp_path


def test_a_device_is_found_by_any_of_its_names(root):
    with vh.VdpaMgmt(root=str(root)) as m:
        assert [p.name for p in m.places()] == ["vblk0", "vp0"]
        for key in ("vp0", "/dev/vhost-vdpa-2", "vhost-vdpa-2", "0000:00:02.0", "pci/0000:00:02.0"):
            p = m.place(key)
            assert p == vh.VdpaPlace(name="vp0", driver="vhost_vdpa", parent_bus="pci", parent="0000:00:02.0", node=2,
                                     path=f"{root}/dev/vhost-vdpa-2", major=243, minor=2)
        with pytest.raises(vh.VhError) as e:
            m.place("vhost-vdpa-7")
        assert e.value.errno == errno.ENODEV
        shutil.rmtree(root / "sys/bus/vdpa")
        with pytest.raises(FileNotFoundError, match="load the module vdpa"):
            m.places()


def test_a_driver_is_given_a_device_and_its_node_is_waited_for(root):
    """A thread does what the kernel does when a name is written there."""
    def bus():
        name = (root / "sys/bus/vdpa/drivers/vhost_vdpa/bind").read_text()
        device = root / "sys/devices" / name
        (device / "vhost-vdpa-5").mkdir()
        (device / "vhost-vdpa-5/dev").write_text("243:5\n")
        (root / "dev/vhost-vdpa-5").touch()
        (device / "driver").symlink_to("../../bus/vdpa/drivers/vhost_vdpa")

    with vh.VdpaMgmt(root=str(root), timeout=60) as m:
        assert m.place("vblk0").node == -1
        thread = threading.Thread(target=bus)
        thread.start()
        p = m.bind("vblk0")
        thread.join()
        assert (p.node, p.path, p.driver) == (5, f"{root}/dev/vhost-vdpa-5", "vhost_vdpa")
        with pytest.raises(FileNotFoundError, match="load the module virtio_vdpa"):
            m.bind("0000:00:02.0", "virtio_vdpa")


PLAYED = ("tests/ioctl/preload.c", "tests/ioctl/fake_copy.c", "tests/ioctl/fake_vhost.c", "tests/ioctl/fake_vdpa.c", "src/uapi/uapi.c")
PROGRAM = """
import errno, os, vh

v = vh.Vdpa("/dev/fake/vhost-vdpa-0")
info = v.info
assert (info.device_id, info.max_vring_num, info.num_vrings, info.config_size) == (2, 256, 2, 64), info
v.set_owner()
v.set_backend_features(vh.VdpaBackendFeatures.MSG_V2 | vh.VdpaBackendFeatures.BATCH | vh.VdpaBackendFeatures.ASID)
S = vh.VdpaStatus
try:
    v.set_status(S.DRIVER)
except vh.VhError as e:
    assert e.errno == errno.EINVAL and "the order is" in str(e)
else:
    raise AssertionError
v.set_status(S.ACKNOWLEDGE)
v.set_status(S.ACKNOWLEDGE | S.DRIVER)
v.set_features(vh.Features.VERSION_1 | vh.Features.ACCESS_PLATFORM)
v.set_status(S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK)
assert v.status == S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK
v.set_config(4, b"abc")
assert v.get_config(3, 5) == b"\\0abc\\0"
fd = os.eventfd(0)
v.set_config_call(fd)
v.set_group_asid(1, 1)
memory = vh.Memory()
memory.alloc(0x200000, 0x200000)
v.set_mem(memory)
v.set_mem(None)
v.batch(True, asid=1)
v.batch(False, asid=1)
v.map(0x1000, 4096, memory.regions()[0].host, asid=1)
v.unmap(0x1000, 4096, asid=1)
v.set_vring_num(0, 64)
v.set_vring_base(0, 5)
v.set_vring_addr(0, 0x1000, 0x2000, 0x3000)
v.set_vring_call(0, fd)
v.set_vring_kick(0, fd)
v.set_vring_err(0, None)
v.set_vring_enable(0)
assert (v.get_vring_base(0), v.vring_size(0), v.vring_group(1), v.desc_group(0)) == (5, 256, 1, 0)
v.suspend()
v.resume()
for call, code in ((lambda: v.map_doorbell(0), errno.EACCES), (lambda: v.unmap_doorbell(1), errno.EINVAL)):
    try:
        call()
    except OSError as e:
        assert e.errno == code, e
    else:
        raise AssertionError
v.set_status(0)
v.close()
memory.close()
with vh.open_target("/dev/fake/vhost-vdpa-0") as v, vh.Driver(v, type=vh.DeviceType.BLK) as d:
    assert v.status == S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK
    d.start()
    assert v.status & S.DRIVER_OK
    d.stop()
    assert v.status == 0
with vh.Blk("vdpa:/dev/fake/vhost-vdpa-0") as b:
    assert b.info.max_bytes >= 512
"""


def test_a_device_is_told_what_a_driver_tells_it(tmp_path):
    library = tmp_path / "played.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-Iinclude", "-Isrc/uapi", "-Itests/ioctl", "-o", library,
                    *PLAYED, "-ldl"], cwd=TOP, check=True)
    env = {**os.environ, "LD_PRELOAD": str(library), "FAKE_VDPA": "1", "PYTHONPATH": PACKAGE}
    got = subprocess.run([sys.executable, "-X", "dev", "-c", PROGRAM], env=env, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert got.returncode == 0 and not got.stdout, got.stdout


@pytest.mark.parametrize("name", ("unix:/nowhere/x.sock", "/dev/vhost-vdpa-999999", "/dev/nowhere/vhost-net", "vdpa:nothing"))
def test_a_target_that_is_not_there(name):
    for attempt in (vh.open_target, vh.Blk):
        with pytest.raises(vh.VhError) as e:
            attempt(name)
        assert e.value.errno in (errno.ENOENT, errno.ENODEV)
