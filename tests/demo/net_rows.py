# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Rows of demo.py about network devices, and about a file system."""
import os
import re
import subprocess
import sys

import proc
import qemu

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
TESTPMD = "/usr/bin/dpdk-testpmd"
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
FRAMES = 2000


def check(condition, what):
    if not condition:
        raise proc.Failed(what)


def script(place, name, *args):
    """A Python program of this folder; its output."""
    argv = place.shell(PYTHON, os.path.join(HERE, name), *map(str, args))
    place.step += 1
    return proc.run(f"{place.step}-{name[:-3]}", argv, place.logs)


def row_guest(place, _):
    """A Linux guest reaches its host through a tap."""
    guest = qemu.NetGuest(place.logs)
    argv = ["/usr/bin/unshare", "-rn", PYTHON, os.path.join(HERE, "net_host.py"), place.vhctl, place.socket]
    for packed in (False, True):
        with proc.Process(f"host-{'packed' if packed else 'split'}", argv, place.logs) as host:
            host.wait_for(lambda h=host: "ready" in h.output(), "tap")
            guest.boot(place.socket, packed)
            check(host.output().count(" bytes of 192.0.2.2") >= 60, f"the host did not see the datagrams\n{host.tail()}")
    return f"Linux {guest.version} pinged its host through a tap and exchanged datagrams, over split and over packed rings"


class Testpmd(proc.Process):
    """DPDK's test program with one device, without huge pages; it takes its commands from a pipe."""

    def __init__(self, place, name, device, *options):
        self.pipe = os.pipe()
        argv = [TESTPMD, "-l", "0,1", "--no-pci", "--no-huge", "-m", "128", f"--file-prefix=vh{os.getpid()}", "--vdev", device,
                "--", "-i", "--total-num-mbufs=2048", *options]
        super().__init__(name, argv, place.logs, stdin=self.pipe[0])
        os.close(self.pipe[0])

    def say(self, *commands):
        os.write(self.pipe[1], "".join(f"{c}\n" for c in commands).encode())

    def end(self, seconds=5):
        if self.pipe:
            os.close(self.pipe[1])
            self.pipe = None
        return super().end(seconds)


def testpmd_counts(output):
    """Received and sent, of the accumulated statistics that `stop` prints."""
    found = re.findall(r"Accumulated forward statistics for all ports\W*?\n\s*RX-packets: (\d+).*\n\s*TX-packets: (\d+)", output)
    check(found, f"testpmd tells no statistics\n{output[-2000:]}")
    return map(int, found[-1])


def row_testpmd_drives(place, _):
    """DPDK's driver circulates frames through our loop-back; in order it has other code for both ways."""
    counts = [_circulate(place, packed, in_order) for packed in (0, 1) for in_order in (0, 1)]
    split, split_in_order, packed, packed_in_order = counts
    return (f"virtio_user circulated {split} frames over split rings, {packed} over packed ones, in order {split_in_order} and "
            f"{packed_in_order}, and lost none")


def _circulate(place, packed, in_order):
    of = f"{'packed' if packed else 'split'}{'-in-order' if in_order else ''}"
    argv = [place.vhctl, "serve", "net", "--loopback", "--socket", place.socket, "--in-order", "on" if in_order else "off"]
    with proc.Process(f"vhctl-serve-{of}", argv, place.logs) as server:
        server.wait_for_socket(place.socket)
        device = f"net_virtio_user0,path={place.socket},queue_size=256,packed_vq={packed},in_order={in_order}"
        with Testpmd(place, f"testpmd-{of}", device, "--forward-mode=io") as pmd:
            pmd.wait_for(lambda: "testpmd>" in pmd.output(), "prompt", 60)
            pmd.say("start tx_first 2")
            pmd.wait_for(lambda: (pmd.say("show port stats 0"), seen(pmd.output()) > FRAMES)[1], "frames", 60)
            pmd.say("stop", "quit")
            check(pmd.wait(30) == 0, f"testpmd's exit code is not 0\n{pmd.tail()}")
            received, sent = testpmd_counts(pmd.output())
        check(FRAMES < received <= sent <= received + 64, f"{received} frames of {sent} came back")
        check(server.alive(), f"the back-end ended\n{server.tail()}")
        check(server.end() == 0, f"the back-end's exit code after SIGTERM is not 0\n{server.tail()}")
    return received


def seen(output):
    found = re.findall(r"RX-packets: (\d+)", output)
    return int(found[-1]) if found else 0


def row_testpmd_device(place, _):
    """Our driver, and DPDK's back-end, which sends back what it gets."""
    with Testpmd(place, "testpmd", f"net_vhost0,iface={place.socket},queues=1", "--forward-mode=io", "--auto-start") as pmd:
        pmd.wait_for(lambda: "testpmd>" in pmd.output() and os.path.exists(place.socket), "prompt", 60)
        said = [script(place, "net_drive.py", place.socket, layout, FRAMES).strip() for layout in ("split", "packed")]
        pmd.say("stop", "quit")
        check(pmd.wait(30) == 0, f"testpmd's exit code is not 0\n{pmd.tail()}")
    return "; ".join(said)


def row_virtiofsd(place, rng):
    """Our front-end asks a file system for what a directory and a file hold."""
    shared = os.path.join(place.logs, "shared")
    os.makedirs(shared)
    names = sorted(f"{rng.getrandbits(32):08x}" for _ in range(200))
    for name in names:
        with open(os.path.join(shared, name), "wb") as f:
            f.write(rng.randbytes(rng.randrange(1, 40000)))
    argv = [VIRTIOFSD, f"--socket-path={place.socket}", "-o", f"source={shared}", "-o", "sandbox=chroot"]
    if os.getuid():
        argv = ["/usr/bin/unshare", "-r", *argv]
    with proc.Process("virtiofsd", argv, place.logs) as server:  # it serves one front-end
        server.wait_for_socket(place.socket)
        version, listed, content = script(place, "fs_drive.py", place.socket, "split", names[7]).splitlines()
    check(listed.split() == names, "the directory has other names")
    with open(os.path.join(shared, names[7]), "rb") as f:
        check(bytes.fromhex(content) == f.read(), "the file has other bytes")
    return f"FUSE_INIT ({version}), a directory of {len(names)} files read, and one of them"


if __name__ == "__main__":
    sys.exit("these are rows of demo.py")
