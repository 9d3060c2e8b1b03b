# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl check against libvh's own devices and those of others, whose deviations are listed: nothing that is not expected.

check.py BUILD [NAME...]
"""
import concurrent.futures
import os
import shlex
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lab"))
import blkio  # noqa: E402  # pylint: disable=wrong-import-position
import qemu  # noqa: E402  # pylint: disable=wrong-import-position

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
QSD = "/usr/bin/qemu-storage-daemon"
FULL = os.environ.get("VH_FULL") == "1"  # many a misuse is a start of the peer
TESTPMD = "/usr/bin/dpdk-testpmd"


def peers(build, tmp):
    """name, words of vhctl check; {tmp} is a folder, {vhctl} the program."""
    build = os.path.abspath(build)
    vhctl = os.path.join(build, "vhctl")
    image = os.path.join(tmp, "disk.img")
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    shared = os.path.join(tmp, "shared")
    os.mkdir(shared)
    robust = [] if FULL else ["--skip", "robust.*"]
    root = [] if os.getuid() == 0 else ["/usr/bin/unshare", "-r"]
    hostile = [] if FULL else ["--skip", "front-hostile.*"]
    # The firmware looks for something to boot, reads the disk, finds nothing, and resets the machine, which ends it.
    machine = shlex.join([*qemu.machine("{socket}"), "-boot", "reboot-timeout=1"])
    return {
        "libvh-blk": [f"exec:{vhctl} serve blk --ram 8M --queues 4 --socket {{socket}}", "--allow-write"],
        "libvh-net": [f"exec:{vhctl} serve net --loopback --queues 2 --socket {{socket}}", "--loopback"],
        "libvh-python": [f"exec:{sys.executable} -m vh.check.reference blk {{socket}}", "--type", "blk", "--allow-write", *robust],
        "libvh-front": ["--command", f"{vhctl} io blk unix:{{socket}} verify"],
        "qemu-blk": ["--command", f"{machine} -device vhost-user-blk-pci,chardev=c0,num-queues=1", "--known", "qemu", *hostile],
        "qemu-net": ["--command", f"{machine} -netdev vhost-user,id=n0,chardev=c0 -device virtio-net-pci,netdev=n0,vectors=0,romfile=",
                     "--type", "net", "--known", "qemu", *hostile],
        "libblkio": ["--command", f"{blkio.build(os.path.join(tmp, 'blkio'))} {{socket}} randread 4 0.2", "--known", "libblkio", *hostile],
        "qsd": [f"exec:{QSD} --blockdev file,node-name=disk,filename={image} --export vhost-user-blk,id=e0,node-name=disk,"
                "addr.type=unix,addr.path={socket},num-queues=2,writable=on", "--allow-write", "--known", "qsd", "--wait", "2"],
        "virtiofsd": [f"exec:{' '.join([*root, VIRTIOFSD])} --socket-path={{socket}} -o source={shared} -o sandbox=chroot",
                      "--type", "fs", "--known", "virtiofsd", "--wait", "2", *robust],
        "dpdk": [f"exec:{TESTPMD} -l 0,1 --no-pci --no-huge -m 128 --file-prefix=vhcheck{os.getpid()} --vdev "
                 "net_vhost0,iface={socket},queues=1 -- -i --total-num-mbufs=2048 --forward-mode=io --auto-start",
                 "--known", "dpdk", "--wait", "5", *robust],
    }


def main():
    build, only = sys.argv[1], sys.argv[2:]
    path = os.pathsep.join((os.path.join(TOP, "python"), os.path.join(build, "python")))
    env = {**os.environ, "PYTHONPATH": path, "LD_LIBRARY_PATH": build, "PYTHONDONTWRITEBYTECODE": "1",
           "VH_PYTHON_LIBRARY": os.path.join(build, "libvh.so.1")}
    failed, said = 0, []

    def one(words):
        done = subprocess.run([sys.executable, "-m", "vh.check", *words, "--strict", "--verbose", "--timeout", "60"], env=env,
                              text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout

    with tempfile.TemporaryDirectory(prefix="vh-check-") as tmp, concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = {name: pool.submit(one, words) for name, words in peers(build, tmp).items() if not only or name in only}
        for name, run in runs.items():
            code, out = run.result()
            print(f"=== {name}\n{out}", flush=True)
            failed += code != 0
            said.append(f"{name} {out.splitlines()[-1].partition(' checks: ')[2].partition(';')[0]}")
    print("; ".join(said))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
