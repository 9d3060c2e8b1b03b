# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `uapi`: our own definitions of what the kernel defines too are the same as those in the installed Linux headers."""
import os
import re
import subprocess
import sys
import tempfile

import parse

LINUX = ("stddef.h", "sys/uio.h", "linux/io_uring.h", "linux/vdpa.h", "linux/vduse.h", "linux/vhost.h", "linux/vhost_types.h",
         "linux/virtio_blk.h", "linux/virtio_config.h", "linux/virtio_net.h", "linux/virtio_ids.h", "linux/virtio_ring.h")
OURS = ("vh/vh.h", "vhi_virtio_blk.h", "vhi_net.h", "vhi_vring.h", "vhi_vhost_uapi.h",
        "vhi_vdpa_uapi.h", "vhi_vduse_uapi.h")
FOLDERS = ("base", "uapi", "mem", "queue", "device")
# Ours -> names that the kernel may have for it; \1 is what the pattern caught.
FAMILIES = (
    (r"VH_BLK_F_(\w+)", (r"VIRTIO_BLK_F_\1",)),
    (r"VH_NET_F_(\w+)", (r"VIRTIO_NET_F_\1",)),
    (r"VHI_NET_S_(\w+)", (r"VIRTIO_NET_S_\1",)),
    (r"VH_F_RING_(\w+)", (r"VIRTIO_RING_F_\1", r"VIRTIO_F_RING_\1")),
    (r"VH_F_(\w+)", (r"VIRTIO_F_\1", r"VHOST_F_\1")),
    (r"VH_TYPE_BLK", ("VIRTIO_ID_BLOCK",)),
    (r"VH_TYPE_(\w+)", (r"VIRTIO_ID_\1",)),
    (r"VH_BLK_READ", ("VIRTIO_BLK_T_IN",)),
    (r"VH_BLK_WRITE", ("VIRTIO_BLK_T_OUT",)),
    (r"VH_BLK_ID_SIZE", ("VIRTIO_BLK_ID_BYTES",)),
    (r"VH_BLK_(FLUSH|GET_ID|DISCARD|WRITE_ZEROES)", (r"VIRTIO_BLK_T_\1",)),
    (r"VHI_BLK_S_(\w+)", (r"VIRTIO_BLK_S_\1",)),
    (r"VHI_BLK_RANGE_UNMAP", ("VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP",)),
    (r"VHI_DESC_(NEXT|WRITE|INDIRECT)", (r"VRING_DESC_F_\1",)),
    (r"VHI_DESC_SIZE", ("sizeof(struct vring_desc)",)),
    (r"VHI_VDUSE_MSG_(\w+)", (r"VDUSE_\1",)),
    (r"VHI_(VHOST_\w+|VDUSE_\w+|VDPA_(?:CMD|ATTR)_\w+)", (r"\1",)),
    (r"VH_VDPA_HAS_MAC", ("VDPA_ATTR_DEV_NET_CFG_MACADDR",)),
    (r"VH_VDPA_HAS_NET_STATUS", ("VDPA_ATTR_DEV_NET_STATUS",)),
    (r"VH_VDPA_HAS_(MAX_VQP|MTU)", (r"VDPA_ATTR_DEV_NET_CFG_\1",)),
    (r"VH_VDPA_HAS_NEGOTIATED", ("VDPA_ATTR_DEV_NEGOTIATED_FEATURES",)),
    (r"VH_VDPA_HAS_FEATURES", ("VDPA_ATTR_DEV_FEATURES",)),
    (r"VH_VDPA_HAS_(CAPACITY|SIZE_MAX|BLK_SIZE|SEG_MAX|NUM_QUEUES|READ_ONLY|FLUSH)", (r"VDPA_ATTR_DEV_BLK_CFG_\1", r"VDPA_ATTR_DEV_BLK_\1")),
)
# Values that have no macro of their own on the other side.
PAIRS = tuple((f"VHI_BLK_C_{ours}", f"offsetof(struct virtio_blk_config, {theirs})") for ours, theirs in (
    ("CAPACITY", "capacity"), ("SIZE_MAX", "size_max"), ("SEG_MAX", "seg_max"), ("BLK_SIZE", "blk_size"),
    ("PHYS_EXP", "physical_block_exp"), ("ALIGN_OFFSET", "alignment_offset"), ("MIN_IO", "min_io_size"),
    ("OPT_IO", "opt_io_size"), ("WRITEBACK", "wce"), ("NUM_QUEUES", "num_queues"),
    ("MAX_DISCARD", "max_discard_sectors"), ("MAX_DISCARD_SEG", "max_discard_seg"),
    ("DISCARD_ALIGN", "discard_sector_alignment"), ("MAX_ZEROES", "max_write_zeroes_sectors"),
    ("MAX_ZEROES_SEG", "max_write_zeroes_seg"), ("ZEROES_MAY_UNMAP", "write_zeroes_may_unmap"))) + (
        ("VHI_BLK_C_END", "offsetof(struct virtio_blk_config, unused1) + 3"),) + tuple(
            (f"VHI_NET_C_{ours}", f"offsetof(struct virtio_net_config, {theirs})") for ours, theirs in (
                ("MAC", "mac"), ("STATUS", "status"), ("PAIRS", "max_virtqueue_pairs"), ("MTU", "mtu"))) + (
                    ("VH_NET_HDR_SIZE", "sizeof(struct virtio_net_hdr_v1)"),
                    ("VHI_NET_HDR_SHORT", "sizeof(struct virtio_net_hdr)"), ("VH_NET_FRAME_MIN", "ETH_HLEN"))
STRUCTS = (
    ("struct vhi_blk_hdr", "struct virtio_blk_outhdr", (("type", "type"), ("reserved", "ioprio"), ("sector", "sector"))),
    ("struct vhi_blk_range", "struct virtio_blk_discard_write_zeroes",
     (("sector", "sector"), ("n_sectors", "num_sectors"), ("flags", "flags"))),
    ("struct vh_vring_addr", "struct vhost_vring_addr",
     (("index", "index"), ("flags", "flags"), ("desc", "desc_user_addr"), ("used", "used_user_addr"),
      ("avail", "avail_user_addr"), ("log", "log_guest_addr"))),
    ("struct vh_net_hdr", "struct virtio_net_hdr_v1",
     tuple((name, name) for name in ("flags", "gso_type", "hdr_len", "gso_size", "csum_start", "csum_offset",
                                     "num_buffers"))),
    ("struct vh_seg", "struct iovec", (("addr", "iov_base"), ("len", "iov_len"))),
) + tuple((f"struct vhi_{name}", f"struct {name}", tuple((f, f) for f in fields.split())) for name, fields in (
    # Fields that newer headers add, in bytes that were reserved, are left out.
    ("vhost_vring_state", "index num"), ("vhost_vring_file", "index fd"), ("vhost_worker_state", "worker_id"),
    ("vhost_vring_worker", "index worker_id"), ("vhost_iotlb_msg", "iova size uaddr perm type"),
    ("vhost_msg", "type iotlb padding"), ("vhost_msg_v2", "type asid iotlb padding"),
    ("vhost_features_array", "count features"),
    ("vhost_memory_region", "guest_phys_addr memory_size userspace_addr flags_padding"),
    ("vhost_memory", "nregions padding regions"),
    ("vhost_scsi_target", "abi_version vhost_wwpn vhost_tpgt reserved"), ("vhost_vdpa_config", "off len buf"),
    ("vhost_vdpa_iova_range", "first last"),
    ("vduse_dev_config", "name vendor_id device_id features vq_num vq_align config_size config"),
    ("vduse_iotlb_entry", "offset start last perm"), ("vduse_iotlb_entry_v2", "offset start last perm asid"),
    ("vduse_config_data", "offset length buffer"), ("vduse_vq_config", "index max_size"),
    ("vduse_vq_state_split", "avail_index"),
    ("vduse_vq_state_packed", "last_avail_counter last_avail_idx last_used_counter last_used_idx"),
    ("vduse_vq_group_asid", "group asid"),
    ("vduse_vq_info", "index num desc_addr driver_addr device_addr split packed ready"),
    ("vduse_vq_eventfd", "index fd"), ("vduse_iova_umem", "uaddr iova size"),
    ("vduse_iova_info", "start last capability"), ("vduse_vq_state", "index split packed"),
    ("vduse_dev_status", "status"), ("vduse_iova_range", "start last"), ("vduse_iova_range_v2", "start last asid"),
    ("vduse_dev_request", "type request_id reserved vq_state s iova padding"),
    ("vduse_dev_response", "request_id result reserved vq_state padding")))


def compile_c(text, *extra):
    includes = [f"-I{os.path.join(parse.TOP, 'src', f)}" for f in FOLDERS]
    with tempfile.NamedTemporaryFile("w", suffix=".c") as f:
        f.write(text)
        f.flush()
        return subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-w", f"-I{parse.INCLUDE}", *includes, *extra, f.name],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def macros(names):
    """Names of the macros that these headers define."""
    got = compile_c("".join(f"#include <{n}>\n" if n in LINUX else f'#include "{n}"\n' for n in names), "-E", "-dM")
    if got.returncode:
        raise SystemExit(got.stderr.decode())
    return set(re.findall(r"#define (\w+) \S", got.stdout.decode()))


def declared():
    """What else the installed headers have: enumerators of VDUSE and vDPA, and "struct NAME" of structs that they define."""
    text = compile_c("".join(f"#include <{n}>\n" for n in LINUX), "-E").stdout.decode()
    return set(re.findall(r"\b((?:VDUSE|VDPA)_\w+)", text)) | {f"struct {n}" for n in re.findall(r"\bstruct (\w+)\s*{", text)}


def equalities(more):
    """[(ours, theirs)] to compare, and our names for which the installed headers have nothing."""
    ours, theirs = macros(OURS), macros(LINUX) | more
    pairs, alone = [], []
    for name in sorted(ours):
        for pattern, candidates in FAMILIES:
            match = re.fullmatch(pattern, name)
            if match:
                there = [match.expand(c) for c in candidates]
                there = [c for c in there if "(" in c or c in theirs]
                pairs += [(name, there[0])] if there else []
                alone += [] if there else [name]
                break
    return pairs + list(PAIRS), alone


def main():
    more = declared()
    pairs, alone = equalities(more)
    structs = [row for row in STRUCTS if row[1] in more]
    alone += [ours for ours, theirs, _ in STRUCTS if theirs not in more]
    lines = [f"#include <{n}>" for n in LINUX] + [f'#include "{n}"' for n in OURS]
    lines += [f'_Static_assert(({a}) == ({b}), "{a} is not {b}");' for a, b in pairs]
    for ours, theirs, fields in structs:
        lines.append(f'_Static_assert(sizeof({ours}) == sizeof({theirs}), "size of {ours}");')
        lines += [f'_Static_assert(offsetof({ours}, {a}) == offsetof({theirs}, {b}), "{ours}.{a}");' for a, b in fields]
    got = compile_c("\n".join(lines) + "\n", "-fsyntax-only")
    print(got.stderr.decode(errors="replace"), end="")
    # The comparison itself can fail: a wrong value must not compile.
    red = compile_c("\n".join(lines + ["_Static_assert(VH_BLK_F_RO == VIRTIO_BLK_F_MQ, \"\");"]) + "\n", "-fsyntax-only")
    if red.returncode == 0:
        print("a wrong value compiled")
    if alone:
        print(f"not in the installed headers: {' '.join(alone)}")
    print(f"{len(pairs)} values and {len(structs)} structs compared, {len(alone)} that the installed headers lack")
    return 1 if got.returncode or red.returncode == 0 or len(pairs) < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
