# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The vDPA drivers that Debian's kernels leave out, built from Debian's source of the same version and kept beside the kernel.

The simulators, vp_vdpa (a virtio PCI device as a vDPA one) and vringh, on which the simulators stand.
"""
import contextlib
import fcntl
import glob
import os
import shutil
import subprocess
import tempfile

from kernel import Missing, apt, cache_dir

SOURCES = (*(f"drivers/vdpa/vdpa_sim/{f}" for f in ("vdpa_sim.c", "vdpa_sim.h", "vdpa_sim_blk.c", "vdpa_sim_net.c")),
           "drivers/vdpa/virtio_pci/vp_vdpa.c", "drivers/vhost/vringh.c")
MODULES = ("vringh", "vdpa_sim", "vdpa_sim_net", "vdpa_sim_blk", "vp_vdpa")


def _download(work, package, version=None):
    """The path of a package's file; a Missing that names the package."""
    got = apt("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", f"{package}={version}" if version else package, cwd=work)
    found = glob.glob(os.path.join(work, package + "_*.deb"))
    if not found:
        raise Missing(package, "apt-get download: " + got.stdout.decode(errors="replace").strip()[-300:])
    return found[0]


def _field(deb, name):
    return subprocess.run(["dpkg-deb", "-f", deb, name], stdout=subprocess.PIPE, check=True).stdout.decode().strip()


def _headers(work, version):
    """Unpack the headers and the build tool; (folder to build against, version of the packages)."""
    deb = _download(work, f"linux-headers-{version}")
    debs = [deb]
    for word in _field(deb, "Depends").split(","):
        package = word.split()[0]
        if package.startswith(("linux-headers-", "linux-kbuild-")):
            debs.append(_download(work, package))
    root = os.path.join(work, "root")
    for path in debs:
        subprocess.run(["dpkg", "-x", path, root], check=True)
    headers = os.path.join(root, "usr/src", f"linux-headers-{version}")
    makefile = os.path.join(headers, "Makefile")
    with open(makefile, encoding="utf-8") as f:
        text = f.read()
    with open(makefile, "w", encoding="utf-8") as f:
        f.write(text.replace("include /usr/src/", f"include {root}/usr/src/"))
    return headers, _field(deb, "Version")


def _sources(work, series, package_version, dest):
    """SOURCES out of the source package, flat. With --occurrence reading ends with the last of them: the rest is a gigabyte."""
    deb = _download(work, f"linux-source-{series}", package_version)
    root = f"linux-source-{series}"
    commands = (["dpkg-deb", "--fsys-tarfile", deb],
                ["tar", "-xO", "--occurrence=1", f"./usr/src/{root}.tar.xz"],
                ["xz", "-dc", "-T0"],
                ["tar", "-x", "--occurrence=1", "-C", dest, "--transform", "s,.*/,,", *(f"{root}/{s}" for s in SOURCES)])
    with contextlib.ExitStack() as running:
        said = subprocess.DEVNULL
        for command in commands:
            p = running.enter_context(subprocess.Popen(command, stdin=said, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
            said = p.stdout
    lost = [s for s in SOURCES if not os.path.exists(os.path.join(dest, os.path.basename(s)))]
    if lost:
        raise Missing(f"linux-source-{series}", "it does not hold " + " ".join(lost))


def _make(headers, folder):
    with open(os.path.join(folder, "Kbuild"), "w", encoding="utf-8") as f:
        f.write("obj-m += " + " ".join(f"{m}.o" for m in MODULES) + "\n")
    # Without BTF, which would want pahole and the kernel with its debug information.
    made = subprocess.run(["make", "-C", headers, f"M={folder}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules", "-j2"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if made.returncode:
        raise Missing("vdpa_sim", "its build failed: " + made.stdout.decode(errors="replace")[-600:])


def fetch(kernel_dir):
    """The folder of the built modules, made when it is not there yet."""
    dest = os.path.join(kernel_dir, "sims")
    version = os.path.basename(kernel_dir)[len("kernel-"):]
    with open(os.path.join(cache_dir(), "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(dest):
            return dest
        work = tempfile.mkdtemp(prefix="sims-", dir=cache_dir())
        try:
            headers, package_version = _headers(work, version)
            folder = os.path.join(work, "src")
            os.mkdir(folder)
            _sources(work, ".".join(version.split(".")[:2]), package_version, folder)
            _make(headers, folder)
            ready = os.path.join(work, "ready")
            os.mkdir(ready)
            for name in MODULES:
                subprocess.run(["strip", "-g", "-o", os.path.join(ready, name + ".ko"), os.path.join(folder, name + ".ko")], check=True)
            os.rename(ready, dest)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return dest
