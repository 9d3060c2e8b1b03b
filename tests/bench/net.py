# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Frames between DPDK's virtio-user driver and a back-end that takes or makes as many as it can: ours, and DPDK's own in
another testpmd. Front-end on one processor, back-end on another, both polling. All that is counted is what the front-end
sent or received. The pairs of a load exist side by side; all but the one that is measured are stopped by a signal."""
import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import time

import pairs
import proc
import programs
from kernel import Missing

VHCTL = os.path.join(programs.BUILD, "vhctl")
TESTPMD = "dpdk-testpmd"
GOAL = 0.8  # of DPDK's
LOADS = tuple((way, ring, size) for way in ("sink", "source") for ring in ("split", "packed") for size in (64, 1500))


class Pmd(proc.Process):
    """A testpmd without huge pages, with one device, all of it on one processor."""

    def __init__(self, name, cpu, device, options, folder):
        argv = ["stdbuf", "-oL", TESTPMD, "--lcores", f"0@{cpu},1@{cpu}", "--no-pci", "--no-huge", "-m", "256", "--no-telemetry",
                f"--file-prefix=vh{os.getpid()}{name}", "--vdev", device, "--", "-i", "--total-num-mbufs=8192", *options]
        super().__init__(name, argv, folder, stdin=subprocess.PIPE)
        self.wait_for(lambda: "testpmd>" in self.output(), "prompt", 60)

    def say(self, *commands):
        self.popen.stdin.write("".join(f"{c}\n" for c in commands).encode())
        self.popen.stdin.flush()

    def forward(self, seconds):
        """(received, sent) for each second."""
        done = self.output().count("Accumulated")
        self.say("start")
        begun = time.monotonic()
        time.sleep(seconds)
        self.say("stop")
        took = time.monotonic() - begun
        self.wait_for(lambda: self.output().count("Accumulated") > done, "statistics", 30)
        found = re.findall(r"Forward statistics for port 0.*\n\s*RX-packets: (\d+).*\n\s*TX-packets: (\d+)", self.output())
        if not found:
            raise proc.Failed(f"{self.name} tells no statistics\n{self.tail()}")
        return tuple(int(n) / took for n in found[-1])


class Pair:
    """A back-end, the front-end that drives it, and both at rest but for a sample."""

    def __init__(self, bench, back, load, running):
        way, ring, size = load
        name = f"{back}-{way}-{ring}-{size}"
        sock = os.path.join(bench.folder, name + ".sock")
        start = {"libvh": self._libvh, "DPDK": self._dpdk}[back]
        self.back = running.enter_context(start(bench, name, sock, way, size))
        self.back.wait_for(lambda: os.path.exists(sock), "its socket", 60)
        device = f"net_virtio_user0,path={sock},queues=1,queue_size=256,mrg_rxbuf=1,packed_vq={int(ring == 'packed')}"
        mode = ("--forward-mode=txonly", f"--txpkts={size}") if way == "sink" else ("--forward-mode=rxonly",)
        self.front = running.enter_context(Pmd(name + "-front", 0, device, mode, bench.folder))
        self.column = way == "sink"
        self._signal(signal.SIGSTOP)
        running.callback(self._signal, signal.SIGCONT)  # before they are told to end

    def _libvh(self, bench, name, sock, way, size):
        argv = ["taskset", "-c", "1", VHCTL, "serve", "net", "--socket", sock, f"--{way}", "--poll"]
        return proc.Process(name, argv + (["--frame", str(size)] if way == "source" else []), bench.folder)

    def _dpdk(self, bench, name, sock, way, size):
        mode = ("--forward-mode=txonly", f"--txpkts={size}") if way == "source" else ("--forward-mode=rxonly",)
        return Pmd(name, 1, f"net_vhost0,iface={sock},queues=1", (*mode, "--auto-start"), bench.folder)

    def _signal(self, sig):
        for p in (self.back, self.front):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.popen.pid, sig)

    def sample(self, seconds):
        self._signal(signal.SIGCONT)
        try:
            return self.front.forward(seconds)[self.column]
        finally:
            self._signal(signal.SIGSTOP)


def run(bench, group):
    if not shutil.which(TESTPMD):
        raise Missing("net", "package dpdk-dev")
    if os.cpu_count() < 2:
        raise Missing("net", "front-end and back-end need a processor each")
    rows = []
    for load in LOADS:
        label = "{0}, {1} rings, {2} bytes".format(*load)
        with contextlib.ExitStack() as running:
            sides = {back: Pair(bench, back, load, running) for back in ("libvh", "DPDK")}
            got = pairs.interleave({back: lambda p=p: p.sample(bench.seconds) for back, p in sides.items()}, bench.pairs,
                                   lambda line: bench.tell(f"{label}: {line}"))
        for back, samples in got.items():
            rows.append({"back-end": back, "load": label, "Mpps": statistics.median(samples) / 1e6, "_samples": samples})
        group.compare(f"{label}: libvh / DPDK's vhost as back-end", "frames per second", got["libvh"], got["DPDK"],
                      pairs.at_least(GOAL))
    group.table("frames, in millions per second", rows)
    group.note("Our sink completes frames without reading them; DPDK's copies them. Both sources copy.")


def charts(data):
    series = {}
    for row in (r for t in data["tables"] for r in t["rows"]):
        series.setdefault(row["back-end"], {})[row["load"]] = row["Mpps"]
    return series and [{"name": "net", "title": "Frames from and to DPDK's virtio-user", "y": "Mpps", "log": False,
                        "bars": series}]
