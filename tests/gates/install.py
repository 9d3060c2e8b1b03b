# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gates `install` and `readme`: a program outside the tree finds the library, compiles against it, and works.

install BUILD: cmake --install into a prefix, moved afterwards; the examples and the README's one, by pkg-config and by CMake.
readme BUILD:  the README's example against the build tree through env.sh, from sh and from bash.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lab"))
# pylint: disable=wrong-import-position
import kernel  # noqa: E402
import proc  # noqa: E402
from proc import launch  # noqa: E402

STRICT = "-std=c99 -Wall -Wextra -Wpedantic -Werror"


def readme_example(language):
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        blocks = re.findall(rf"^```{language}\n(.*?)^```", f.read(), flags=re.S | re.M)
    if len(blocks) != 1:
        raise proc.Failed(f"README.md has {len(blocks)} examples in {language} instead of one")
    return blocks[0]


def sh(command, env, cwd, shell="/bin/sh"):
    got = subprocess.run([shell, "-euc", command], env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=120, check=False)
    text = got.stdout.decode(errors="replace")
    if got.returncode:
        raise proc.Failed(f"{command}\n{text}")
    return text


def bare_env(**more):
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/"), **more}


def try_example(program, vhctl, env, work):
    """The README's example against a back-end; what it prints is known."""
    socket = os.path.join(work, "s")
    argv = [vhctl, "serve", "blk", "--socket", socket, "--ram", "1M"]
    with proc.Process("serve", argv, work) as server:
        server.wait_for_socket(socket)
        said = sh(f"{program} unix:{socket}", env, work)
    if said != "the disk starts with byte 0\n":
        raise proc.Failed(f"the README's example said: {said!r}")


def write_sources(work):
    os.mkdir(os.path.join(work, "src"))
    with open(os.path.join(work, "src", "peek.c"), "w", encoding="utf-8") as f:
        f.write(readme_example("c"))
    for path in glob.glob(os.path.join(TOP, "examples", "*.c")):
        shutil.copy(path, os.path.join(work, "src"))
    return sorted(os.path.basename(p)[:-2] for p in glob.glob(os.path.join(work, "src", "*.c")))


def try_descriptions(build, work):
    """What front-ends find: programs by the names that the descriptions have, in a prefix that is not moved."""
    prefix = os.path.join(work, "stays")
    sh(f"cmake --install {build} --prefix {prefix}", bare_env(), work)
    found = {d.type: d for d in launch.discover(dirs=[os.path.join(prefix, "share", "qemu", "vhost-user")])}
    if {type_: launch.capabilities(d).type for type_, d in found.items()} != {"block": "block", "net": "net"}:
        raise proc.Failed(f"described are {found}")
    for type_, option in (("block", "--ram=1M"), ("net", "--sink")):
        with launch.start(found[type_], option, how="fd"):
            pass


def gate_install(build, work):
    first, prefix = os.path.join(work, "first"), os.path.join(work, "prefix")
    sh(f"cmake --install {build} --prefix {first}", bare_env(), work)
    os.rename(first, prefix)  # pkg-config and CMake files must not remember where they were installed
    names = write_sources(work)
    env = bare_env(PKG_CONFIG_PATH=os.path.join(prefix, "lib", "pkgconfig"))
    for name in names:
        sh(f"gcc {STRICT} -o {name}-pc src/{name}.c $(pkg-config --cflags --libs libvh) -Wl,-rpath,{prefix}/lib", env, work)
    with open(os.path.join(work, "CMakeLists.txt"), "w", encoding="ascii") as f:
        f.write("cmake_minimum_required(VERSION 3.16)\nproject(t C)\nfind_package(libvh 0.1 REQUIRED)\n")
        for name in names:
            f.write(f"add_executable({name}-cmake src/{name}.c)\ntarget_link_libraries({name}-cmake libvh::vh)\n")
    sh(f"cmake -G Ninja -S . -B b -DCMAKE_PREFIX_PATH={prefix} && cmake --build b", bare_env(), work)
    vhctl = os.path.join(prefix, "bin", "vhctl")
    for program in ("./peek-pc", "b/peek-cmake"):
        try_example(program, vhctl, bare_env(), work)
    try_descriptions(build, work)
    count = sum(len(files) for _, _, files in os.walk(prefix))
    return f"{count} files installed, {len(names)} programs built by pkg-config and by CMake, run"


def gate_readme(build, work):
    write_sources(work)
    for shell in ("/bin/sh", "/bin/bash"):
        text = sh(f". {build}/env.sh; gcc {STRICT} -o peek src/peek.c $(pkg-config --cflags --libs libvh); command -v vhctl",
                  bare_env(), work, shell)
        if text.strip() != os.path.join(build, "vhctl"):
            raise proc.Failed(f"after env.sh in {shell}, vhctl is {text!r}")
        try_example(f". {build}/env.sh; ./peek", os.path.join(build, "vhctl"), bare_env(), work)
    try_python(build, work)
    try_go(build, work)
    return "the examples in C (as C99, from sh and bash), Python and Go work as they stand there"


def try_python(build, work):
    with open(os.path.join(work, "zeroes.py"), "w", encoding="utf-8") as f:
        f.write(readme_example("python"))
    said = sh(f". {build}/env.sh; /usr/bin/python3 -X dev -W error zeroes.py", bare_env(), work)
    if said != "the disk starts with byte 0\n":
        raise proc.Failed(f"the README's example in Python said: {said!r}")


def try_go(build, work):
    """In a module of its own, by the commands that stand there; Debian's Go, whatever else there is."""
    os.mkdir(os.path.join(work, "peek-go"))
    with open(os.path.join(work, "peek-go", "main.go"), "w", encoding="utf-8") as f:
        f.write(readme_example("go"))
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        edit = re.search(r"`(go mod edit [^`]*)`", f.read()).group(1)
    env = bare_env(GOFLAGS="-mod=mod", GOPROXY="off", GOTOOLCHAIN="local", GOCACHE=kernel.go_cache())
    sh(f". {build}/env.sh; cd peek-go; go mod init peek; {edit}; go build -o ../peek-in-go", env, work)
    try_example(f". {build}/env.sh; ./peek-in-go", os.path.join(build, "vhctl"), bare_env(), work)


def main():
    gate, build = sys.argv[1], os.path.abspath(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="vh-") as work:
        try:
            print({"install": gate_install, "readme": gate_readme}[gate](build, work))
        except (proc.Failed, OSError, subprocess.SubprocessError) as e:
            print(e)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
