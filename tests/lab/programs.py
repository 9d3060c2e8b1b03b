# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A guest that has the kernel's vhost, vDPA and VDUSE drivers, and runs programs of ours."""
import os
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


def archive(work, kernel_dir, programs, with_sims=True):
    """The guest's initramfs: @programs are (path in the guest, path here); what lies in /tests is run."""
    init = os.path.join(work, "init")
    subprocess.run(["gcc", "-static", "-O2", "-Wall", "-Wextra", "-o", init, os.path.join(HERE, "guest_programs.c")], check=True)
    more = sims.fetch(kernel_dir) if with_sims else None
    out = os.path.join(work, "guest.cpio")
    initramfs.build(out, init, os.path.join(kernel_dir, "modules"), [*MODULES, *(sims.MODULES if more else ())], more, programs)
    return out


def boot(work, kernel_dir, initrd, seconds=600):
    """One life of the guest; its console. Its machine has a network card and a disk for vp_vdpa."""
    disk = os.path.join(work, "disk.img")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    return proc.run(f"guest-{kernel.version_of(kernel_dir)}", [
        qemu.QEMU, *MACHINE, "-netdev", "hubport,id=n0,hubid=0", "-device", f"virtio-net-pci,netdev=n0,romfile=,{OPTIONS}",
        "-drive", f"if=none,id=d0,format=raw,file={disk}", "-device", f"virtio-blk-pci,drive=d0,{OPTIONS}",
        "-kernel", os.path.join(kernel_dir, "vmlinux"), "-initrd", initrd,
        "-append", f"{qemu.APPEND} intel_iommu=on"], work, seconds, ok=(qemu.GUEST_OK,))
