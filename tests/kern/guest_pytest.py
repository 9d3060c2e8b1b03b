#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The pytest plugin on a vDPA device. Says what tests/kern/guest.h says. What is imported here is all that the guest has."""
import contextlib
import errno
import io
import os
import sys
import tempfile

import pytest

import vh
from vh import Blk, Vdpa, VdpaMgmt, VhError  # noqa: F401  # the package loads at use

NAME = "pytestblk"
CASE = "vdpa-target"
TESTS = '''
import pytest

@pytest.mark.vh(device="blk", features="VERSION_1")
def test_disk(vh_blk):
    vh_blk.write(512, b"x" * 512)
    assert vh_blk.read(512, 512) == b"x" * 512

def test_device(vh_vdpa):
    assert vh_vdpa.info.device_id == 2

@pytest.mark.vh(device="net")
def test_frames(vh_net): pass

def test_messages(vh_frontend): pass
'''


def run_pytest(target):
    """Its exit code, and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "test_target.py")
        with open(path, "w", encoding="utf-8") as f:
            f.write(TESTS)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = pytest.main(["-q", "-rs", "--assert=plain", "-p", "no:cacheprovider", "-p", "vh.pytest_plugin", "--rootdir", folder,
                                "--vh-allow-write", "--vh-target", target, path])
    del sys.modules["test_target"]
    return code, out.getvalue()


def main():
    print("case", CASE, flush=True)
    with VdpaMgmt() as mgmt:
        try:
            mgmt.add("vdpasim_blk", NAME)
        except VhError as e:
            if e.errno != errno.ENODEV:
                raise
            print(f"# skip: no simulators\nskip {CASE}", flush=True)
            return
        try:
            mgmt.bind(NAME, "vhost_vdpa")
            code, said = run_pytest("vdpa:" + NAME)
        finally:
            mgmt.delete(NAME)
    wanted = ("2 passed, 2 skipped", f"needs a net device; vdpa:{NAME} is blk", f"vdpa:{NAME} is no vhost-user back-end")
    if code or not all(text in said for text in wanted):
        print(said)
        print(f"# why: exit code {code}\nnot ok {CASE}", flush=True)
        sys.exit(1)
    print("ok", CASE, flush=True)


if __name__ == "__main__":
    main()
else:  # what pytest loads in its course is to be in the guest too
    run_pytest("vdpa:none")
    assert vh
