# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The compiled part of the package. pip builds `ffibuilder`; `build_ffi.py FILE` only writes its C source, for CMake."""
import os
import subprocess
import sys

import cffi

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from vh import _cdef  # noqa: E402  # pylint: disable=wrong-import-position


def pkg_config():
    """How to compile and link against libvh, as set_source() takes it."""
    words = {}
    for flag in ("--cflags", "--libs"):
        got = subprocess.run(["pkg-config", flag, "libvh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             check=False)
        if got.returncode:
            raise SystemExit(f"libvh is not found by pkg-config: {got.stderr.strip()}\n"
                             "Install it, or run '. build/env.sh' of a build tree first.")
        words[flag] = got.stdout.split()
    found = {key: [w[2:] for w in words["--cflags"] + words["--libs"] if w.startswith(prefix)]
             for key, prefix in (("include_dirs", "-I"), ("library_dirs", "-L"), ("libraries", "-l"))}
    if os.environ.get("VH_BUNDLE") == "1":
        found["extra_link_args"] = ["-Wl,-rpath,$ORIGIN"]
    return found


def builder(**how):
    ffi = cffi.FFI()
    ffi.cdef(_cdef.CDEF + _cdef.CALLBACK_CDEF + _cdef.HELPER_CDEF)
    ffi.set_source("vh._cffi", _cdef.HELPER_C, **how)
    return ffi


if __name__ == "__main__":
    builder().emit_c_code(sys.argv[1])
else:
    ffibuilder = builder(**pkg_config())
