# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""bpftrace is told of a session by the library's probes. It needs root, and a kernel that lets it."""
import os
import shutil
import subprocess

import pytest
from test_probes import LIBRARY
from test_vhctl import VHCTL, _serve  # pylint: disable=unused-import

pytestmark = pytest.mark.skipif(not shutil.which("bpftrace") or os.geteuid() != 0, reason="needs bpftrace, and root")


def test_bpftrace_is_told_of_a_session(serve):
    disk = serve("--ram", "1M")
    program = (f'BEGIN {{ printf("ready\\n"); }} usdt:{LIBRARY}:libvh:queue_started {{ printf("started %d %d\\n", arg1, arg2); }} '
               f'usdt:{LIBRARY}:libvh:queue_stopped {{ printf("stopped %d\\n", arg1); exit(); }}')
    with subprocess.Popen(["bpftrace", "-B", "line", "-p", str(disk.p.pid), "-e", program], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tracer:
        said = ""
        while "ready" not in said:
            line = tracer.stdout.readline()
            said += line
            if not line:
                pytest.skip(f"bpftrace can't run here: {tracer.communicate(timeout=60)[1].strip()}")
        done = subprocess.run([VHCTL, "io", "blk", disk.target, "read", "--size", "4K"], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        said += tracer.communicate(timeout=60)[0]
    assert "started 0 128\n" in said and "stopped 0\n" in said, said
