# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The probes of the library are those that docs/metrics.md lists, with as many arguments, and a debugger stops there."""
import os
import platform
import re
import subprocess
import sys

import pytest
from binding import PACKAGE
from docs_tables import table_rows, text

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBRARY = os.path.join(os.environ.get("VH_BUILD", os.path.join(TOP, "build")), "libvh.so.1")
pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64", "s390x", "riscv64", "ppc64le"),
                                reason="no probes on this machine")


def probes():
    out = subprocess.run(["readelf", "-nW", LIBRARY], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {}
    for provider, name, arguments in re.findall(r"Provider: (\w+)\s+Name: (\w+)\s+.*?\n\s+Arguments: (.*)", out):
        assert provider == "libvh"
        found.setdefault(name, set()).add(len(arguments.split(" 8@")) if arguments else 0)
    return found


def documented():
    rows = [cells for heading, cells in table_rows(text("docs", "metrics.md")) if heading == "Probes"]
    return {cells[0].strip("`"): cells[1] for cells in rows}


def test_the_documented_ones_are_there():
    found, told = probes(), documented()
    assert sorted(found) == sorted(told) and len(found) == 10
    assert all(len(counts) == 1 for counts in found.values())


def test_a_debugger_stops_there_and_sees_the_arguments(tmp_path):
    """A queue is started in a process under gdb: 1 entry in the third argument."""
    program = tmp_path / "program.py"
    program.write_text("import vh\nm = vh.Memory()\nm.alloc(0, 1 << 20)\n"
                       "q = vh.Queue(m, role=vh.QUEUE_DEVICE, num=64, index=5, features=1 << 32, desc=0, driver=4096, device=8192)\n")
    gdb = subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "set breakpoint pending on",
         "-ex", "break -probe-stap libvh:queue_started", "-ex", "run",
         "-ex", "printf \"index %d entries %d\\n\", (int)$_probe_arg1, (int)$_probe_arg2", "-ex", "kill",
         "--args", sys.executable, str(program)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": PACKAGE})
    assert "index 5 entries 64" in gdb.stdout, gdb.stdout
