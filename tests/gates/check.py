# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl check against libvh's own devices and those of others, whose deviations are listed: nothing that is not expected.

check.py BUILD [NAME...]
"""
import os
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
QSD = "/usr/bin/qemu-storage-daemon"
TESTPMD = "/usr/bin/dpdk-testpmd"


def peers(build, tmp):
    """name, words of vhctl check; {tmp} is a folder, {vhctl} the program."""
    vhctl = os.path.join(build, "vhctl")
    image = os.path.join(tmp, "disk.img")
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    shared = os.path.join(tmp, "shared")
    os.mkdir(shared)
    root = [] if os.getuid() == 0 else ["/usr/bin/unshare", "-r"]
    return {
        "libvh-blk": [f"exec:{vhctl} serve blk --ram 8M --queues 4 --socket {{socket}}", "--allow-write"],
        "libvh-net": [f"exec:{vhctl} serve net --loopback --queues 2 --socket {{socket}}", "--loopback"],
        "qsd": [f"exec:{QSD} --blockdev file,node-name=disk,filename={image} --export vhost-user-blk,id=e0,node-name=disk,"
                "addr.type=unix,addr.path={socket},num-queues=2,writable=on", "--allow-write", "--known", "qsd", "--wait", "2"],
        "virtiofsd": [f"exec:{' '.join([*root, VIRTIOFSD])} --socket-path={{socket}} -o source={shared} -o sandbox=chroot",
                      "--type", "fs", "--known", "virtiofsd", "--wait", "2"],
        "dpdk": [f"exec:{TESTPMD} -l 0,1 --no-pci --no-huge -m 128 --file-prefix=vhcheck{os.getpid()} --vdev "
                 "net_vhost0,iface={socket},queues=1 -- -i --total-num-mbufs=2048 --forward-mode=io --auto-start",
                 "--known", "dpdk", "--wait", "2"],
    }


def main():
    build, only = sys.argv[1], sys.argv[2:]
    path = os.pathsep.join((os.path.join(TOP, "python"), os.path.join(build, "python")))
    env = {**os.environ, "PYTHONPATH": path, "LD_LIBRARY_PATH": build, "PYTHONDONTWRITEBYTECODE": "1",
           "VH_PYTHON_LIBRARY": os.path.join(build, "libvh.so.1")}
    failed, said = 0, []
    with tempfile.TemporaryDirectory(prefix="vh-check-") as tmp:
        for name, words in peers(build, tmp).items():
            if only and name not in only:
                continue
            started = time.monotonic()
            done = subprocess.run([sys.executable, "-m", "vh.check", *words, "--strict", "--verbose"], env=env, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            print(f"=== {name}, {time.monotonic() - started:.1f} s\n{done.stdout}", flush=True)
            failed += done.returncode != 0
            said.append(f"{name} {done.stdout.splitlines()[-1].partition(' checks: ')[2].partition(';')[0]}")
    print("; ".join(said))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
