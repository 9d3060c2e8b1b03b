# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What pyproject.toml can't say: the compiled part, and with VH_BUNDLE=1 a copy of the library beside it."""
import os
import shutil
import subprocess
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import build_ffi  # noqa: E402


class BuildPy(build_py):
    """Puts libvh.so.1 into the package, where the compiled part looks first then."""

    def run(self):
        super().run()
        if os.environ.get("VH_BUNDLE") == "1":
            libdir = subprocess.run(["pkg-config", "--variable=libdir", "libvh"], stdout=subprocess.PIPE, text=True,
                                    check=True).stdout.split()
            found = [path for folder in [*build_ffi.pkg_config()["library_dirs"], *libdir]
                     for path in [os.path.join(folder, "libvh.so.1")] if os.path.exists(path)]
            if not found:
                raise SystemExit("VH_BUNDLE=1, but there is no libvh.so.1 where pkg-config says that libvh is")
            shutil.copy(found[0], os.path.join(self.build_lib, "vh", "libvh.so.1"))


setup(cffi_modules=["build_ffi.py:ffibuilder"], cmdclass={"build_py": BuildPy},
      options={"bdist_wheel": {"py_limited_api": "cp311"}})
