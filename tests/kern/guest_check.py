#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl check of device files: the simulators' and VDUSE's through vhost-vdpa, and the kernel's own. What is not as it should be is
listed in python/vh/check/known.

Says what tests/kern/guest.h says; a case is one device.
"""
import contextlib
import io
import sys
import threading
import time
import traceback

import vh
import vh.check.__main__
from vh import Blk, Device, Driver, Kern, Memory, Net, NetDev, Vdpa, VdpaMgmt, Vduse, VhError  # noqa: F401 - the package loads at use
from vh.check import __main__ as command

NAME = "checked"
MIB = 1 << 20


class Skipped(Exception):
    """This kernel lacks something."""


@contextlib.contextmanager
def made(maker, **attrs):
    """A vDPA device NAME, behind vhost-vdpa."""
    with VdpaMgmt() as mgmt:
        if maker not in {str(m) for m in mgmt.mgmtdevs()}:
            raise Skipped("no simulators")
        mgmt.add(maker, NAME, **attrs)
        try:
            mgmt.bind(NAME, "vhost_vdpa")
            yield
        finally:
            mgmt.delete(NAME)


@contextlib.contextmanager
def exported(device):
    """A device of ours that the kernel has, through vhost-vdpa."""
    try:
        with device, Vduse(NAME, device, make=True) as vduse:
            thread = threading.Thread(target=vduse.serve)
            thread.start()
            try:
                with made("vduse"):
                    yield
            finally:
                vduse.stop()
                thread.join()
    finally:
        Vduse.remove(NAME)


def check(target, *words):
    begun = time.monotonic()
    with contextlib.redirect_stderr(io.StringIO()):  # no progress bar
        code = command.main([target, "--strict", "--wait", "4", "--timeout", "60", *words])
    print(f"# {time.monotonic() - begun:.0f} s", flush=True)
    assert code == 0, f"vhctl check {target}: {code}"


def vdpa(maker, known, *words, **attrs):
    with made(maker, **attrs):
        check(f"vdpa:{NAME}", "--known", known, *words)


def vduse(device, *words):
    with exported(device):
        check(f"vdpa:{NAME}", "--known", "vduse", *words)


CASES = {
    "vdpa-sim-blk": lambda: vdpa("vdpasim_blk", "vdpa_sim", "--allow-write"),
    "vdpa-sim-net": lambda: vdpa("vdpasim_net", "vdpa_sim", "--loopback", "--skip", "robust.*", mac=b"\x52\x54\0\1\2\3"),
    "vduse-blk": lambda: vduse(Device.ram(MIB), "--allow-write"),
    "vduse-net": lambda: vduse(NetDev.loopback(), "--loopback", "--skip", "robust.*"),
    "vhost-net": lambda: check("/dev/vhost-net", "--known", "vhost"),
    "vhost-vsock": lambda: check("/dev/vhost-vsock", "--known", "vhost"),
    "vhost-scsi": lambda: check("/dev/vhost-scsi", "--known", "vhost"),
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
        except (AssertionError, VhError, OSError, SystemExit) as e:
            bad = 1
            traceback.print_exc(file=sys.stdout)
            print(f"# why: {type(e).__name__}: {e}")
            print("not ok", name, flush=True)
    sys.exit(bad)


if __name__ == "__main__":
    main()
