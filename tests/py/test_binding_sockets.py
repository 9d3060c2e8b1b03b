# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Where sockets are, which side connects, and what is offered only when it is asked for."""
import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading

import pytest
from binding import LIBRARY, MIB, MODE, PACKAGE, WAIT, Null, Turns, served, vh

QUICK = vh.Reconnect(max_tries=3, first=0.001, longest=0.004)


@contextlib.contextmanager
def serving(slave):
    """A thread that serves, and notes the kinds of events."""
    kinds = []

    def run():
        with contextlib.suppress(vh.VhError):
            while True:
                slave.wait()
                kinds.extend(event.kind for event in slave.events())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield kinds
    finally:
        slave.close()
        thread.join(WAIT)
        assert not thread.is_alive()


def test_scenario_slave_connects(tmp_path):
    path = tmp_path / "s"
    with vh.Slave(Null()) as slave, serving(slave) as kinds:
        slave.connect(path, vh.Reconnect(first=0.001, longest=0.01))
        for _ in range(2):  # one front-end after the other
            with vh.Master(timeout=WAIT) as master:
                master.listen(path)
                master.accept()
                assert vh.Features.VERSION_1 in master.negotiate()
    assert vh.EventKind.CONNECTED in kinds and vh.EventKind.RECONNECTING in kinds


def test_a_slave_gives_up(tmp_path):
    with vh.Slave(Null()) as slave:
        with pytest.raises(FileNotFoundError):
            slave.connect(tmp_path / "s")
        slave.connect(tmp_path / "s", QUICK)
        seen = []
        while not seen or seen[-1].kind != vh.EventKind.GAVE_UP:
            slave.wait(WAIT)
            seen += slave.events()
        assert seen[-1].reason == -errno.ENOENT and seen[-1].value == 3


def test_policies_are_checked(tmp_path):
    with vh.Slave(Null()) as slave:
        for bad in (vh.Reconnect(jitter=101), vh.Reconnect(first=2, longest=1)):
            with pytest.raises(vh.VhError) as e:
                slave.connect(tmp_path / "s", bad)
            assert e.value.errno == errno.EINVAL
        with pytest.raises(ValueError):
            slave.connect(tmp_path / "s", vh.Reconnect(first=-1))
        a, b = socket.socketpair()
        with a, b:
            with pytest.raises(vh.VhError):
                slave.connect(f"fd:{a.fileno()}", QUICK)
            slave.connect(f"fd:{a.fileno()}")


SYSTEMD = """
import os, vh
os.environ["LISTEN_PID"] = str(os.getpid())
slave = vh.Slave(vh.Device.ram(1 << 20))
try:
    slave.listen("systemd:tape")
except vh.VhError:
    slave.listen("systemd:disk")
    print("serving", flush=True)
    slave.serve()
"""


def test_scenario_addresses(tmp_path):
    name = f"@vh-sockets-{os.getpid()}"
    with served(vh.Device.ram(MIB), name), vh.Blk(f"unix:{name}") as blk:
        blk.write(0, b"x" * 512)
        assert blk.read(0, 512) == b"x" * 512
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with served(vh.Device.ram(MIB), f"fd:{listener.fileno()}"), vh.Blk(tmp_path / "s") as blk:
            assert blk.capacity == MIB
        # As systemd starts a service: the socket is fd 3, and its name is in the environment.
        child = subprocess.Popen([sys.executable, "-c", SYSTEMD], stdout=subprocess.PIPE, pass_fds=(listener.fileno(),),
                                 env={**os.environ, "PYTHONPATH": PACKAGE, "VH_PYTHON_MODE": MODE,
                                      "VH_PYTHON_LIBRARY": LIBRARY, "LISTEN_FDS": str(listener.fileno() - 2),
                                      "LISTEN_FDNAMES": ":" * (listener.fileno() - 3) + "disk"})
        try:
            assert child.stdout.readline() == b"serving\n"
            with vh.Blk(tmp_path / "s") as blk:
                assert blk.capacity == MIB
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
    with pytest.raises(vh.VhError) as e:
        vh.connect("vsock:3:1234")
    assert e.value.errno == errno.EINVAL and "./vsock" in str(e.value)


def test_what_is_offered_only_when_asked():
    extra = vh.ProtocolFeatures.XEN_MMAP | vh.ProtocolFeatures.CROSS_ENDIAN
    with Turns(Null(), more_protocol_features=extra) as t:
        t.run(t.master.get_features)
        assert t.run(t.master.get_protocol_features) & extra == extra
        t.run(t.master.set_protocol_features, extra | vh.ProtocolFeatures.REPLY_ACK)
        t.run(t.master.set_vring_endian, 0, False)
        with pytest.raises(vh.VhError) as e:
            t.run(t.master.set_vring_endian, 0, True)
        assert e.value.errno == errno.EREMOTEIO


def test_memory_of_a_xen_domain_needs_its_device():
    fd = os.memfd_create("no device")
    os.truncate(fd, 4096)
    with vh.Memory() as memory:
        with pytest.raises(vh.VhError) as e:
            memory.add_fd(fd, vh.Region(gpa=0, uva=0, len=4096, map_flags=vh.MAP_XEN_FOREIGN, map_domain=1))
        assert e.value.errno == errno.ENOTTY and "/dev/xen/privcmd" in str(e.value)
    os.close(fd)
