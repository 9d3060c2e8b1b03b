# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""VDUSE on a machine whose kernel has none: what is said. A kernel that has it is in tests/kern."""
import os

import pytest

import vh


def absent():
    return not os.path.exists("/dev/vduse/control")


def test_what_is_missing_is_named():
    with vh.Device.null(1 << 20) as device:
        if absent():
            with pytest.raises(FileNotFoundError, match="modprobe vduse"):
                vh.Vduse("vh-test", device, umem=True)
            with pytest.raises(FileNotFoundError, match="modprobe vduse"):
                vh.Vduse.remove("vh-test")
        for name in ("", "a/b", "control", "x" * 256):
            with pytest.raises(vh.VhError) as e:
                vh.Vduse(name, device)
            assert e.value.errno == 22
        with pytest.raises(vh.VhError):
            vh.Vduse("vh-test", device, make=True, take_up=True)
        with pytest.raises(TypeError):
            vh.Vduse("vh-test", None)


def test_a_device_that_was_refused_is_free_again(tmp_path):
    with vh.Device.null(1 << 20) as device:
        with pytest.raises(vh.VhError):
            vh.Vduse("a/b", device)
        with vh.Slave(device) as slave:
            slave.listen(tmp_path / "s")
