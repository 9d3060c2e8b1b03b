# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A Linux guest under QEMU's own CPU emulation (the lab's machines have no usable KVM)."""
import json
import os
import re
import socket
import subprocess

import initramfs
import kernel
import proc
import suite

HERE = os.path.dirname(os.path.abspath(__file__))
QEMU = "/usr/bin/qemu-system-x86_64"
# The guest ends by writing to the isa-debug-exit port; QEMU's exit code is then value * 2 + 1.
GUEST_OK = 42 * 2 + 1
APPEND = "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off nokaslr random.trust_cpu=on"


def of_suite(name, version):
    """The words that begin a command line of the QEMU of another Debian suite, which has to be of that version."""
    root = suite.unpack_whole(name, "qemu-system-x86")
    words = suite.run_in(root, "usr/bin/qemu-system-x86_64")
    said = subprocess.run([*words, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()[0]
    if not re.search(rf"version {re.escape(version)}\b", said):
        raise kernel.Missing("qemu-system-x86", f"{name} has no QEMU {version} (any more): {said}")
    return [*words, *(word for part in ("qemu", "seabios") for word in ("-L", os.path.join(root, "usr/share", part)))]


class Guest:
    """A guest with one vhost-user device, whose init is a program of tests/lab."""

    def __init__(self, work, program, modules, memory_mib=192, emulator=(QEMU,)):
        self.work = work
        self.emulator = emulator
        self.memory = f"{memory_mib << 10}K"
        kernel_dir = kernel.fetch()
        self.version = os.path.basename(kernel_dir)[len("kernel-"):]
        self.vmlinux = os.path.join(kernel_dir, "vmlinux")
        init = os.path.join(work, "guest-init")
        subprocess.run(["gcc", "-static", "-O2", "-Wall", "-Wextra", "-o", init, os.path.join(HERE, program)], check=True)
        self.initrd = os.path.join(work, "guest.cpio")
        initramfs.build(self.initrd, init, os.path.join(kernel_dir, "modules"), ["virtio_pci", *modules])

    def argv(self, socket, device, words):
        """With the options that make a device out of the character device c0, and words for its init."""
        return [*self.emulator, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
                "-machine", "pc,memory-backend=mem", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1",
                "-m", self.memory,
                "-object", f"memory-backend-memfd,id=mem,size={self.memory},share=on",
                "-chardev", f"socket,id=c0,path={socket}", *device,
                "-kernel", self.vmlinux, "-initrd", self.initrd, "-append", f"{APPEND} {words}"]

    def run(self, name, socket, device, words, seconds=120):
        """One life of the guest; its console. proc.Failed when the init failed."""
        return proc.run(name, self.argv(socket, device, words), self.work, seconds, ok=(GUEST_OK,))


class BlockGuest(Guest):
    """It runs one step of tests/lab/guest.c."""

    def __init__(self, work, emulator=(QEMU,)):
        super().__init__(work, "guest.c", ["virtio_blk", "ext4"], emulator=emulator)

    def boot(self, socket, step, seed, queues=1, packed=False, options=""):
        return self.run(f"guest-{step}", socket, *self.words(step, seed, queues, packed, options))

    def words(self, step, seed, queues=1, packed=False, options=""):
        device = f"vhost-user-blk-pci,chardev=c0,num-queues={queues},packed={'on' if packed else 'off'}{options}"
        return ["-device", device], f"vh.step={step} vh.seed={seed} vh.packed={int(packed)}"


class IommuGuest(BlockGuest):
    """Its disk is behind an IOMMU that the guest uses: each request has addresses of its own, taken back when it is done."""

    def argv(self, socket, device, words):
        argv = super().argv(socket, device, f"intel_iommu=on iommu.passthrough=0 iommu.strict=1 {words}")
        machine = argv.index("-machine")
        argv[machine + 1] = argv[machine + 1].replace("pc,", "q35,")
        return [*argv[:machine], "-device", "intel-iommu,intremap=off,device-iotlb=on", *argv[machine:]]

    def words(self, step, seed, queues=1, packed=False, options=""):
        return super().words(step, seed, queues, packed, f"{options},iommu_platform=on,ats=on,disable-legacy=on")


class NetGuest(Guest):
    """It runs tests/lab/guest_net.c."""

    def __init__(self, work):
        super().__init__(work, "guest_net.c", ["virtio_net"])

    def boot(self, socket, packed=False):
        # Without vectors: QEMU 7.2 crashes when a vhost-user network device has MSI-X and there is no KVM.
        device = f"virtio-net-pci,netdev=n0,romfile=,vectors=0,packed={'on' if packed else 'off'}"
        return self.run(f"guest-net-{'packed' if packed else 'split'}", socket,
                        ["-netdev", "vhost-user,id=n0,chardev=c0", "-device", device], f"vh.packed={int(packed)}")


def machine(socket, memory_mib=64, emulator=(QEMU,)):
    """A machine without an operating system, which shares its memory; chardev c0 is that socket."""
    return [*emulator, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
            "-machine", "pc,memory-backend=mem", "-accel", "tcg", "-m", f"{memory_mib}M",
            "-object", f"memory-backend-memfd,id=mem,size={memory_mib}M,share=on", "-chardev", f"socket,id=c0,path={socket}"]


# More shared memory, as a PCI device: whoever switches its memory off takes it out of the guest's address space.
FIRMWARE_SHM = ["-object", "memory-backend-memfd,id=shm,size=1M,share=on", "-device", "ivshmem-plain,memdev=shm,addr=05.0"]


def disk_firmware(socket):
    """The firmware boots from the vhost-user SCSI disk at that socket."""
    return [*machine(socket), "-device", "vhost-user-scsi-pci,chardev=c0,num_queues=1", *FIRMWARE_SHM]


def shmem_firmware(socket, qmp, emulator):
    """The firmware boots from a block device of which QEMU knows nothing but its number, and the back-end all; shared memory
    is one of its BARs."""
    return [*machine(socket, emulator=emulator), "-qmp", f"unix:{qmp},server=on,wait=off", "-device",
            "vhost-user-test-device-pci,chardev=c0,virtio-id=2,num_vqs=1,vq_size=64,config_size=60,addr=04.0"]


def bar(qmp, slot, number):
    """Where the firmware put a BAR of the PCI device in that slot."""
    found = [region["address"] for bus in qmp_command(qmp, "query-pci") for device in bus["devices"] if device["slot"] == slot
             for region in device["regions"] if region["bar"] == number]
    if len(found) != 1:
        raise proc.Failed(f"the device in slot {slot} has {len(found)} BARs {number}")
    return found[0]


def peek(qmp, address, length):
    """What a guest finds there; None: no memory."""
    said = qmp_command(qmp, "human-monitor-command", **{"command-line": f"xp /{length}xb {address:#x}"})
    if "Cannot access" in said:
        return None
    return bytes(int(word, 16) for line in said.splitlines() for word in line.partition(": ")[2].split())


def net_firmware(socket, qmp, mac, mtu):
    """The firmware asks the network at that socket what to boot. QMP is served at the path given for it."""
    return [*machine(socket), "-netdev", "vhost-user,id=n0,chardev=c0", "-qmp", f"unix:{qmp},server=on,wait=off",
            "-device", f"virtio-net-pci,netdev=n0,host_mtu={mtu},mac={mac},vectors=0,bootindex=0"]


def qmp_command(path, name, **arguments):
    """One command on a QMP socket; its result."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as conn:
        conn.settimeout(10)
        conn.connect(path)
        lines = conn.makefile("rw", encoding="utf-8")
        json.loads(lines.readline())  # the greeting
        for command in ({"execute": "qmp_capabilities"}, {"execute": name, "arguments": arguments}):
            print(json.dumps(command), file=lines, flush=True)
            reply = {}
            while "return" not in reply and "error" not in reply:  # events may come between
                reply = json.loads(lines.readline())
            if "error" in reply:
                raise proc.Failed(f"{name}: {reply['error']['desc']}")
        return reply["return"]
