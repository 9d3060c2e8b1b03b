# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""An initramfs for a guest: an init program, and kernel modules with what they depend on, numbered in load order.

It is written uncompressed, because the guest, emulated, decompresses slowly.
"""
import lzma
import os
import re
import stat
import subprocess


class Cpio:
    """The `newc` archive format that the kernel unpacks."""

    def __init__(self):
        self.parts = []
        self.count = 0
        self.size = 0

    def _put(self, data):
        padded = data + b"\0" * (-len(data) % 4)
        self.parts.append(padded)
        self.size += len(padded)

    def add(self, name, mode, data=b"", rdev=(0, 0)):
        self.count += 1
        raw = name.encode() + b"\0"
        fields = (self.count, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(raw), 0)
        self._put(b"070701" + b"".join(b"%08X" % f for f in fields) + raw)
        self._put(data)

    def folder(self, name):
        self.add(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o755):
        self.add(name, stat.S_IFREG | mode, data)

    def finish(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


def _index(tree):
    """Module name -> path, for every module of a modules folder."""
    found = {}
    for folder, _, files in os.walk(tree):
        for name in files:
            match = re.fullmatch(r"(.+)\.ko(\.xz)?", name)
            if match:
                found[match.group(1).replace("-", "_")] = os.path.join(folder, name)
    return found


def _builtin(tree):
    with open(os.path.join(tree, "modules.builtin"), encoding="ascii") as f:
        return {os.path.basename(line.strip())[:-3].replace("-", "_") for line in f}


def _load(path):
    opener = lzma.open if path.endswith(".xz") else open
    with opener(path, "rb") as f:
        return f.read()


def module_closure(tree, wanted, more=None):
    """[(name, bytes)] in load order; modules that are built into the kernel are left out. @more: a folder of further modules."""
    index, builtin, order, seen = _index(tree), _builtin(tree), [], set()
    index.update(_index(more) if more else {})

    def visit(name):
        name = name.replace("-", "_")
        if name in seen or name in builtin:
            return
        seen.add(name)
        if name not in index:
            raise KeyError(f"{tree}: the kernel has no module {name}")
        data = _load(index[name])
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for dep in (depends.group(1).decode().split(",") if depends else ()):
            if dep:
                visit(dep)
        order.append((name, data))

    for name in wanted:
        visit(name)
    return order


def _shared(program):
    """(name, path) of each shared library that a program is loaded with, and of its loader under its whole name."""
    with open(program, "rb") as f:
        if f.read(4) != b"\x7fELF":
            return
    said = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode()
    for line in said.splitlines():
        found = re.match(r"\s*(?:\S+ => )?(/\S+) \(", line)
        if found:
            path = found.group(1)
            yield ("lib64/" if "/ld-" in path else "lib/") + os.path.basename(path), path


def _read(path):
    with open(path, "rb") as f:
        return f.read()


def build(out, init, tree, modules, more=None, programs=()):
    """Write the archive out: /init, /modules/NN-name.ko, empty folders, /dev/console.

    @more: a folder of modules that the kernel's package has not. @programs: (path in the guest, path here); the libraries that they
    are loaded with go to /lib.
    """
    archive = Cpio()
    folders = {"dev", "proc", "sys", "modules", "lib", "lib64"}
    for name, _ in programs:
        while name := os.path.dirname(name):
            folders.add(name)
    for name in sorted(folders):
        archive.folder(name)
    archive.add("dev/console", stat.S_IFCHR | 0o600, rdev=(5, 1))
    archive.file("init", _read(init))
    for n, (name, data) in enumerate(module_closure(tree, modules, more)):
        archive.file(f"modules/{n:02}-{name}.ko", data, 0o644)
    files = dict(shared for _, path in programs for shared in _shared(path))
    for name, path in (*files.items(), *programs):
        archive.file(name, _read(path))
    with open(out, "wb") as f:
        f.write(archive.finish())
