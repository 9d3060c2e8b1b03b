# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""libblkio's front-end: tests/bench/blkio_bench.c against the library of Debian trixie, which is unpacked privately."""
import os
import subprocess

import suite

SOURCE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench", "blkio_bench.c")


def build(exe):
    """The program, at that path."""
    tree = suite.unpack("trixie", "libblkio1", "libblkio-dev")
    lib = os.path.join(tree, "usr/lib/x86_64-linux-gnu")
    subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-I", os.path.join(tree, "usr/include"), SOURCE, "-o", exe,
                    "-L", lib, "-lblkio", f"-Wl,-rpath,{lib}"], check=True)
    return exe
