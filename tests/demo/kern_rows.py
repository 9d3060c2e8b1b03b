# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Rows of ./run demo in which the kernel of a guest is the peer."""
import os
import re
import subprocess

import kernel
import proc
import programs

HERE = os.path.dirname(os.path.abspath(__file__))


def row_vduse(place, _):
    """A disk that vhctl is, used by the kernel's own driver."""
    program = os.path.join(place.logs, "vduse_disk")
    subprocess.run(["gcc", "-static", "-O2", "-D_GNU_SOURCE", "-I", os.path.join(os.path.dirname(HERE), "kern"), "-o", program,
                    os.path.join(HERE, "vduse_disk.c")], check=True)
    kernel_dir = kernel.fetch()
    initrd = programs.archive(place.logs, kernel_dir, [("tests/vduse_disk", program), ("bin/vhctl", place.vhctl)], with_sims=False)
    console = programs.boot(place.logs, kernel_dir, initrd)
    said = re.search(r"^(\d+ MiB written to \S+ and read back)\s*$", console, flags=re.M)
    ended = re.search(r"^@@ end vduse_disk (\d+)", console, flags=re.M)
    if not said or not ended or ended.group(1) != "0":
        raise proc.Failed("the guest's program did not come to its end\n" + "\n".join(console.splitlines()[-15:]))
    return f"Linux {kernel.version_of(kernel_dir)}, virtio_blk over virtio_vdpa: {said.group(1)}"
