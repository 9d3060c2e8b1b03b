# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Rows of demo.py with `vhctl trace` between the two peers: every message is decoded, no rule is broken, and
the rings are found in the memory of whoever it is."""
import json
import os
import re
import signal

import net_rows
import proc
import qemu
from pattern import pattern

class Traced:
    """The tracer before place.socket: the back-end's own socket is `back`. Once: it ends with its connection."""

    def __init__(self, place, name):
        self.place, self.name = place, name
        self.recording = os.path.join(place.logs, f"{name}.jsonl")
        self.back = f"{place.socket}-{name}"
        argv = place.shell(place.vhctl, "trace", "--listen", place.socket, "--connect", self.back, "--jsonl", self.recording,
                           "--rings", "--once")
        self.process = proc.Process(f"trace-{name}", argv, place.logs)
        self.process.wait_for_socket(place.socket)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.end()

    def look(self):
        """Have it tell now where the rings stand."""
        os.kill(self.process.popen.pid, signal.SIGUSR1)
        self.process.wait_for(lambda: "\nring 1: " in self.process.output(), "ring")

    def judge(self, front, back, rings):
        """It ends with the connection. How many messages it saw; of so many rings it tells where they stand."""
        net_rows.check(self.process.wait(30) == 0, f"the tracer failed\n{self.process.tail()}")
        with open(self.recording, encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        messages = [line for line in lines if "req" in line]
        net_rows.check(len(messages) > 10, f"it saw {len(messages)} messages\n{self.process.tail()}")
        opaque = {m["req"] for m in messages if m["req"] == "UNKNOWN" or (m["size"] and not m["payload"])}
        net_rows.check(not opaque, f"not decoded: {', '.join(sorted(opaque))}")
        pipes = [line for line in lines if line.get("event") == "pipe"]
        net_rows.check(not pipes, f"it could not follow: {pipes}")
        broken = {f"{front if m['from'] == 'front-end' else back}: {v['rule']}: {v['text']}"
                  for m in messages for v in m.get("violations", ())}
        net_rows.check(not broken, f"rules are broken: {'; '.join(sorted(broken))}")
        told = self.process.output()
        moved = re.findall(r"^ring \d+: (?:running|stopped).*\n  driver at (\d+).*, device at (\d+)", told, re.M)
        net_rows.check(len(moved) >= rings, f"of {rings} rings {len(moved)} were found\n{self.process.tail()}")
        net_rows.check(any(int(driver) for driver, _ in moved), f"no ring has moved\n{self.process.tail()}")
        return f"{front} and {back} {len(messages)}"


def _image(place):
    with open(place.image, "wb") as f:
        f.truncate(16 << 20)


def _daemon(place, path):
    return proc.Process("qemu-storage-daemon", [
        "/usr/bin/qemu-storage-daemon", "--blockdev", f"file,node-name=disk,filename={place.image}", "--export",
        f"vhost-user-blk,id=e0,node-name=disk,addr.type=unix,addr.path={path},num-queues=2,writable=on"], place.logs)


def row_guest(place, rng):
    """QEMU, with two back-ends one after the other: ours over packed rings, QEMU's own over split ones."""
    seed = rng.getrandbits(32)
    guest = qemu.BlockGuest(place.logs)
    _image(place)
    said = []
    with Traced(place, "vhctl") as traced:
        argv = [place.vhctl, "serve", "blk", "--socket", traced.back, "--file", place.image, "--queues", "2"]
        with proc.Process("vhctl-serve", argv, place.logs) as server:
            server.wait_for_socket(traced.back)
            guest.boot(place.socket, "write", seed, queues=2, packed=True)
            said.append(traced.judge("qemu", "vhctl", 1))
    with open(place.image, "rb") as f:
        net_rows.check(f.read() == pattern(seed, 0, 16 << 20), "the image does not hold what the guest wrote")
    with Traced(place, "qsd") as traced, _daemon(place, traced.back) as server:
        server.wait_for_socket(traced.back)
        guest.boot(place.socket, "read", seed, queues=2)
        said.append(traced.judge("qemu", "qsd", 1))
    return f"messages of {', '.join(said)}: all decoded, rings found, no rule broken"


def row_peers(place, rng):
    """Our front-end, with a disk, a file system and a network device of others; then DPDK's driver and our device."""
    _image(place)
    said = []
    with Traced(place, "qsd") as traced, _daemon(place, traced.back) as server:
        server.wait_for_socket(traced.back)
        place.io("verify", "--size", "64K")
        said.append(traced.judge("libvh", "qsd", 1))
    shared = os.path.join(place.logs, "shared")
    os.makedirs(shared)
    with open(os.path.join(shared, "file"), "wb") as f:
        f.write(rng.randbytes(4000))
    with Traced(place, "virtiofsd") as traced:
        argv = [net_rows.VIRTIOFSD, f"--socket-path={traced.back}", "-o", f"source={shared}", "-o", "sandbox=chroot"]
        with proc.Process("virtiofsd", argv if not os.getuid() else ["/usr/bin/unshare", "-r", *argv], place.logs) as server:
            server.wait_for_socket(traced.back)
            net_rows.script(place, "fs_drive.py", place.socket, "split", "file")
            said.append(traced.judge("libvh", "virtiofsd", 2))
    with Traced(place, "dpdk") as traced:
        device = f"net_vhost0,iface={traced.back},queues=1"
        with net_rows.Testpmd(place, "testpmd", device, "--forward-mode=io", "--auto-start") as pmd:
            pmd.wait_for(lambda: "testpmd>" in pmd.output() and os.path.exists(traced.back), "prompt", 60)
            net_rows.script(place, "net_drive.py", place.socket, "packed", 200)
            said.append(traced.judge("libvh", "dpdk", 2))
    with Traced(place, "vhctl") as traced:
        argv = [place.vhctl, "serve", "net", "--loopback", "--socket", traced.back]
        with proc.Process("vhctl-serve", argv, place.logs) as server:
            server.wait_for_socket(traced.back)
            device = f"net_virtio_user0,path={place.socket},queue_size=256,packed_vq=1"
            with net_rows.Testpmd(place, "testpmd-drives", device, "--forward-mode=io") as pmd:
                pmd.wait_for(lambda: "testpmd>" in pmd.output(), "prompt", 60)
                pmd.say("start tx_first 1")
                pmd.wait_for(lambda: (pmd.say("show port stats 0"), net_rows.seen(pmd.output()) > 64)[1], "frames", 60)
                traced.look()  # DPDK clears the rings when it stops
                pmd.say("stop", "quit")
                net_rows.check(pmd.wait(30) == 0, f"testpmd's exit code is not 0\n{pmd.tail()}")
            said.append(traced.judge("dpdk", "vhctl", 2))
    return f"messages of {', '.join(said)}: all decoded, rings found, no rule broken"
