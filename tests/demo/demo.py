# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""./run demo: pairs of peers move data over vhost-user, and what arrived is compared with what was sent.

Writes a table to the terminal and build/demo.json; exit code 0 only when every row is ok.
"""
import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lab"))
# pylint: disable=wrong-import-position
import claims  # noqa: E402
import ext4  # noqa: E402
import iommu_rows  # noqa: E402
import kern_rows  # noqa: E402
import kernel  # noqa: E402
import migrate_rows  # noqa: E402
import net_rows  # noqa: E402
import proc  # noqa: E402
import qemu  # noqa: E402
import reconnect_rows  # noqa: E402
import trace_rows  # noqa: E402
from pattern import pattern  # noqa: E402

MIB = 1 << 20
HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
GO = "/usr/bin/go"  # Debian's, whatever else is first in PATH
QSD = "/usr/bin/qemu-storage-daemon"


def check(condition, what):
    if not condition:
        raise proc.Failed(what)


def file_bytes(path):
    with open(path, "rb") as f:
        return f.read()


class Place:
    """Where one row works: a short path for sockets and images, a folder for its logs, the build that is used."""

    def __init__(self, build, tmp, logs):
        self.build = build
        self.vhctl = os.path.join(build, "vhctl")
        self.client = [self.vhctl, "io", "blk"]
        self.image = os.path.join(tmp, "disk.img")
        self.socket = os.path.join(tmp, "blk.sock")
        self.logs = logs
        self.trace = os.path.join(logs, "trace.json")
        self.peer = None  # the words that run the peer, where it is not the one that is installed
        self.step = 0

    def shell(self, *argv):
        """A command as a user gives it who has sourced env.sh."""
        return ["/bin/sh", "-c", '. "$0"; exec "$@"', os.path.join(self.build, "env.sh"), *argv]

    def serve(self, *options):
        return proc.Process("vhctl-serve", [self.vhctl, "serve", "blk", "--socket", self.socket, "--file", self.image, *options],
                            self.logs)

    def io(self, *words):
        """One `vhctl io blk`, or what has the same words; its JSON."""
        self.step += 1
        name = f"io-{self.step}-{words[0]}"
        argv = [*self.client, f"unix:{self.socket}", *words, "--json"]
        out = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
        with open(os.path.join(self.logs, name + ".log"), "wb") as log:
            log.write(out.stdout + out.stderr)
        check(out.returncode == 0, f"{' '.join(argv)}: exit code {out.returncode}: {out.stderr.decode(errors='replace').strip()}")
        return json.loads(out.stdout)


def new_image(place, size, rng):
    """An image of random bytes; what it holds."""
    model = bytearray(rng.randbytes(size))
    with open(place.image, "wb") as f:
        f.write(model)
    return model


def exercise(place, model, rng):
    """Drive the back-end at place.socket, whose image holds the model, and compare the two after every step."""
    size = len(model)
    got = place.io("read")
    check(got["sha256"] == hashlib.sha256(model).hexdigest(), "the first read is not what the image holds")

    seed = rng.getrandbits(32)
    place.io("verify", "--seed", str(seed))
    model[:] = pattern(seed, 0, size)
    check(file_bytes(place.image) == model, "after verify the image does not hold the pattern")

    writes = 8
    for _ in range(writes):
        at = rng.randrange(0, size - 512) // 512 * 512
        length = min(size - at, rng.randrange(512, MIB) // 512 * 512)
        seed = rng.getrandbits(32)
        place.io("write", "--offset", str(at), "--size", str(length), "--seed", str(seed))
        model[at:at + length] = pattern(seed, at, length)
        check(file_bytes(place.image) == model, f"a flushed write of {length} bytes at {at} is not in the image")
        place.io("read", "--offset", str(at), "--size", str(length), "--seed", str(seed))
    got = place.io("read")
    check(got["sha256"] == hashlib.sha256(model).hexdigest(), "the last read is not what the image holds")
    return f"{size // MIB} MiB verified, then {writes} random writes, each flushed, read back, and compared with the image"


def serve_and_exercise(place, rng, size=16 * MIB):
    model = new_image(place, size, rng)
    with place.serve("--queues", "2") as server:
        server.wait_for_socket(place.socket)
        detail = exercise(place, model, rng)
        check(server.alive(), f"the back-end ended\n{server.tail()}")
        rc = server.end()
        check(rc == 0, f"the back-end's exit code after SIGTERM is {rc}\n{server.tail()}")
    check(not os.path.exists(place.socket), "the back-end left its socket behind")
    return detail


def drive(language):
    """The C back-end, driven by a program in another language."""
    def work(place, rng):
        place.client = place.shell(*language(place, "drive"))
        return serve_and_exercise(place, rng, 4 * MIB)
    return work


def device(language):
    """A device in another language: the C front-end exercises it, then a guest mounts the file system on it."""
    def work(place, rng):
        model = new_image(place, MIB, rng)
        argv = place.shell(*language(place, "device"), place.socket, place.image)
        with proc.Process("device", argv, place.logs) as server:
            server.wait_for_socket(place.socket)
            exercise(place, model, rng)
            check(server.end() == 0, f"the device's exit code after SIGTERM is not 0\n{server.tail()}")
        size, seed = 4 * MIB, rng.getrandbits(32)
        ext4.make(place.image, 24 * MIB, {"host": pattern(seed, 0, size)})
        guest = qemu.BlockGuest(place.logs)
        open(place.trace, "w", encoding="utf-8").close()  # from here on it is QEMU that speaks
        with proc.Process("device-of-guest", argv, place.logs) as server:
            server.wait_for_socket(place.socket)
            guest.boot(place.socket, "mount", seed, queues=2)
            check(server.alive(), f"the device ended\n{server.tail()}")
        ext4.check(place.image)
        check(ext4.read(place.image, "guest") == pattern(seed + 1, 0, size), "the guest's file is not what it wrote")
        return (f"1 MiB exercised by vhctl; Linux {guest.version} mounted an ext4, compared a file of {size // MIB} MiB "
                "and wrote another, which the host found in the image")
    return work


def python(_, what):
    return [PYTHON, os.path.join(HERE, f"blk_{what}.py")]


def row_guest(place, rng, emulator=(qemu.QEMU,), options="", offers=()):
    size, seed = 16 * MIB, rng.getrandbits(32)
    guest = qemu.BlockGuest(place.logs, emulator)
    with open(place.image, "wb") as f:
        f.truncate(size)
    with place.serve("--queues", "2", *offers) as server:
        server.wait_for_socket(place.socket)
        guest.boot(place.socket, "write", seed, queues=2, packed=True, options=options)
        check(file_bytes(place.image) == pattern(seed, 0, size), "the image does not hold what the guest wrote")
        guest.boot(place.socket, "read", seed, queues=2, options=options)
        check(server.alive(), f"the back-end ended\n{server.tail()}")
        check(file_bytes(place.image) == pattern(seed, 0, size), "the image changed while the guest read it")
    return (f"Linux {guest.version}: {size // MIB} MiB written to /dev/vda over packed rings, image compared, "
            "read back over split ones after a restart of the guest")


def row_qemu11(place, rng):
    """The QEMU of Debian's unstable suite, unpacked in the cache. Bit 20 has to be asked for, 21 and 22 it takes by itself."""
    place.peer = qemu.of_suite("sid", "11")
    return row_guest(place, rng, place.peer, ",inflight-migration=on", ("--guest-addresses", "on"))


def row_qemu_listens(place, rng):
    """QEMU is the server; the back-end is there before it, and connects to one QEMU after the other."""
    size, seed = 4 * MIB, rng.getrandbits(32)
    guest = qemu.BlockGuest(place.logs)
    with open(place.image, "wb") as f:
        f.truncate(size)
    argv = [place.vhctl, "serve", "blk", "--connect", f"unix:{place.socket}", "--file", place.image, "--verbose"]
    with proc.Process("vhctl-serve", argv, place.logs) as server:
        server.wait_for(lambda: "reconnecting" in server.output(), "first try")
        for step in ("write", "read"):
            guest.boot(f"{place.socket},server=on", step, seed)
            check(server.alive(), f"the back-end ended\n{server.tail()}")
            check(file_bytes(place.image) == pattern(seed, 0, size), f"the image does not hold the pattern after the step {step}")
        check(server.end() == 0, f"the back-end's exit code after SIGTERM is not 0\n{server.tail()}")
        connected = server.output().count("connected: reason") - server.output().count("disconnected: reason")
        check(connected == 2, f"the back-end says that it connected {connected} times, not twice")
    return (f"Linux {guest.version}: {size // MIB} MiB written over a socket at which QEMU listens, image compared, read back by a "
            "second QEMU, which the same back-end had connected to")


# What the firmware boots: it takes qemu.FIRMWARE_SHM out of the address space and puts it back, by the command register
# of that PCI device, and says by QEMU's exit code that it was there.
BOOT_CODE = bytes.fromhex(
    "66 b8 04 28 00 80"  # mov eax, 0x80002804: device 5, register 4
    "ba f8 0c 66 ef"  # mov dx, 0xcf8; out dx, eax
    "b2 fc ed 50"  # mov dl, 0xfc; in ax, dx; push ax
    "24 fd ef"  # and al, ~2; out dx, ax
    "58 ef"  # pop ax; out dx, ax
    f"b0 {qemu.GUEST_OK // 2:02x} e6 f4 eb fe")  # mov al, ...; out 0xf4, al; jmp to itself
BOOT_SECTOR = BOOT_CODE.ljust(510, b"\0") + b"\x55\xaa"


def row_scsi(place, _):
    with open(place.image, "wb") as f:
        f.write(BOOT_SECTOR.ljust(MIB, b"\0"))
    argv = place.shell(PYTHON, os.path.join(HERE, "scsi_device.py"), place.socket, place.image)
    with proc.Process("scsi-device", argv, place.logs) as server:
        server.wait_for_socket(place.socket)
        proc.run("firmware", qemu.disk_firmware(place.socket), place.logs, ok=(qemu.GUEST_OK,))
        check(server.end() == 0, f"the device's exit code after SIGTERM is not 0\n{server.tail()}")
    resets = int(server.output().split()[-1])
    check(resets > 0, "QEMU never reset the device")
    return f"the firmware booted from a SCSI disk in Python, which QEMU had reset {resets} times, and unplugged memory meanwhile"


def row_shmem(place, _):
    """The QEMU of Debian's unstable suite; a guest's view of the device's shared memory is looked at by its monitor."""
    place.peer = qemu.of_suite("sid", "11")
    qmp = place.socket + ".qmp"
    with open(place.image, "wb") as f:
        f.write((b"\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa").ljust(MIB, b"\0"))  # hlt, for ever
    argv = place.shell(PYTHON, os.path.join(HERE, "shmem_device.py"), place.socket, place.image)
    with proc.Process("shmem-device", argv, place.logs) as server:
        server.wait_for_socket(place.socket)
        with proc.Process("firmware", qemu.shmem_firmware(place.socket, qmp, place.peer), place.logs) as guest:
            guest.wait_for(lambda: "written\n" in server.output(), "two mappings", 60)
            at = qemu.bar(qmp, 4, 4) + 2 * 4096
            seen = qemu.peek(qmp, at, 16)
            check(seen == b"the page" + b"f libvh" + b"\0", f"the guest finds {seen} in the page that the device mapped")
            server.popen.send_signal(signal.SIGUSR1)
            guest.wait_for(lambda: "over\n" in server.output(), "two unmappings")
            check(qemu.peek(qmp, at, 16) != seen, "the page is still there after it was unmapped")
        said = [line.rpartition(" ") for line in server.output().splitlines() if "mapped" in line]
        check(server.end() == 0, f"the device's exit code after SIGTERM is not 0\n{server.tail()}")
    check(all((status == "0") == (what in ("mapped", "unmapped")) for what, _, status in said), f"QEMU said: {said}")
    return "QEMU 11 showed its guest a page that a device in Python had mapped, and took it away; it refused to map over it, and to unmap it twice"


def row_net(place, _):
    mac, mtu, qmp = "52:54:00:12:34:56", 1400, place.socket + ".qmp"
    plain = mac.replace(":", "")
    argv = place.shell(PYTHON, os.path.join(HERE, "net_device.py"), place.socket)
    with proc.Process("net-device", argv, place.logs) as server:
        server.wait_for_socket(place.socket)
        with proc.Process("firmware", qemu.net_firmware(place.socket, qmp, mac, mtu), place.logs) as guest:
            for line in (f"mtu {mtu}", f"frame {plain} 0800"):
                guest.wait_for(lambda: line in server.output(), f"'{line}'", 60)  # pylint: disable=cell-var-from-loop
            qemu.qmp_command(qmp, "announce-self", initial=10, max=50, rounds=3, step=10)
            guest.wait_for(lambda: f"guest {plain}" in server.output(), "announcement")
        check(server.end() == 0, f"the device's exit code after SIGTERM is not 0\n{server.tail()}")
    return f"the firmware's IP frames came from {mac}; the MTU that QEMU told is {mtu}; it announced the guest"


def row_qsd(place, rng):
    model = new_image(place, 16 * MIB, rng)
    argv_qsd = [QSD, "--blockdev", f"file,node-name=disk,filename={place.image}", "--export",
            f"vhost-user-blk,id=e0,node-name=disk,addr.type=unix,addr.path={place.socket},num-queues=2,writable=on"]
    with proc.Process("qemu-storage-daemon", argv_qsd, place.logs) as server:
        server.wait_for_socket(place.socket)
        detail = exercise(place, model, rng)
        argv = place.shell(*python(place, "messages"), place.socket)
        got = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        check(got.returncode == 0, f"{' '.join(argv)}: {got.stdout.decode(errors='replace').strip()}")
        check(server.alive(), f"qemu-storage-daemon ended\n{server.tail()}")
    return f"{detail}; killed {killed(place, argv_qsd)} times while it was verified again"


def killed(place, argv, times=3):
    """The disk is written and verified while its back-end is killed, and started again, so often that it meets both."""
    with open(place.image, "r+b") as f:
        f.truncate(256 * MIB)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        io = None
        for turn in range(times + 1):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place.socket)
            with proc.Process(f"qemu-storage-daemon-{turn}", argv, place.logs) as server:
                server.wait_for_socket(place.socket)
                io = io or pool.submit(place.io, "verify", "--reconnect")
                if turn < times:
                    concurrent.futures.wait([io], 0.05)
                    check(turn or not io.done(), "the disk was verified before the back-end could be killed")
                    server.popen.kill()
                    server.popen.wait()
                else:
                    io.result()
    return times


def go(place, what):
    """Built as a user builds who has sourced env.sh."""
    program = os.path.join(place.logs, f"go-{what}")
    if not os.path.exists(program):
        argv = place.shell("/usr/bin/env", f"GOCACHE={kernel.go_cache()}", GO, "build", "-o", program, f"./internal/demo/{what}")
        got = subprocess.run(argv, cwd=os.path.join(TOP, "go"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        check(got.returncode == 0, f"{' '.join(argv)}: {got.stdout.decode(errors='replace').strip()}")
    return [program]


QEMU_FILES = ((qemu.QEMU, "qemu-system-x86"), ("/usr/bin/zstd", "zstd"), ("/usr/sbin/mke2fs", "e2fsprogs"))
DPDK_FILES = ((net_rows.TESTPMD, "dpdk-dev"),)
GO_FILES = ((GO, "golang-go"),)
# key, name, front-end, back-end, package of the peer, files that must be there with the packages that bring them
ROWS = (
    ("libvh", "libvh and itself", "libvh (vhctl io)", "libvh (vhctl serve)", "", (), serve_and_exercise),
    ("qemu-iommu", "Linux guest with an IOMMU", "QEMU, Linux guest", "libvh (vhctl serve)", "qemu-system-x86", QEMU_FILES, iommu_rows.row_guest),
    ("qemu", "Linux guest in QEMU", "QEMU, Linux guest", "libvh (vhctl serve)", "qemu-system-x86",
     QEMU_FILES, row_guest),
    ("qemu-listens", "QEMU listens", "QEMU as server, Linux guest", "libvh (vhctl serve --connect)", "qemu-system-x86",
     QEMU_FILES[:2], row_qemu_listens),
    ("qemu-11", "Linux guest in QEMU 11", "QEMU 11, Linux guest", "libvh (vhctl serve)", "qemu-system-x86", QEMU_FILES[1:2], row_qemu11),
    ("qemu-migrates", "Linux guest moves", "QEMU, twice", "libvh (vhctl serve), twice", "qemu-system-x86", QEMU_FILES[:2],
     migrate_rows.row_guest),
    ("qemu-postcopy", "Linux guest moves, memory last", "QEMU, twice", "libvh (vhctl serve), twice", "qemu-system-x86", QEMU_FILES[:2],
     migrate_rows.row_postcopy),
    ("qemu-upgrade", "Back-end replaced", "QEMU, Linux guest", "libvh (vhctl serve), thrice", "qemu-system-x86", QEMU_FILES[:2],
     migrate_rows.row_upgrade),
    ("qemu-outlives", "Linux guest outlives", "QEMU, Linux guest", "libvh (vhctl serve), killed", "qemu-system-x86", QEMU_FILES,
     reconnect_rows.row_guest),
    ("vduse", "A disk of the kernel's", "Linux virtio_blk, in a guest", "libvh (vhctl serve --vduse)", "qemu-system-x86", QEMU_FILES[:1],
     kern_rows.row_vduse),
    ("vdpa", "Devices of the kernel's", "libvh (vhctl io, Python)", "Linux vdpa_sim, in a guest", "qemu-system-x86", QEMU_FILES[:1],
     kern_rows.row_vdpa),
    ("qsd", "qemu-storage-daemon", "libvh (vhctl io)", "qemu-storage-daemon", "qemu-system-common",
     ((QSD, "qemu-system-common"),), row_qsd),
    ("python-drives", "Python drives", "libvh (Python)", "libvh (vhctl serve)", "python3-cffi", (), drive(python)),
    ("python-device", "Python device", "vhctl io, Linux guest", "libvh (Python class)", "python3-cffi",
     QEMU_FILES, device(python)),
    ("python-scsi", "Python SCSI disk", "QEMU, firmware", "libvh (Python class)", "python3-cffi", QEMU_FILES[:1], row_scsi),
    ("qemu-shmem", "Shared memory of a Python device", "QEMU 11, firmware", "libvh (Python class)", "qemu-system-x86", (), row_shmem),
    ("python-net", "Python network device", "QEMU, firmware", "libvh (Python class)", "ipxe-qemu",
     (*QEMU_FILES[:1], ("/usr/lib/ipxe/qemu/pxe-virtio.rom", "ipxe-qemu")), row_net),
    ("qemu-net", "Linux guest on the net", "QEMU, Linux guest", "libvh (vhctl serve net)", "qemu-system-x86", QEMU_FILES[:2],
     net_rows.row_guest),
    ("dpdk-drives", "DPDK drives", "DPDK virtio_user", "libvh (vhctl serve net)", "dpdk-dev", DPDK_FILES, net_rows.row_testpmd_drives),
    ("dpdk-device", "DPDK device", "libvh (Python)", "DPDK net_vhost", "dpdk-dev", DPDK_FILES, net_rows.row_testpmd_device),
    ("virtiofsd", "virtiofsd", "libvh (Python)", "virtiofsd", "qemu-system-common",
     ((net_rows.VIRTIOFSD, "qemu-system-common"),), net_rows.row_virtiofsd),
    ("trace-qemu", "A tracer between, QEMU", "QEMU, Linux guest", "libvh (vhctl serve), qemu-storage-daemon", "qemu-system-x86",
     (*QEMU_FILES[:2], (QSD, "qemu-system-common")), trace_rows.row_guest),
    ("trace-peers", "A tracer between, others", "libvh, DPDK virtio_user", "qemu-storage-daemon, virtiofsd, DPDK, libvh", "dpdk-dev",
     ((QSD, "qemu-system-common"), (net_rows.VIRTIOFSD, "qemu-system-common"), *DPDK_FILES), trace_rows.row_peers),
    ("go-drives", "Go drives", "libvh (Go)", "libvh (vhctl serve)", "golang-go", GO_FILES, drive(go)),
    ("go-device", "Go device", "vhctl io, Linux guest", "libvh (Go type)", "golang-go",
     (*GO_FILES, *QEMU_FILES), device(go)),
)


def run_row(spec, options):
    key, name, front, back, package, files, work = spec
    row = {"name": name, "front_end": front, "back_end": back, "status": "failed", "verified": False,
           "package": package, "detail": ""}
    logs = os.path.join(options.logs, key)
    shutil.rmtree(logs, ignore_errors=True)
    os.makedirs(logs)
    started = time.monotonic()
    tmp = tempfile.mkdtemp(prefix="vh-demo-")
    try:
        for path, owner in files:
            if not os.path.exists(path):
                raise kernel.Missing(owner, f"apt did not bring {path}")
        place = Place(options.build, tmp, logs)
        os.environ["VH_TRACE"] = place.trace
        row["detail"] = work(place, random.Random(options.seed))
        lacks = claims.missing(key, place.trace, place.peer)
        check(not lacks, f"docs/protocol.tsv says that this peer exchanges {', '.join(lacks)}; it did not")
        row.update(status="ok", verified=True)
    except kernel.Missing as e:
        row.update(status="missing", package=e.package, detail=str(e))
    except (proc.Failed, OSError, subprocess.SubprocessError, KeyError, ValueError) as e:
        row["detail"] = str(e) or type(e).__name__
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    row["seconds"] = round(time.monotonic() - started, 1)
    return row


def show(rows, logs):
    head = ("row", "front-end", "back-end", "status", "verified", "time")
    lines = [(r["name"], r["front_end"], r["back_end"], r["status"], "yes" if r["verified"] else "no", f"{r['seconds']} s")
             for r in rows]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    print()
    for line in [head, *lines]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print()
    for r in rows:
        first, *rest = r["detail"].splitlines() or [""]
        print(textwrap.fill(f"{r['name']}: {first}", 110, subsequent_indent="  "))
        for line in rest:
            print("    " + line)
        if r["status"] == "failed":
            print(f"    its logs: {logs}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", choices=[spec[0] for spec in ROWS], action="append", help="only this row")
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="the build folder that is used")
    parser.add_argument("--json", default=os.path.join(TOP, "build", "demo.json"))
    parser.add_argument("--logs", default=os.path.join(TOP, "build", "demo"))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends too

    rows = []
    print(f"seed {options.seed}")
    for spec in ROWS:
        if not options.row or spec[0] in options.row:
            print(f"{spec[1]} ...", flush=True)
            rows.append(run_row(spec, options))
    show(rows, options.logs)
    keys = ("name", "front_end", "back_end", "status", "verified", "package", "detail")
    with open(options.json, "w", encoding="utf-8") as f:
        json.dump({"rows": [{k: r[k] for k in keys} for r in rows]}, f, indent=2)
        f.write("\n")
    return 0 if all(r["status"] == "ok" for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
