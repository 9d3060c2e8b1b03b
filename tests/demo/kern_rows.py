# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Rows of ./run demo in which the kernel of a guest is the peer."""
import os
import re
import subprocess

import kernel
import proc
import programs

HERE = os.path.dirname(os.path.abspath(__file__))


def in_guest(place, name, files, says, with_sims):
    """What a program says that runs in a guest, at the end of which it is well."""
    kernel_dir = kernel.fetch()
    initrd = programs.archive(place.logs, kernel_dir, [*files, ("bin/vhctl", place.vhctl)], with_sims)
    console = programs.boot(place.logs, kernel_dir, initrd)
    said = re.findall(rf"^({says})\s*$", console, flags=re.M)
    ended = re.search(rf"^@@ end {name} (\d+)", console, flags=re.M)
    if not said or not ended or ended.group(1) != "0":
        raise proc.Failed("the guest's program did not come to its end\n" + "\n".join(console.splitlines()[-15:]))
    return f"Linux {kernel.version_of(kernel_dir)}", [line.strip() for line in said]


def row_vduse(place, _):
    """A disk that vhctl is, used by the kernel's own driver."""
    program = os.path.join(place.logs, "vduse_disk")
    subprocess.run(["gcc", "-static", "-O2", "-D_GNU_SOURCE", "-I", os.path.join(os.path.dirname(HERE), "kern"), "-o", program,
                    os.path.join(HERE, "vduse_disk.c")], check=True)
    linux, said = in_guest(place, "vduse_disk", [("tests/vduse_disk", program)], r"\d+ MiB written to \S+ and read back", False)
    return f"{linux}, virtio_blk over virtio_vdpa: {said[0]}"


def row_vdpa(place, _):
    """Devices that the kernel simulates, driven through vhost-vdpa."""
    script = ("tests/vdpa_drive", os.path.join(HERE, "vdpa_drive.py"))
    linux, said = in_guest(place, "vdpa_drive", programs.python(place.logs, place.build, [script]), r".* simulated .*", True)
    return f"{linux}, vhost_vdpa: {'; '.join(said)}"
