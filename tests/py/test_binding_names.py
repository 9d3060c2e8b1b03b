# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What is bound: all of the library, with the values of its headers, in the mode that was asked for."""
import json
import os
import re
import subprocess
import sys

import pytest

from binding import LIBRARY, MODE, TOP, script, vh


def test_every_name_of_the_library_is_bound():
    from vh._lib import lib
    exported = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], stdout=subprocess.PIPE, text=True, check=True).stdout
    names = {name.partition("@")[0] for name in re.findall(r" T (vh_\w+)", exported)}
    assert names and names == {name for name in dir(lib) if name.startswith("vh_")}


def test_constants_are_those_of_the_model():
    with open(os.path.join(TOP, "abi", "libvh.api.json"), encoding="utf-8") as f:
        constants = json.load(f)["constants"]
    from vh._lib import lib
    for c in constants:
        assert getattr(vh, c["name"].removeprefix("VH_")) == getattr(lib, c["name"]) == c["value"]


def test_the_mode_is_the_one_asked_for():
    from vh import _lib
    assert _lib.MODE == MODE and ("vh._cffi" in sys.modules) == (MODE == "api")
    got = script("import vh; vh.Slave", env={"VH_PYTHON_MODE": "fast"})
    assert got.returncode == 1 and "VH_PYTHON_MODE" in got.stderr
    assert vh.version() == tuple(int(n) for n in vh.__version__.split("."))


def test_the_package_shows_its_own_names_and_no_others():
    got = script("""
        import vh
        shown = [n for n in dir(vh) if not n.startswith("__")]
        names = {}
        exec("from vh import *", names)
        names.pop("__builtins__")
        assert shown == sorted(set(shown)) and set(shown) == set(names) == set(vh.__all__), set(shown) ^ set(names)
        assert {"Slave", "connect", "ALL", "Features", "PF_MQ", "VringAddr"} <= set(shown)
        modules = type(vh)
        assert not [n for n in shown if n.startswith("_") or isinstance(getattr(vh, n), modules)]
        for name in ("enum", "dataclasses", "_model_of", "Slaves"):
            assert not hasattr(vh, name), name
        """)
    assert got.returncode == 0, got.stderr


@pytest.mark.parametrize("version, fits", [(0x000100, True), (0x000107, True), (0x000200, False), (0x010100, False)])
def test_a_library_of_another_version_is_refused(tmp_path, version, fits):
    """The real one, but for what it says its version is."""
    (tmp_path / "other.c").write_text(f"unsigned vh_version(void) {{ return {version}; }}")
    other = str(tmp_path / "other.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", other, tmp_path / "other.c", "-Wl,--no-as-needed", LIBRARY], check=True)
    env = {"LD_PRELOAD": other} if MODE == "api" else {"VH_PYTHON_LIBRARY": other}
    got = script("import vh; print(vh.version())", env={**env, "LD_LIBRARY_PATH": os.path.dirname(LIBRARY)})
    if fits:
        assert got.returncode == 0 and str(version & 0xFF) in got.stdout, got.stderr
    else:
        assert got.returncode == 1 and "ImportError: vh is made for libvh 0.1.0" in got.stderr, got.stderr
