# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The package as users get it: installed, typed, complete; its examples."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from binding import BUILD, MODE, PACKAGE, TOP, VHCTL, WAIT, script, vh

SOURCE = os.path.join(TOP, "python")
# Functions that the Python layer has no use for, and why.
UNUSED = {
    "vh_master_resume": "waiting() runs the handlers of signals inside of the wait, which goes on",
    "vh_slave_wait": "Slave.wait() polls the fd, so that other threads get in and signals are heard",
    "vh_vduse_wait": "the same of Vduse.wait()",
}


def words_of_the_layer():
    text = ""
    for path in glob.glob(os.path.join(SOURCE, "vh", "*.py")):
        if not path.endswith("_cdef.py"):
            with open(path, encoding="utf-8") as f:
                text += f.read()
    return text


def test_every_function_has_a_use_or_a_reason():
    with open(os.path.join(TOP, "abi", "libvh.api.json"), encoding="utf-8") as f:
        functions = [f["name"] for f in json.load(f)["functions"]]
    text = words_of_the_layer()
    sides = [f"{side}_{what}" for side in ("vh_slave", "vh_master", "vh_driver", "vh_vduse") for what in (
        "fd", "dispatch", "next_event", "stop", "set_logger", "set_trace", "submit", "finish", "answer", "disconnect")]
    requests = re.findall(r'self\._get\("(\w+)"', text)
    used = {*(f"{side}_queue" for side in ("vh_slave", "vh_vduse")), *re.findall(r"\b(vh_\w+)", text), *sides, *(f"vh_master_get_{name}" for name in requests)}
    unused = sorted(set(functions) - used)
    assert unused == sorted(UNUSED)


def test_mypy_finds_nothing():
    got = subprocess.run(["mypy", "--config-file", "pyproject.toml", "--cache-dir", os.devnull, "-p", "vh"], cwd=SOURCE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert got.returncode == 0, got.stdout


def test_mypy_knows_the_types_of_a_program(tmp_path):
    (tmp_path / "good.py").write_text("import vh\n\nn: int = vh.Blk('s').capacity\nb: bytes = vh.Blk('s').read(0, 512)\n"
                                      "q: vh.Features = vh.connect('s').negotiate()\n")
    (tmp_path / "bad.py").write_text("import vh\n\nn: str = vh.Blk('s').capacity\n")
    for name, code in (("good.py", 0), ("bad.py", 1)):
        got = subprocess.run(["mypy", "--strict", "--cache-dir", os.devnull, name], cwd=tmp_path, text=True,
                             env={**os.environ, "MYPYPATH": SOURCE, "MYPY_FORCE_COLOR": "0"}, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, check=False)
        errors = [line for line in got.stdout.splitlines() if line.startswith(name) and "error" in line]
        assert bool(errors) == bool(code), got.stdout


@pytest.mark.parametrize("bundle", (False, True))
def test_pip_installs_it(tmp_path, bundle):
    """Offline, against the library of the build tree through pkg-config; bundled it works without that."""
    source, target = tmp_path / "python", tmp_path / "target"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    env = {**os.environ, "PKG_CONFIG_PATH": os.path.join(BUILD, "pkgconfig"), "VH_BUNDLE": "1" if bundle else "0",
           "PYTHONPATH": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    got = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-index", "--no-deps",
                          "--target", target, source], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         timeout=120, check=False)
    assert got.returncode == 0, got.stdout
    assert (target / "vh" / "py.typed").exists() and (target / "vh" / "libvh.so.1").exists() == bundle
    clean = {k: v for k, v in os.environ.items() if k not in ("VH_PYTHON_LIBRARY", "LD_LIBRARY_PATH")}
    clean |= {"PYTHONPATH": str(target)} | ({} if bundle else {"LD_LIBRARY_PATH": BUILD})
    program = "import vh, sys; m = vh.Memory(); m.alloc(0, 4096); m.close(); print(vh.__file__)"
    ran = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", program], env=clean, cwd=tmp_path,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 0 and ran.stdout.startswith(str(target)), ran.stderr


def test_a_source_distribution_has_all_that_a_build_needs(tmp_path):
    shutil.copytree(SOURCE, tmp_path / "python", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*"))
    env = {**os.environ, "PKG_CONFIG_PATH": os.path.join(BUILD, "pkgconfig"), "PYTHONPATH": ""}
    subprocess.run([sys.executable, "setup.py", "-q", "sdist"], cwd=tmp_path / "python", env=env, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    archive, = glob.glob(str(tmp_path / "python" / "dist" / "*.tar.gz"))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "xf", archive, "--strip-components=1", "-C", tmp_path / "out"], check=True)
    got = subprocess.run([sys.executable, "setup.py", "-q", "build_py", "--build-lib", tmp_path / "lib"],
                         cwd=tmp_path / "out", env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         check=False)
    assert got.returncode == 0, got.stdout
    assert sorted(os.listdir(tmp_path / "lib" / "vh")) == sorted(
        name for name in os.listdir(os.path.join(SOURCE, "vh")) if name != "__pycache__")


def test_pip_says_what_is_missing(tmp_path):
    shutil.copytree(SOURCE, tmp_path / "python", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    got = subprocess.run([sys.executable, "build_ffi.py", tmp_path / "x.c"], cwd=tmp_path / "python", check=False)
    assert got.returncode == 0  # writing the C source needs no library
    got = subprocess.run([sys.executable, "-c", "import build_ffi"], cwd=tmp_path / "python", stderr=subprocess.PIPE, text=True,
                         env={**os.environ, "PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": "/none"}, check=False)
    assert got.returncode == 1 and "pkg-config" in got.stderr and "env.sh" in got.stderr


def test_the_build_tree_s_env_is_enough():
    program = "import vh; print(vh.version())"
    env = {k: v for k, v in os.environ.items() if k not in ("VH_PYTHON_LIBRARY", "PYTHONPATH", "LD_LIBRARY_PATH")}
    got = subprocess.run(["sh", "-c", f'. "{BUILD}/env.sh" && exec "$0" -c "$1"', sys.executable, program], env=env,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/", check=False)
    assert got.returncode == 0 and got.stdout.startswith("(0, "), got.stderr


# Examples


def lines(path):
    with open(path, encoding="utf-8") as f:
        return len(f.read().splitlines())


def test_a_null_device_takes_25_lines_and_works(tmp_path):
    path = os.path.join(TOP, "examples", "null_device.py")
    assert lines(path) <= 25
    env = {**os.environ, "PYTHONPATH": PACKAGE}
    with subprocess.Popen([sys.executable, "-X", "dev", path, tmp_path / "s"], env=env, stderr=subprocess.PIPE) as p:
        try:
            run_when_there(tmp_path / "s", [VHCTL, "probe", f"unix:{tmp_path}/s"])
            with vh.Blk(tmp_path / "s", timeout=WAIT) as disk:
                assert disk.capacity == 1 << 30
                disk.write(4096, b"x" * 4096)
                assert disk.read(4096, 4096) == bytes(4096)
        finally:
            p.terminate()
            p.stderr.read()


def run_when_there(path, words):
    end = time.monotonic() + WAIT
    while True:
        got = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             check=False)
        if got.returncode == 0 or time.monotonic() > end:
            assert got.returncode == 0, (path, got.stderr)
            return got.stdout
        time.sleep(0.05)


def test_driving_a_device_takes_8_lines_and_works(tmp_path):
    path = os.path.join(TOP, "examples", "drive.py")
    assert lines(path) <= 8
    with subprocess.Popen([VHCTL, "serve", "blk", "--socket", tmp_path / "s", "--ram", "1M"], stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL) as p:
        try:
            p.stderr.readline()
            got = subprocess.run([sys.executable, "-X", "dev", "-W", "error", path, f"unix:{tmp_path}/s"],
                                 env={**os.environ, "PYTHONPATH": PACKAGE}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, timeout=30, check=False)
        finally:
            p.terminate()
            p.stderr.read()
    assert got.returncode == 0 and got.stdout == "1048576 bytes; the first are b'hello'\n", got.stderr


def test_the_quick_start_runs(tmp_path):
    """The Python blocks of python/README.md, in order, one program."""
    with open(os.path.join(SOURCE, "README.md"), encoding="utf-8") as f:
        blocks = re.findall(r"```python\n(.*?)```", f.read(), flags=re.S)
    assert len(blocks) >= 2
    program = "\n".join(blocks).replace("/tmp/", f"{tmp_path}/")
    got = script("import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')", write(tmp_path / "start.py", program))
    assert got.returncode == 0, got.stderr


def write(path, text):
    path.write_text(text)
    return path


def test_the_bench_runs():
    got = subprocess.run([sys.executable, os.path.join(TOP, "tests", "bench", "py_queue.py"), "--rounds", "600", "--passes", "1"],
                         env={**os.environ, "PYTHONPATH": PACKAGE}, stdout=subprocess.PIPE, text=True, check=True)
    rows = [json.loads(line) for line in got.stdout.splitlines()]
    assert rows[0]["mode"] == MODE and [r["batch"] for r in rows[1:]] == [1, 16, 64, 256]
