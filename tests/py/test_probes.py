# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The probes of the library are those that docs/metrics.md lists, with as many arguments everywhere, and a debugger finds them."""
import os
import platform
import re
import subprocess

import pytest
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


def test_a_debugger_finds_them():
    gdb = subprocess.run(["gdb", "-nx", "-batch", "-readnever", "-iex", "set debuginfod enabled off",
                          "-ex", "info probes stap libvh", LIBRARY],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    names = set(re.findall(r"^stap\s+libvh\s+(\w+)\s+0x", gdb.stdout, flags=re.M))
    assert names == set(documented()), gdb.stdout
