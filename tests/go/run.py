# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The Go module's checks: run.py KIND BUILD, where KIND is one of go, new, get, pie, 386, guest.

go: Debian's Go: gofmt, vet, tests, with the race detector, with all pointer checks, and the examples. new: tests with the newest Go
of the machine. get: someone else's program gets the module from a proxy, and in-tree after env.sh. pie: position-independent test programs.
386: everything 32 bits wide. guest: builds the programs that the kind kern runs in a guest. What Go compiled is kept for all clones.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(TOP, "bindings"), os.path.join(TOP, "tests", "lab")]
import gonames
import kernel

MODULE = os.path.join(TOP, "go")
PATH = "github.com/libvh/libvh/go"
DEBIAN = "/usr/bin/go"
TESTED = ("./internal/raw", "./vh", "./vdpa")
PLAIN = ("./vdpa", "./launch/...")  # which need no C
FULL = os.environ.get("VH_FULL") == "1"
# Package raw is compiled once more for its own few tests, which takes longer than all others run.
AGAIN = TESTED if FULL else ("./vh", "./vdpa")
NULL_LINES = 40
# What package vh does without, and why; it calls every other function of the headers, and sets every callback.
UNREACHED = {
    "MasterResume": "a wait goes on after a signal",
    "ErrorGet": "part of every call that fails",
    "SlaveWait": "Slave.Wait parks the goroutine instead of a thread",
    "VduseWait": "the same",
    "DeviceOps.PollFD": "a goroutine that waits for something pushes by itself",
    "DeviceOps.OnPoll": "the same",
}


class Go:
    """One Go, with the library of one build folder."""

    def __init__(self, build, go=DEBIAN, **env):
        self.go, self.build = go, build
        # Nothing but Go, a C compiler and pkg-config: no swig, no generator.
        tools = os.path.join(build, "gates", "go-tools")
        os.makedirs(tools, exist_ok=True)
        for tool in ("pkg-config", *(prefix + t for prefix in ("", "i686-linux-gnu-") for t in ("gcc", "as", "ld", "ar"))):
            path, link = shutil.which(tool), os.path.join(tools, tool)
            if path and not os.path.islink(link):
                os.symlink(path, link)
        self.env = {
            "PATH": tools, "HOME": os.path.join(build, "gates"), "LC_ALL": "C.UTF-8", "GOTOOLCHAIN": "local", "GOPROXY": "off",
            "GOFLAGS": "-buildvcs=false", "GOCACHE": kernel.go_cache(), "GOPATH": os.path.join(build, "gopath"),
            "CGO_ENABLED": "1", "PKG_CONFIG_PATH": os.path.join(build, "pkgconfig"), "LD_LIBRARY_PATH": build,
            "VH_VHCTL": os.path.join(build, "vhctl"), **env}

    def run(self, *args, cwd=MODULE, ok=True, **env):
        print("$", self.go, *args, flush=True)
        got = subprocess.run([self.go, *args], cwd=cwd, env={**self.env, **env}, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        text = got.stdout.decode(errors="replace")
        print(text, end="", flush=True)
        if ok and got.returncode:
            raise SystemExit(f"{' '.join(args)}: exit code {got.returncode}")
        return text

    def version(self):
        return self.run("env", "GOVERSION").strip()

    def test(self, *flags, packages=TESTED, **env):
        """Number of tests that passed; one that skips itself fails."""
        out = self.run("test", "-v", "-count=1", "-timeout=120s", *flags, *packages, **env)
        skipped = re.findall(r"^\s*--- SKIP: (\S+)", out, flags=re.M)
        passed = len(re.findall(r"^\s*--- PASS: ", out, flags=re.M))
        if skipped or not passed:
            raise SystemExit(f"skipped: {' '.join(skipped)}" if skipped else "no test ran")
        return passed


def formatted():
    got = subprocess.run(["gofmt", "-l", MODULE], stdout=subprocess.PIPE, check=True)
    if got.stdout:
        raise SystemExit("gofmt would change " + got.stdout.decode().replace("\n", " "))


def reached():
    """How much of package raw package vh gives to its users. Something that is new in a header has to get there."""
    with open(os.path.join(TOP, "abi", "libvh.api.json"), encoding="utf-8") as f:
        api = json.load(f)
    sources = [os.path.join(MODULE, "vh", name) for name in os.listdir(os.path.join(MODULE, "vh")) if not name.endswith("_test.go")]
    text = "".join(open(path, encoding="utf-8").read() for path in sources)
    calls = {gonames.camel(f["name"]): rf"\braw\.{gonames.camel(f['name'])}\b" for f in api["functions"]}
    for struct in api["structs"]:
        for member in (gonames.camel(f["name"]) for f in struct["fields"] if "callback" in f and f["name"] != "destroy"):
            calls[f"{gonames.camel(struct['name'])}.{member}"] = rf"\b{member}(:| =) func\("
    missing = {name for name, pattern in calls.items() if not re.search(pattern, text)}
    if missing != set(UNREACHED):
        raise SystemExit(f"package vh: {', '.join(sorted(missing - set(UNREACHED))) or 'nothing'} can't be reached; "
                         f"{', '.join(sorted(set(UNREACHED) - missing)) or 'nothing'} can, after all")
    return len(calls) - len(missing)


def examples(go):
    """The device and the driver, as two processes."""
    with open(os.path.join(MODULE, "examples", "null", "main.go"), encoding="utf-8") as f:
        lines = len(f.readlines())
    if lines > NULL_LINES:
        raise SystemExit(f"examples/null has {lines} lines, more than {NULL_LINES}")
    with tempfile.TemporaryDirectory() as folder:
        go.run("build", "-o", folder + "/", "./examples/...")
        for device, words, answer in (("null", ("drive",), "a disk of 1073741824 bytes"), ("rng", ("ask",), '64 bytes: "'),
                                      ("echo", ("ask", "hello"), '5 bytes: "hello"')):
            out = pair(go, folder, device, words)
            if not out.startswith(answer):
                raise SystemExit(f"examples/{words[0]} says of examples/{device}: {out}")
    return lines


def pair(go, folder, device, words):
    """What an example of a driver says of an example of a device."""
    socket = os.path.join(folder, device + ".socket")
    served = subprocess.Popen([os.path.join(folder, device), socket], env=go.env)
    try:
        return first_answer([os.path.join(folder, words[0]), "unix:" + socket, *words[1:]], go.env)
    finally:
        served.kill()
        served.wait()


def first_answer(argv, env):
    """What a program says once its peer listens."""
    script = 'for i in $(seq 200); do out=$("$@" 2>&1) && break; sleep 0.05; done; echo "$out"'
    got = subprocess.run(["/bin/sh", "-c", script, "sh", *argv], env={**env, "PATH": "/usr/bin:/bin"},
                         stdout=subprocess.PIPE, check=True, timeout=60)
    return got.stdout.decode()


def debian(build):
    go = Go(build)
    formatted()
    calls = reached()
    go.run("vet", "./...")
    passed = go.test()
    go.test("-race", packages=(*TESTED, *PLAIN[1:]))
    go.test(GODEBUG="cgocheck=2")
    go.test(packages=PLAIN, CGO_ENABLED="0")
    return f"{go.version()}: {calls} calls and callbacks, vet, {passed} tests, also with -race and cgocheck; a null device in {examples(go)} lines"


def version_key(version):
    return [int(n) for n in re.findall(r"\d+", version)]


def newest():
    """(version, program) of the newest Go of the machine that is not Debian's own."""
    found = []
    for go in {shutil.which("go"), "/usr/local/go/bin/go", *(os.path.join("/usr/lib", d, "bin", "go")
               for d in os.listdir("/usr/lib") if d.startswith("go-"))}:
        if go and os.path.exists(go):
            env = {**os.environ, "GOTOOLCHAIN": "local"}
            got = subprocess.run([go, "env", "GOVERSION"], env=env, stdout=subprocess.PIPE, check=True)
            found.append((version_key(got.stdout.decode()), go))
    return max(found)


def new(build):
    version, path = newest()
    old = version_key(Go(build).version())
    if version <= old:
        return f"this machine has no newer Go than Debian's {'.'.join(map(str, old))}; nothing more to run"
    go = Go(build, path)
    go.run("vet", "./...")
    passed = go.test(packages=AGAIN)
    if not FULL:  # each would compile Go's own library once more
        return f"{go.version()}: vet, {passed} tests"
    go.test("-race")
    go.test(GOEXPERIMENT="cgocheck2")
    return f"{go.version()}: vet, {passed} tests, also with -race and cgocheck2"


def proxy(folder, version):
    """The module as a module proxy has it."""
    base = os.path.join(folder, *PATH.split("/"), "@v")
    os.makedirs(base)
    with open(os.path.join(base, "list"), "w", encoding="ascii") as f:
        f.write(version + "\n")
    with open(os.path.join(base, version + ".info"), "w", encoding="ascii") as f:
        json.dump({"Version": version, "Time": "2026-01-01T00:00:00Z"}, f)
    shutil.copy(os.path.join(MODULE, "go.mod"), os.path.join(base, version + ".mod"))
    files = subprocess.run(["git", "-C", MODULE, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."],
                           stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    with zipfile.ZipFile(os.path.join(base, version + ".zip"), "w") as z:
        for name in filter(None, files):
            z.write(os.path.join(MODULE, name), f"{PATH}@{version}/{name}")


USER = """\
package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/libvh/libvh/go/vh"
)

func main() {
	_, err := vh.NewMemory(&vh.MemOpts{MaxRegions: 1 << 30})
	var e *vh.Error
	fmt.Println(errors.Is(err, syscall.EINVAL), errors.As(err, &e), vh.Version())
}
"""


def get(build):
    """go get, then a program that runs; and without pkg-config's libvh the build says what is missing."""
    with tempfile.TemporaryDirectory() as folder:
        proxy(os.path.join(folder, "proxy"), "v0.1.0")
        go = Go(build, GOPROXY="file://" + os.path.join(folder, "proxy"), GONOSUMDB="*", GOFLAGS="-mod=mod",
                GOPATH=os.path.join(folder, "gopath"))
        user = os.path.join(folder, "user")
        os.mkdir(user)
        with open(os.path.join(user, "main.go"), "w", encoding="utf-8") as f:
            f.write(USER)
        try:
            go.run("mod", "init", "example.org/user", cwd=user)
            go.run("get", PATH + "/vh@latest", cwd=user)
            out = go.run("run", ".", cwd=user)
            bare = go.run("build", "./...", cwd=user, ok=False, PKG_CONFIG_PATH="/nowhere", GOCACHE=os.path.join(folder, "c"))
        finally:
            go.run("clean", "-modcache", cwd=user)
    for said, expected in ((out, "true true "), (in_tree(build, USER), "true true "),
                           (in_tree(build, quick_start()), "hello, says a disk of 67108864 bytes")):
        if not said.startswith(expected):
            raise SystemExit(f"instead of '{expected}' a program says: {said}")
    if "libvh" not in bare:
        raise SystemExit("without the library the build does not name it")
    return f"{PATH}@v0.1.0 from a proxy, without swig; without libvh: {bare.split('Perhaps')[0].splitlines()[-1]}"


IN_TREE = """\
set -e
. "$1"/env.sh
go mod init example.org/user
go mod edit -replace=github.com/libvh/libvh/go="$VH_GO"
go get github.com/libvh/libvh/go/vh
go run .
"""


def in_tree(build, program):
    """What a program says against a build that is not installed, after env.sh."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "main.go"), "w", encoding="utf-8") as f:
            f.write(program.replace("/tmp/vh-go.sock", os.path.join(folder, "s")))
        env = Go(build, PATH="/usr/bin:/bin").env
        for name in ("PKG_CONFIG_PATH", "LD_LIBRARY_PATH"):
            del env[name]
        got = subprocess.run(["/bin/sh", "-c", IN_TREE, "sh", build], cwd=folder, env=env, stdout=subprocess.PIPE, check=True)
    return got.stdout.decode()


def quick_start():
    """The program in the module's README."""
    with open(os.path.join(MODULE, "README.md"), encoding="utf-8") as f:
        program = re.findall(r"```go\n(.*?)```", f.read(), flags=re.S)[0]
    return program


def pie(build):
    return f"{Go(build).test('-buildmode=pie', packages=AGAIN)} tests"


def narrow(build):
    """The library, vhctl and the tests for i386; Debian's cross libraries run them."""
    compiler = "i686-linux-gnu-gcc"
    folder = os.path.join(build, "go-386")
    log = subprocess.run(["cmake", "-G", "Ninja", "-S", TOP, "-B", folder, "-DVH_TESTS=OFF", "-DVH_EXAMPLES=OFF",
                          f"-DCMAKE_C_COMPILER={compiler}", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=i686",
                          f"-DCMAKE_EXE_LINKER_FLAGS={SYSROOT}", "-DVH_WERROR=ON"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if log.returncode == 0:
        log = subprocess.run(["cmake", "--build", folder, "--target", "vh", "vhctl"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    print(log.stdout.decode(errors="replace"))
    if log.returncode:
        raise SystemExit("the library does not build for i386")
    go = Go(folder, GOARCH="386", CC=compiler, CGO_LDFLAGS=SYSROOT, LD_LIBRARY_PATH=f"{folder}:/usr/i686-linux-gnu/lib")
    return f"{go.test()} tests, 32 bits wide"


def guest(build):
    """The folder of the programs; the one of package vdpa has no C in it."""
    folder = os.path.join(build, "gates", "go-guest")
    go = Go(build)
    go.run("build", "-o", os.path.join(folder, "guest_go_library"), "./internal/guest/library")
    go.run("build", "-o", os.path.join(folder, "guest_go_plain"), "./internal/guest/plain", CGO_ENABLED="0")
    return folder


# The C library of the cross compiler, where its loader is; no foreign architecture has to be set up for apt.
SYSROOT = "-Wl,-rpath,/usr/i686-linux-gnu/lib -Wl,--dynamic-linker,/usr/i686-linux-gnu/lib/ld-linux.so.2"

KINDS = {"go": debian, "new": new, "get": get, "pie": pie, "386": narrow, "guest": guest}


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: run.py {'|'.join(KINDS)} BUILD")
    print(KINDS[sys.argv[1]](os.path.abspath(sys.argv[2])))
