# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl about this host: what is missing, what there is. Folders stand for /dev, /sys, /proc and /lib."""
import json
import os
import platform

from test_vhctl import DONE, UNREACHABLE, USAGE, WRONG, vhctl


def host(root, *files, **numbers):
    for path in files:
        os.makedirs(os.path.dirname(f"{root}{path}"), exist_ok=True)
        if not path.endswith("/"):
            (root / path.lstrip("/")).touch()
    for path, value in numbers.items():
        os.makedirs(root / "proc/sys" / os.path.dirname(path), exist_ok=True)
        (root / "proc/sys" / path).write_text(f"{value}\n", "ascii")
    return root


def doctor(root, *subjects):
    got = vhctl("doctor", *subjects, "--root", root, "--json")
    return {(c["subject"], c["name"]): c for c in json.loads(got.stdout)["checks"]}, got.returncode


def test_doctor_names_the_command_that_mends(tmp_path):
    root = host(tmp_path, "/dev/vhost-net")
    modules = root / "lib/modules" / platform.release()
    os.makedirs(modules)
    (modules / "modules.dep").write_text("kernel/drivers/vhost/vhost_vsock.ko.xz: kernel/drivers/vhost/vhost.ko.xz\n", "ascii")
    checks, rc = doctor(root, "kernel")
    assert rc == WRONG and set(s for s, _ in checks) == {"kernel"}
    assert checks["kernel", "net"] == {"subject": "kernel", "name": "net", "state": "ok", "text": "/dev/vhost-net can be opened"}
    assert checks["kernel", "vsock"]["mend"] == "modprobe vhost_vsock"
    assert "boot a kernel that has the module vhost_scsi" in checks["kernel", "scsi"]["mend"]


def test_doctor_is_content_with_what_was_asked_for(tmp_path):
    root = host(tmp_path, "/dev/vduse/control", "/sys/bus/vdpa/drivers/vhost_vdpa/")
    checks, rc = doctor(root, "vduse")
    assert rc == DONE and {c["state"] for c in checks.values()} == {"ok"}
    checks, rc = doctor(root, "vdpa")  # virtio_vdpa is not needed
    assert rc == DONE and checks["vdpa", "this-kernel"]["state"] == "note"


def test_doctor_tells_of_everything_and_fails_for_sockets_alone(tmp_path):
    root = host(tmp_path, "/dev/shm/", **{"kernel/io_uring_disabled": 2, "vm/nr_hugepages": 0})
    checks, rc = doctor(root)
    assert rc == DONE and {s for s, _ in checks} == {"vhost-user", "kernel", "vdpa", "vduse"}
    assert checks["kernel", "net"]["state"] == "missing"
    assert checks["vhost-user", "io_uring"]["mend"] == "sysctl -w kernel.io_uring_disabled=0"
    assert checks["vhost-user", "huge-pages"]["mend"] == "sysctl -w vm.nr_hugepages=128"
    os.rmdir(root / "dev/shm")
    checks, rc = doctor(root)
    assert rc == WRONG and checks["vhost-user", "shared-memory"]["mend"].startswith("mount -t tmpfs")
    assert doctor(root, "kernel", "vdpa")[1] == WRONG
    assert vhctl("doctor", "usb").returncode == USAGE


def test_doctor_prints_a_line_for_each(tmp_path):
    lines = vhctl("doctor", "--root", host(tmp_path, "/dev/shm/")).stdout.decode().splitlines()
    assert any(line.startswith("ok      vhost-user memory") for line in lines)
    at = next(i for i, line in enumerate(lines) if line.startswith("missing kernel     net"))
    assert "vhost_net" in lines[at + 1]


def with_vdpa(root):
    """A host with two devices: vnet0, which vhost_vdpa has, and vblk0, which virtio_vdpa has."""
    for driver in ("vhost_vdpa", "virtio_vdpa"):
        os.makedirs(root / "sys/bus/vdpa/drivers" / driver)
    os.makedirs(root / "sys/bus/vdpa/devices")
    for maker, name, driver, inside in (("vdpasim_net", "vnet0", "vhost_vdpa", "vhost-vdpa-0"),
                                        ("vdpasim_blk", "vblk0", "virtio_vdpa", "virtio1")):
        folder = root / "sys/devices" / maker / name
        os.makedirs(folder / inside)
        (folder / "driver").symlink_to(f"../../../bus/vdpa/drivers/{driver}")
        (root / "sys/bus/vdpa/devices" / name).symlink_to(f"../../../devices/{maker}/{name}")
    (root / "sys/devices/vdpasim_net/vnet0/vhost-vdpa-0/dev").write_text("243:0\n", "ascii")
    host(root, "/dev/vhost-vdpa-0", "/dev/vhost-net", "/dev/vduse/control", "/dev/null-like")
    os.makedirs(root / "proc/4321/fd")
    (root / "proc/4321/comm").write_text("qemu-system-x86\n", "ascii")
    (root / "proc/4321/fd/7").symlink_to("/dev/vhost-vdpa-0")
    (root / "proc/4321/fd/8").symlink_to("/dev/vhost-vdpa-0")
    return root


def test_ls_tells_nodes_with_their_holders_and_devices_with_their_drivers(tmp_path):
    got = vhctl("ls", "--root", with_vdpa(tmp_path), "--json")
    assert got.returncode == DONE
    told = json.loads(got.stdout)
    assert {n["path"]: n["holders"] for n in told["nodes"]} == {
        "/dev/vhost-net": [], "/dev/vhost-vdpa-0": [{"pid": 4321, "name": "qemu-system-x86"}], "/dev/vduse/control": []}
    assert {d["name"]: (d["driver"], d["node"], d["virtio"], d["parent"]) for d in told["devices"]} == {
        "vnet0": ("vhost_vdpa", f"{tmp_path}/dev/vhost-vdpa-0", "", "vdpasim_net"),
        "vblk0": ("virtio_vdpa", "", "virtio1", "vdpasim_blk")}
    text = vhctl("ls", "--root", tmp_path).stdout.decode()
    assert "held by qemu-system-x86 (4321)" in text and "vblk0" in text


def test_ls_of_a_host_without_any_is_empty(tmp_path):
    got = vhctl("ls", "--root", tmp_path, "--json")
    assert got.returncode == DONE and json.loads(got.stdout) == {"nodes": [], "devices": [], "makers": []}


def test_vdpa_says_what_is_wrong_with_its_words(tmp_path):
    for words in ((), ("mend",), ("add",), ("add", "a"), ("add", "a", "--mgmtdev", "m", "--mac", "1:2"), ("set", "a"), ("bind", "a"),
                  ("del", "a", "b"), ("show", "--stats", "0"), ("add", "a", "--mgmtdev", "m", "--features", "many")):
        assert vhctl("vdpa", *words, "--root", tmp_path).returncode == USAGE, words
    with_vdpa(tmp_path)
    got = vhctl("vdpa", "bind", "vnet0", "vhost_vdpa", "--root", tmp_path)  # which has it already
    assert got.returncode == DONE and got.stdout.decode() == f"vnet0 vhost_vdpa {tmp_path}/dev/vhost-vdpa-0\n"
    assert vhctl("vdpa", "bind", "nobody", "vhost_vdpa", "--root", tmp_path).returncode == WRONG


def test_a_device_that_is_not_there_is_out_of_reach(tmp_path):
    for what in ("/dev/vhost-vdpa-9999", "vdpa:nobody", "/dev/vhost-nowhere"):
        got = vhctl("probe", what)
        assert got.returncode in (UNREACHABLE, WRONG, USAGE) and got.returncode != DONE and got.stderr, what
    assert vhctl("probe", "/dev/vhost-vdpa-9999").returncode == UNREACHABLE
    assert vhctl("io", "blk", "/dev/vhost-vdpa-9999", "read").returncode == UNREACHABLE
    assert vhctl("io", "blk", "/dev/other", "read", cwd=tmp_path).returncode == USAGE
