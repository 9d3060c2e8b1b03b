# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The Cargo project in peers/: programs on the Rust crates for vhost-user devices.

Crates come through cargo (lab/cargo.py says which), the first time from its registry.
"""
import os

import cargo
import proc
import programs
from kernel import Missing

PROJECT = os.path.join(programs.HERE, "peers")
TARGET = os.path.join(programs.BUILD, "peers")


def built(name):
    """Its path, if it has been built before; else Missing."""
    path = os.path.join(TARGET, "release", name)
    if not os.path.exists(path):
        raise Missing(f"the Rust crates ({name})", "not built before, and a small run does not")
    return path


def program(name):
    """The path of a program of the project, built; Missing says why it can't be."""
    words, more = cargo.build(cargo.own(PROJECT) or cargo.unpacked(TARGET), PROJECT, TARGET, "--bin", name)
    env = {**os.environ, **more}
    try:
        try:
            programs.call([*words, "--offline"], 1200, env=env)
        except proc.Failed:
            programs.call(words, 1200, env=env)
    except (proc.Failed, OSError) as e:
        raise Missing(f"the Rust crates ({name})", str(e).splitlines()[-1]) from None
    return os.path.join(TARGET, "release", name)
