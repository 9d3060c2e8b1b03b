# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""File systems in image files, made and looked into without mounting them: no root is needed."""
import os
import subprocess
import tempfile

import proc


def _tool(*argv):
    got = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env=dict(os.environ, PATH="/usr/sbin:/sbin:/usr/bin:/bin"), check=False)
    if got.returncode:
        raise proc.Failed(f"{' '.join(argv)}: {got.stdout.decode(errors='replace').strip()}")


def make(image, size, files):
    """An ext4 file system of @size bytes that holds @files, {name: bytes}."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
        with open(image, "wb") as f:
            f.truncate(size)
        _tool("mke2fs", "-q", "-F", "-t", "ext4", "-d", folder, image)


def check(image):
    """proc.Failed unless the file system is whole and was unmounted."""
    _tool("e2fsck", "-f", "-n", image)


def read(image, name):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        _tool("debugfs", "-R", f"dump /{name} {out}", image)
        with open(out, "rb") as f:
            return f.read()
