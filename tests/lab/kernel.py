# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Debian's kernel for guests, unpacked privately: nothing is installed, what was fetched is kept by version.

The cache is $VH_CACHE, else ~/.cache/libvh; it holds kernel-VERSION/{vmlinux,modules/...}. As a program: prints the
folder of the newest kernel, after fetching it when it is not there.
"""
import contextlib
import fcntl
import glob
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

META = "linux-image-6.12-cloud-amd64"
NAMED = re.compile(r"linux-image-6\.12\.(\d+)\S*-cloud-amd64")
COMPRESSION = ((b"\x28\xb5\x2f\xfd", ["zstd", "-dc"]), (b"\xfd7zXZ", ["xz", "-dc"]), (b"\x1f\x8b", ["gzip", "-dc"]))


class Missing(Exception):
    """The package manager can't bring the package that is named in .package."""

    def __init__(self, package, why):
        super().__init__(f"{package}: {why}")
        self.package = package


def cache_dir():
    path = os.environ.get("VH_CACHE") or os.path.expanduser("~/.cache/libvh")
    os.makedirs(path, exist_ok=True)
    return path


def go_cache():
    """Where Go keeps what it has compiled: its own library with the race detector, for i386 and so on takes minutes."""
    return os.path.join(cache_dir(), "go")


def apt(*argv, cwd=None):
    env = dict(os.environ, LC_ALL="C")
    return subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300, check=False)


def _update():
    sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
    with contextlib.suppress(OSError):
        apt(*sudo, "apt-get", "update", "-q")


def _said(*words):
    """What apt-cache says. It reads all lists anew, which takes a second, so that it is asked once for as long as they stay the same."""
    kept = os.path.join(cache_dir(), f"said-{'-'.join(words)}")
    lists = f"{os.stat('/var/lib/apt/lists').st_mtime_ns}\n"
    with contextlib.suppress(FileNotFoundError), open(kept, encoding="utf-8") as f:
        if f.readline() == lists:
            return f.read()
    out = apt("apt-cache", *words).stdout.decode(errors="replace")
    with open(kept, "w", encoding="utf-8") as f:
        f.write(lists + out)
    return out


def _candidate():
    """Name of the image package that META depends on, None when the lists don't have it."""
    out = _said("depends", META)
    found = re.search(r"Depends: (linux-image-6\.12\.\S+)", out)
    return found.group(1) if found else None


def extract_vmlinux(bzimage, out):
    """The ELF kernel inside a bzImage: QEMU boots it by PVH, without the slow decompression in the guest."""
    with open(bzimage, "rb") as f:
        data = f.read()
    setup_sectors = data[0x1F1]
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = data[start:start + length]
    for magic, command in COMPRESSION:
        if payload.startswith(magic):
            # What follows the compressed stream (its size) makes the tool complain after it has written everything.
            elf = subprocess.run(command, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 check=False).stdout
            if elf[:4] != b"\x7fELF":
                raise ValueError(f"{bzimage}: {command[0]} gave no ELF file")
            with open(out, "wb") as f:
                f.write(elf)
            return
    raise ValueError(f"{bzimage}: compressed in a way that is not known here: {payload[:8]!r}")


def convert(tree, dest):
    """Turn the unpacked files of a kernel's packages into a cache folder, which appears whole or not at all."""
    ready = tempfile.mkdtemp(prefix="ready-", dir=cache_dir())
    try:
        modules = glob.glob(os.path.join(tree, "lib/modules/*")) or glob.glob(os.path.join(tree, "usr/lib/modules/*"))
        image = glob.glob(os.path.join(tree, "boot/vmlinuz-*")) or glob.glob(os.path.join(modules[0], "vmlinuz"))
        extract_vmlinux(image[0], os.path.join(ready, "vmlinux"))
        shutil.copytree(modules[0], os.path.join(ready, "modules"), symlinks=True)
        os.rename(ready, dest)
    finally:
        shutil.rmtree(ready, ignore_errors=True)


def _unpack(package, dest):
    """Download a package and make its cache folder."""
    work = tempfile.mkdtemp(prefix="fetch-", dir=cache_dir())
    try:
        got = apt("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package, cwd=work)
        debs = glob.glob(os.path.join(work, "*.deb"))
        if not debs:
            raise Missing(package, "apt-get download: " + got.stdout.decode(errors="replace").strip()[-300:])
        tree = os.path.join(work, "tree")
        subprocess.run(["dpkg", "-x", debs[0], tree], check=True)
        convert(tree, dest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def version_of(kernel_dir):
    return os.path.basename(kernel_dir)[len("kernel-"):]


def _folder(package):
    dest = os.path.join(cache_dir(), "kernel-" + package[len("linux-image-"):])
    if not os.path.isdir(dest):
        _unpack(package, dest)
    return dest


def fetch():
    """Folder of the kernel that apt offers now, or of the newest one in the cache when apt has no answer."""
    with open(os.path.join(cache_dir(), "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        package = _candidate()
        if not package:
            cached = sorted(glob.glob(os.path.join(cache_dir(), "kernel-6.12.*")), key=os.path.getmtime)
            if cached:
                return cached[-1]
            _update()
            package = _candidate()
        if not package:
            raise Missing(META, "not in the package lists; is the security suite among apt's sources?")
        return _folder(package)


def fetch_oldest():
    """Folder of the oldest 6.12 that apt still offers; None when that is the newest as well."""
    with open(os.path.join(cache_dir(), "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names = _said("pkgnames", "linux-image-6.12.").split()
        named = sorted((int(found.group(1)), found.group(0)) for found in map(NAMED.fullmatch, names) if found)
        return _folder(named[0][1]) if len(named) > 1 else None


if __name__ == "__main__":
    try:
        print(fetch())
    except Missing as e:
        sys.exit(str(e))
