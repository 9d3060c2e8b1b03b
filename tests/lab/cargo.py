# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Which cargo builds a Cargo project of the tests: the machine's own when it is new enough for the project's rust-version,
else Debian trixie's, which is unpacked privately (some 700 MB)."""
import os
import re
import shutil
import subprocess

import suite


def wanted(project):
    """The rustc that a project's lock file needs at least, (major, minor)."""
    with open(os.path.join(project, "Cargo.toml"), encoding="utf-8") as f:
        return tuple(int(n) for n in re.search(r'^rust-version = "(\d+)\.(\d+)"', f.read(), flags=re.M).groups())


def own(project):
    """The machine's cargo, if its rustc is new enough."""
    for cargo in filter(None, (shutil.which("cargo"), os.path.expanduser("~/.cargo/bin/cargo"))):
        try:
            said = subprocess.run([os.path.join(os.path.dirname(cargo), "rustc"), "--version"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False).stdout.decode()
        except OSError:
            continue
        found = re.match(r"rustc (\d+)\.(\d+)", said)
        if found and tuple(int(n) for n in found.groups()) >= wanted(project):
            return cargo
    return None


def unpacked(target):
    """Debian trixie's, on its own C library: a script for each program, because cargo starts rustc by one name."""
    root = suite.unpack_whole("trixie", "cargo", "rustc")
    folder = os.path.join(target, "bin")
    os.makedirs(folder, exist_ok=True)
    for name in ("cargo", "rustc"):
        path = os.path.join(folder, name)
        words = " ".join(f"'{w}'" for w in suite.run_in(root, f"usr/bin/{name}"))
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\nexec {words} "$@"\n')
        os.chmod(path, 0o755)
    return os.path.join(folder, "cargo")


def build(cargo, project, target, *words):
    """(argv, what its environment has beside) that builds the project into a folder."""
    return ([cargo, "build", "--release", "--locked", "--manifest-path", os.path.join(project, "Cargo.toml"), "--target-dir", target,
             *words], {"RUSTC": os.path.join(os.path.dirname(cargo), "rustc")})
