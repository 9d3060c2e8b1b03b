# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `symbols`: what libvh.so.1 gives away and what it takes, for the build folder that is the only argument.

Exported: the version map == the functions that the headers declare == what the .so defines, in the map's node.
Taken: nothing that ends the process, prints, starts a thread or a process, or installs a handler; libc only; and only
the system-call table (src/base/sys.c) refers to libc's allocation and system calls.
"""
import glob
import os
import re
import subprocess
import sys

import parse

FORBIDDEN = set("""
abort exit _exit _Exit quick_exit __assert_fail __assert __assert_perror_fail __chk_fail kill pthread_kill tgkill
printf vprintf fprintf vfprintf dprintf vdprintf puts fputs putchar putc fputc putchar_unlocked fwrite fflush perror psignal
__printf_chk __vprintf_chk __fprintf_chk __vfprintf_chk __dprintf_chk __vdprintf_chk stdout stderr stdin
syslog vsyslog __syslog_chk warn warnx err errx verr error error_at_line
system popen fork vfork execve execv execvp execl execlp posix_spawn posix_spawnp pthread_create thrd_create
signal sysv_signal bsd_signal atexit on_exit setenv putenv unsetenv longjmp siglongjmp __longjmp_chk
setlocale rand srand strtok getenv
""".split())
# Beside what sys.c itself uses: other doors to memory and to the kernel.
DOORS = set("""
malloc realloc reallocarray posix_memalign aligned_alloc memalign valloc strdup strndup asprintf vasprintf __asprintf_chk
open open64 openat openat64 creat creat64 fopen fopen64 dup dup2 dup3 pipe pipe2 select pselect ppoll recv recvfrom send sendto
recvmmsg sendmmsg accept readv writev pread pread64 pwrite pwrite64 mmap64 mremap mprotect syscall socketpair eventfd_read
eventfd_write epoll_create usleep nanosleep sleep clock_nanosleep mkdir rmdir rename unlinkat getrandom
""".split())
HARMLESS = {"__errno_location", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}
NEEDED = {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}  # the loader gives __tls_get_addr


def nm(*argv):
    out = subprocess.run(["nm", *argv], stdout=subprocess.PIPE, check=True).stdout.decode()
    return [line.split()[-1] for line in out.splitlines() if line.strip() and not line.endswith(":")]


def compare(what, have, want):
    return ([f"{what}: {name} is missing" for name in sorted(want - have)] +
            [f"{what}: {name} is too much" for name in sorted(have - want)])


def check_exports(so):
    wrong = []
    nodes = parse.map_nodes()
    mapped = {name for names in nodes.values() for name in names}
    for node, names in nodes.items():
        wrong += [f"map: {n} is there twice in {node}" for n in set(names) if names.count(n) > 1]
        if names != sorted(names):
            wrong.append(f"map: {node} is not in alphabetical order")
    wrong += compare("map against headers", mapped, parse.public_functions())
    expected = {f"{name}@@{node}" for node, names in nodes.items() for name in names}
    found = {name for name in nm("-D", "--defined-only", "--with-symbol-versions", so) if "@@" in name}
    bare = {name for name in nm("-D", "--defined-only", "--with-symbol-versions", so) if "@" not in name}
    return wrong + compare("libvh.so against map", found | bare, expected | set(nodes) & bare), len(mapped)


def check_dynamic(so):
    wrong = []
    out = subprocess.run(["readelf", "-dW", so], stdout=subprocess.PIPE, check=True).stdout.decode()
    soname = re.findall(r"SONAME\).*\[(.*)\]", out)
    if soname != ["libvh.so.1"]:
        wrong.append(f"soname is {soname}, not libvh.so.1")
    wrong += [f"links {name}: libvh links libc only" for name in re.findall(r"NEEDED\).*\[(.*)\]", out) if name not in NEEDED]
    if re.search(r"TEXTREL|RUNPATH|RPATH", out):
        wrong.append("has TEXTREL, RPATH or RUNPATH")
    taken = {name.split("@")[0] for name in nm("-D", "--undefined-only", so)}
    wrong += [f"refers to {name}, which a library must not use" for name in sorted(taken & FORBIDDEN)]
    return wrong, len(taken)


def check_doors(build):
    """System calls and allocations only through the table: what sys.c refers to, nobody else does."""
    objects = glob.glob(os.path.join(build, "src", "CMakeFiles", "vh_*.dir", "**", "*.o"), recursive=True)
    table = [o for o in objects if os.sep + "vh_sys.dir" + os.sep in o]
    if len(table) != 1:
        return [f"{build}: there is not one sys.o"], 0
    doors = set(nm("--undefined-only", table[0])) - HARMLESS | DOORS
    wrong = []
    for obj in sorted(set(objects) - set(table)):
        for name in sorted(set(nm("--undefined-only", obj)) & doors):
            wrong.append(f"{os.path.relpath(obj, build)}: calls {name} past the system-call table")
    return wrong, len(doors)


def main():
    build = sys.argv[1]
    so = os.path.join(build, "libvh.so.1")
    exports, n_exports = check_exports(so)
    dynamic, n_taken = check_dynamic(so)
    doors, n_doors = check_doors(build)
    wrong = exports + dynamic + doors
    for line in wrong:
        print(line)
    print(f"{n_exports} exported, {n_taken} taken from libc, {n_doors} names that only the table may use, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
