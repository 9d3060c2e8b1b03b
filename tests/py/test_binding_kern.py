# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The kernel's vhost devices, which are played: the process of each test has another ioctl()."""
import errno
import os
import subprocess
import sys
import textwrap

import pytest
from binding import PACKAGE, TOP, vh

PARTS = ("tests/ioctl/preload.c", "tests/ioctl/fake_copy.c", "tests/ioctl/fake_vhost.c", "tests/ioctl/fake_vdpa.c", "src/uapi/uapi.c")


@pytest.fixture(scope="module", name="played")
def _played(tmp_path_factory):
    library = tmp_path_factory.mktemp("ioctl") / "played.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-Iinclude", "-Isrc/uapi", "-Itests/ioctl", "-o", library,
                    *PARTS, "-ldl"], cwd=TOP, check=True)
    return library


def run(played, kind, program):
    program = "import ctypes, errno, os, select, socket\nimport vh\nplayed = ctypes.CDLL(None)\nF = vh.Features\n" \
        "def refused(number, text, call, *args):\n    try:\n        call(*args)\n    except vh.VhError as e:\n" \
        "        assert e.errno == number and text in str(e), e\n    else:\n        raise AssertionError(text)\n" \
        f"path = '/dev/fake/vhost-{kind}'\n" + textwrap.dedent(program)
    env = {**os.environ, "LD_PRELOAD": str(played), "FAKE_VHOST": kind, "PYTHONPATH": PACKAGE}
    got = subprocess.run([sys.executable, "-X", "dev", "-c", program], env=env, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert got.returncode == 0 and not got.stdout, got.stdout


def test_what_is_no_device_is_told():
    with pytest.raises(FileNotFoundError, match="modprobe vhost_vsock"):
        vh.Kern("/nowhere/vhost-vsock")
    with open(os.devnull, "rb") as f, pytest.raises(vh.VhError, match="no vhost device") as e:
        vh.Kern(fd=f, kind=vh.KERN_NET)
    assert e.value.errno == errno.ENOTTY
    for wrong in ({}, {"path": "/dev/vhost-net", "fd": 0}):
        with pytest.raises(TypeError):
            vh.Kern(**wrong)


def test_network(played):
    run(played, "net", """
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with a, b, vh.open_target(path, more_features=1 << 5) as k, vh.Memory() as mem, vh.Dirty(1 << 32) as log:
        assert k.kind == vh.KERN_NET
        fd = k.dup_fd()
        with vh.Kern(fd=fd, kind=vh.KERN_NET) as same:
            assert same.get_features() == k.get_features()
        os.close(fd)
        known = k.probe()
        assert known["VHOST_GET_FEATURES_ARRAY"] is True and known["VHOST_VSOCK_SET_RUNNING"] is False
        assert known["VHOST_SET_VRING_ENDIAN"] is None
        assert k.get_features() & F.VERSION_1
        assert k.get_features_array(3) == [int(k.get_features()), 3, 0]
        k.set_features_array([int(F.VERSION_1), 1])
        k.set_backend_features(k.get_backend_features())
        k.set_fork_from_owner(False)
        assert not k.get_fork_from_owner()
        refused(errno.EPERM, "vh_kern_set_owner() comes first", k.set_vring_num, 0, 8)
        k.set_owner()
        mem.alloc(0, 1 << 20)
        k.set_mem(mem)
        refused(errno.EINVAL, "LOG_ALL needs a log", k.set_features, F.VERSION_1 | F.LOG_ALL)
        k.set_log_base(log)
        k.set_log_fd(None)
        k.set_features(F.VERSION_1 | F.LOG_ALL)
        at = mem.regions()[0].host
        for q in (0, 1):
            k.set_vring_num(q, 8)
            k.set_vring_base(q, 5)
            k.set_vring_addr(q, at, at + 8192, at + 4096, log=8192, flags=vh.VRING_LOG)
            k.set_vring_kick(q, None)
            k.set_vring_call(q, None)
            k.set_vring_err(q, None)
            k.set_vring_endian(q, vh.KERN_LITTLE_ENDIAN)
            assert k.get_vring_endian(q) == 0
            k.set_vring_busyloop(q, 7)
            assert k.get_vring_busyloop(q) == 7
        k.net_set_backend(0, a)
        refused(errno.EBUSY, "the ring runs", k.set_vring_num, 0, 8)
        k.net_set_backend(0, None)
        assert k.get_vring_base(0) == 5
        k.reset_owner()
    # A session.
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with a, b, vh.Kern(path) as k:
        k.attach(a)
        k.set_config(bytes(6))
        assert k.backend().kind == "vhost-kernel" and k.backend().get_config(0, 6) == bytes(6)
        k.set_config(None)
        with vh.Driver(k, type=vh.DeviceType.NET) as d:
            d.start()
            d.stop()
    """)


def test_iotlb(played):
    run(played, "net", """
    with vh.Kern(path) as k, vh.Memory() as mem, vh.Iotlb() as table:
        k.set_owner()
        mem.alloc(0x100000, 1 << 20)
        k.set_mem(mem)
        refused(errno.EFAULT, "ACCESS_PLATFORM was not acked", k.iotlb_update, 0, 4096, 0x100000)
        k.set_features(F.VERSION_1 | F.ACCESS_PLATFORM)
        k.iotlb_update(0x5000, 4096, 0x100000)
        k.iotlb_invalidate(0x5000, 4096)
        assert not k.dispatch() or not select.select([k], [], [], 0)[0]
        played.fake_vhost_miss(ctypes.c_uint64(0x9000), ctypes.c_uint8(1))
        assert select.select([k], [], [], 5)[0]
        k.dispatch()
        miss = k.next_miss()
        assert miss.iova == 0x9000 and miss.perm == vh.MEM_READ and k.next_miss() is None
        table.update(0x9000, 4096, 0x100000)
        k.set_iotlb(table)
        played.fake_vhost_miss(ctypes.c_uint64(0x9000), ctypes.c_uint8(1))
        k.dispatch()
        assert k.next_miss() is None
        k.set_iotlb(None)
    """)


def test_sockets(played):
    run(played, "vsock", """
    with vh.Kern(path) as k:
        refused(errno.EINVAL, "above 2", k.vsock_set_cid, 2)
        k.vsock_set_cid(52)
        assert k.backend().get_config(0, 8) == (52).to_bytes(8, "little")
        k.set_owner()
        refused(errno.EFAULT, "come before it", k.vsock_set_running, True)
        k.vsock_set_running(False)
        with vh.Driver(k, n_queues=2) as d:
            d.start()
            d.stop()
    """)


def test_scsi(played):
    run(played, "scsi", """
    with vh.Kern(path) as k:
        assert k.scsi_get_abi_version() == 1
        k.scsi_set_events_missed(True)
        assert k.scsi_get_events_missed()
        k.set_owner()
        w = k.new_worker()
        k.attach_vring_worker(2, w)
        assert k.get_vring_worker(2) == w
        refused(errno.EBUSY, "still attached", k.free_worker, w)
        refused(errno.ENODEV, "no worker of this number", k.free_worker, 44)
        refused(errno.EFAULT, "come before it", k.scsi_set_endpoint, "naa.1")
        refused(errno.EFAULT, "memory, and what rings there are", k.scsi_clear_endpoint, "naa.1")
        refused(errno.EOPNOTSUPP, "no IOTLB", k.fileno)
        k.scsi_set_target("naa.1")
        with vh.Driver(k, n_queues=3) as d:
            d.start()
            refused(errno.EEXIST, "it shows a target already", k.scsi_set_endpoint, "naa.1")
        k.scsi_set_target(None)
    """)
