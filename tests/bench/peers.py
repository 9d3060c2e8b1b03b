# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The Cargo project in peers/: programs on the Rust crates for vhost-user devices.

Built by the machine's own cargo when that is new enough for the lock file, else by Debian trixie's, which is unpacked
privately (some 700 MB). Crates come through cargo, the first time from its registry.
"""
import os
import re
import shutil
import subprocess

import proc
import programs
import suite
from kernel import Missing

PROJECT = os.path.join(programs.HERE, "peers")
TARGET = os.path.join(programs.BUILD, "peers")


def _wanted():
    with open(os.path.join(PROJECT, "Cargo.toml"), encoding="utf-8") as f:
        return tuple(int(n) for n in re.search(r'^rust-version = "(\d+)\.(\d+)"', f.read(), flags=re.M).groups())


def _own_cargo():
    """The machine's cargo, if its rustc is new enough."""
    for cargo in filter(None, (shutil.which("cargo"), os.path.expanduser("~/.cargo/bin/cargo"))):
        try:
            said = subprocess.run([os.path.join(os.path.dirname(cargo), "rustc"), "--version"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False).stdout.decode()
        except OSError:
            continue
        found = re.match(r"rustc (\d+)\.(\d+)", said)
        if found and tuple(int(n) for n in found.groups()) >= _wanted():
            return cargo
    return None


def _unpacked_cargo():
    """Debian trixie's, on its own C library: a script for each program, because cargo starts rustc by one name."""
    root = suite.unpack_whole("trixie", "cargo", "rustc")
    folder = os.path.join(TARGET, "bin")
    os.makedirs(folder, exist_ok=True)
    for name in ("cargo", "rustc"):
        path = os.path.join(folder, name)
        words = " ".join(f"'{w}'" for w in suite.run_in(root, f"usr/bin/{name}"))
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\nexec {words} "$@"\n')
        os.chmod(path, 0o755)
    return os.path.join(folder, "cargo")


def built(name):
    """Its path, if it has been built before; else Missing."""
    path = os.path.join(TARGET, "release", name)
    if not os.path.exists(path):
        raise Missing(f"the Rust crates ({name})", "not built before, and a small run does not")
    return path


def program(name):
    """The path of a program of the project, built; Missing says why it can't be."""
    cargo = _own_cargo() or _unpacked_cargo()
    env = {**os.environ, "RUSTC": os.path.join(os.path.dirname(cargo), "rustc")}
    words = [cargo, "build", "--release", "--locked", "--manifest-path", os.path.join(PROJECT, "Cargo.toml"), "--target-dir",
             TARGET, "--bin", name]
    try:
        try:
            programs.call([*words, "--offline"], 1200, env=env)
        except proc.Failed:
            programs.call(words, 1200, env=env)
    except (proc.Failed, OSError) as e:
        raise Missing(f"the Rust crates ({name})", str(e).splitlines()[-1]) from None
    return os.path.join(TARGET, "release", name)
