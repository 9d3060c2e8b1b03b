# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A Linux guest under QEMU's own CPU emulation (the lab's machines have no usable KVM)."""
import os
import subprocess

import initramfs
import kernel
import proc

HERE = os.path.dirname(os.path.abspath(__file__))
QEMU = "/usr/bin/qemu-system-x86_64"
# The guest ends by writing to the isa-debug-exit port; QEMU's exit code is then value * 2 + 1.
GUEST_OK = 42 * 2 + 1
APPEND = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on"


class BlockGuest:
    """A guest with one vhost-user block device, whose init runs one step of tests/lab/guest.c."""

    def __init__(self, work, memory_mib=192):
        self.work = work
        self.memory_mib = memory_mib
        kernel_dir = kernel.fetch()
        self.version = os.path.basename(kernel_dir)[len("kernel-"):]
        self.vmlinux = os.path.join(kernel_dir, "vmlinux")
        init = os.path.join(work, "guest-init")
        subprocess.run(["gcc", "-static", "-O2", "-Wall", "-Wextra", "-o", init, os.path.join(HERE, "guest.c")], check=True)
        self.initrd = os.path.join(work, "guest.cpio")
        initramfs.build(self.initrd, init, os.path.join(kernel_dir, "modules"), ["virtio_pci", "virtio_blk", "ext4"])

    def argv(self, socket, step, seed, queues, packed):
        return [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
                "-machine", "pc,memory-backend=mem", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1",
                "-m", f"{self.memory_mib}M",
                "-object", f"memory-backend-memfd,id=mem,size={self.memory_mib}M,share=on",
                "-chardev", f"socket,id=c0,path={socket}",
                "-device", f"vhost-user-blk-pci,chardev=c0,num-queues={queues},packed={'on' if packed else 'off'}",
                "-kernel", self.vmlinux, "-initrd", self.initrd,
                "-append", f"{APPEND} vh.step={step} vh.seed={seed} vh.packed={int(packed)}"]

    def boot(self, socket, step, seed, queues=1, packed=False, seconds=120):
        """One life of the guest; its console. proc.Failed when the step failed."""
        return proc.run(f"guest-{step}", self.argv(socket, step, seed, queues, packed), self.work, seconds, ok=(GUEST_OK,))


# More shared memory, as a PCI device: whoever switches its memory off takes it out of the guest's address space.
FIRMWARE_SHM = ["-object", "memory-backend-memfd,id=shm,size=1M,share=on", "-device", "ivshmem-plain,memdev=shm,addr=05.0"]


def firmware_argv(socket, memory_mib=64):
    """A machine without an operating system: its firmware boots from the vhost-user SCSI disk at that socket."""
    return [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
            "-machine", "pc,memory-backend=mem", "-accel", "tcg", "-m", f"{memory_mib}M",
            "-object", f"memory-backend-memfd,id=mem,size={memory_mib}M,share=on",
            "-chardev", f"socket,id=c0,path={socket}", "-device", "vhost-user-scsi-pci,chardev=c0,num_queues=1",
            *FIRMWARE_SHM]
