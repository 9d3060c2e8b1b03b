# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A guest that has the kernel's vhost, vDPA and VDUSE drivers, and runs programs of ours."""
import glob
import os
import py_compile
import subprocess

import initramfs
import kernel
import proc
import qemu
import sims

HERE = os.path.dirname(os.path.abspath(__file__))
# Who is first gets a new vDPA device: vhost_vdpa.
MODULES = ("tun", "vhost_net", "vhost_vsock", "vhost_scsi", "vdpa", "vhost_vdpa", "virtio_vdpa", "vduse", "virtio_net", "virtio_blk")
# vp_vdpa wants an IOMMU: without one, nobody can open what it makes.
MACHINE = ("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
           "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-machine", "q35", "-device", "intel-iommu,intremap=off,device-iotlb=on",
           "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "512M")
OPTIONS = "disable-legacy=on,iommu_platform=on,ats=on"
PYTHON = "/usr/bin/python3"
PACKAGES = "usr/lib/python3/dist-packages"
# Where all comes from that a script has imported once it is loaded.
IMPORTED = """
import importlib.util, os, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
spec = importlib.util.spec_from_file_location("script", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
for m in list(sys.modules.values()):
    if getattr(m, "__file__", None):
        print("file", m.__name__, hasattr(m, "__path__"), m.__file__, sep="\\t")
"""


def python(work, build, scripts):
    """What a guest needs to run scripts, (path in the guest, path here), that begin with #!/usr/bin/python3: Python, and what they
    import at their beginning. What is imported later has to be among that too."""
    paths = [os.path.join(os.path.dirname(os.path.dirname(HERE)), "python"), os.path.join(build, "python")]
    env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": build, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    files = {PYTHON[1:]: os.path.realpath(PYTHON)}
    for _, script in scripts:
        out = subprocess.run([PYTHON, "-c", IMPORTED, script], env=env, stdout=subprocess.PIPE, check=True).stdout.decode()
        for _, name, package, path in (line.split("\t") for line in out.splitlines() if line.startswith("file\t")):
            if path != script:
                inside, compiled = _module(work, name, package == "True", path)
                files[inside] = compiled
                if package == "True":  # and what it reads
                    for data in glob.glob(os.path.join(os.path.dirname(path), "*", "*.json")):
                        files[os.path.join(os.path.dirname(inside), os.path.relpath(data, os.path.dirname(path)))] = data
    return [*files.items(), *scripts]


def _module(work, name, package, path):
    """(path in the guest, path here) of a module. It goes there compiled, because a guest compiles slowly."""
    folder = name.split(".") if package else name.split(".")[:-1]
    inside = path[1:] if path.startswith("/usr/lib/") else os.path.join(PACKAGES, *folder, os.path.basename(path))
    if not path.endswith(".py"):
        return inside, path
    compiled = os.path.join(work, "compiled", inside + "c")
    py_compile.compile(path, compiled, dfile="/" + inside, doraise=True)
    return inside + "c", compiled


def archive(work, kernel_dir, programs, with_sims=True):
    """The guest's initramfs: @programs are (path in the guest, path here); what lies in /tests is run."""
    init = os.path.join(work, "init")
    subprocess.run(["gcc", "-static", "-O2", "-Wall", "-Wextra", "-o", init, os.path.join(HERE, "guest_programs.c")], check=True)
    more = sims.fetch(kernel_dir) if with_sims else None
    out = os.path.join(work, "guest.cpio")
    initramfs.build(out, init, os.path.join(kernel_dir, "modules"), [*MODULES, *(sims.MODULES if more else ())], more, programs)
    return out


def boot(work, kernel_dir, initrd, seconds=600):
    """One life of the guest; its console. Its machine has two network cards, at the ends of a cable, and a disk for vp_vdpa."""
    disk = os.path.join(work, "disk.img")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    return proc.run(f"guest-{kernel.version_of(kernel_dir)}", [
        qemu.QEMU, *MACHINE,
        *(word for n in range(2) for word in (
            "-netdev", f"hubport,id=n{n},hubid=0", "-device", f"virtio-net-pci,netdev=n{n},romfile=,{OPTIONS}")),
        "-drive", f"if=none,id=d0,format=raw,file={disk}", "-device", f"virtio-blk-pci,drive=d0,{OPTIONS}",
        "-kernel", os.path.join(kernel_dir, "vmlinux"), "-initrd", initrd,
        "-append", f"{qemu.APPEND} intel_iommu=on"], work, seconds, ok=(qemu.GUEST_OK,))
