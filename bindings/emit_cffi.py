# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the Python package needs of the model: declarations for cffi, constants, records of what the library fills."""
import keyword

HEAD = "# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0\n" \
       "# Made from include/vh/*.h by ./run regen; do not edit.\n"

# (class, base, prefix of the constants, their group or "" for any, what it is)
ENUMS = (
    ("Features", "IntFlag", "VH_F_", "", "Feature bits of the rings and of the transport."),
    ("ProtocolFeatures", "IntFlag", "VH_PF_", "", "vhost-user protocol feature bits."),
    ("BlkFeatures", "IntFlag", "VH_BLK_F_", "", "Feature bits of a block device."),
    ("DeviceType", "IntEnum", "VH_TYPE_", "", "Virtio device types."),
    ("ErrorDomain", "IntEnum", "VH_ERROR_", "vh_error.domain", "Who refused."),
    ("LogLevel", "IntEnum", "VH_LOG_", "", "How much a log line matters."),
    ("EventKind", "IntEnum", "VH_EVENT_", "", "Kinds of events."),
    ("StartReason", "IntEnum", "VH_START_", "", "Why a ring started."),
    ("MetricsType", "IntEnum", "VH_METRICS_", "vh_metrics_prop.type", "What a value of a MetricsReader is."),
    ("QueueState", "IntEnum", "VH_QUEUE_", "vh_queue_state()", "What a queue does."),
    ("RegionFlags", "IntFlag", "VH_REGION_", "", "What is said of a region."),
    ("ReplyMode", "IntEnum", "VH_REPLY_", "", "What reply a raw request expects."),
    ("GpuRequest", "IntEnum", "VH_GPU_", "vh_gpu_msg.request", "Messages of a GPU's socket."),
    ("GpuFeatures", "IntFlag", "VH_GPU_PF_", "", "Protocol features of a GPU's socket."),
    ("VdpaStatus", "IntFlag", "VH_VDPA_S_", "", "Status of a vDPA device."),
    ("VdpaBackendFeatures", "IntFlag", "VH_VDPA_BF_", "", "Features of the file of a vDPA device."),
    ("VdpaHas", "IntFlag", "VH_VDPA_HAS_", "", "What is said of a vDPA device."),
    ("BlkOp", "IntEnum", "VH_BLK_", "vh_blk_io.op", "Block requests."),
)
BIT_NUMBERS = ("VH_F_", "VH_PF_", "VH_BLK_F_", "VH_GPU_PF_", "VH_VDPA_HAS_", "VH_VDPA_BF_")
HELPER = "vh_rc vhpy_push(struct vh_queue *q, const struct vh_req *reqs, struct vh_cpl *cpls, uint32_t n)"
HELPER_BODY = ("{", "    for (uint32_t i = 0; i < n; i++)", "        cpls[i].token = reqs[i].token;",
               "    return vh_queue_push(q, cpls, n);", "}")
# Structs that become a record as they are.
RECORDS = ("vh_region", "vh_dirty_info", "vh_iotlb_entry", "vh_iotlb_miss", "vh_iotlb_stats", "vh_vring_addr", "vh_fs_range",
           "vh_event", "vh_queue_stats", "vh_slave_stats", "vh_vduse_info", "vh_vdpa_info", "vh_master_stats", "vh_blk_info",
           "vh_gpu_mode", "vh_postcopy_fault")


def camel(name):
    return "".join(word.capitalize() for word in name.removeprefix("vh_").split("_"))


def wrapped(first, parts, rest, end, width=116):
    """Lines of comma-separated parts, none longer than width if it can be."""
    lines, line = [], first
    for i, part in enumerate(parts):
        piece = part + ("," if i + 1 < len(parts) else end)
        if len(line) + len(piece) + 1 > width and line.strip() and not line.endswith("("):
            lines.append(line)
            line = rest
        line += piece if line.endswith(("(", " ")) or not line else " " + piece
    return lines + [line]


def declared(type_, name, array=None):
    c = type_["c"]
    return f"{c}{'' if c.endswith('*') else ' '}{name}{f'[{array}]' if array else ''}"


def parameters(func):
    return [declared(p["type"], p["name"]) for p in func["params"]] or ["void"]


def prototype(name, func):
    """A declaration; also of a pointer, when name is (*name)."""
    return wrapped(declared(func["returns"], name) + "(", parameters(func), "        ", ");")


def field_lines(field):
    if "callback" in field:
        return ["    " + line for line in prototype(f"(*{field['name']})", field["callback"])]
    return [f"    {declared(field['type'], field['name'], field['array'])};"]


def cdef(api):
    lines = [f"typedef {t['type']} {t['name']};" for t in api["typedefs"]]
    lines += [f"struct {name};" for name in api["handles"]]
    for struct in api["structs"]:
        lines += [f"struct {struct['name']} {{"]
        lines += [line for f in struct["fields"] for line in field_lines(f)]
        lines += ["};"]
    lines += [f"#define {c['name']} {c['value']}" for c in api["constants"]]
    for func in api["functions"]:
        lines += prototype(func["name"], func)
    return lines


def callbacks(api):
    """{name in C of the Python function: (struct, member, function)} of every callback."""
    return {f"vhpy_{s['name'].removeprefix('vh_').removesuffix('_ops')}_{f['name']}": (s["name"], f["callback"])
            for s in api["structs"] for f in s["fields"] if "callback" in f}


def cdef_py(api):
    called = callbacks(api)
    out = [HEAD + '"""The C side as cffi reads it: declarations, callbacks, and which threads may call what."""\n',
           'CDEF = """', *cdef(api), '"""\n',
           "# In compiled mode cffi makes these functions; they run what Python binds to them.",
           'CALLBACK_CDEF = """', 'extern "Python" {']
    for name, (_, func) in called.items():
        out += prototype(name, func)
    out += ["}", '"""\n', "# And this one: a batch is pushed without a step of the interpreter for each request.",
            f'HELPER_CDEF = "{HELPER};"\n', 'HELPER_C = """', "#include <string.h>", "#include <vh/vh.h>\n",
            f"static {HELPER}", *HELPER_BODY, '"""\n',
            "# In dlopen mode they are closures of these types.", "CALLBACK_TYPES = {"]
    for name, (_, func) in called.items():
        types = ", ".join(p["type"]["c"] for p in func["params"])
        out += [f'    "{name}":', f'        "{declared(func["returns"], "(*)").replace(" (*)", "(*)")}({types})",']
    out += ["}\n", "# Function -> its @thread tag.", "THREAD = {"]
    out += [f'    "{f["name"]}": "{f["thread"]}",' for f in api["functions"]]
    return "\n".join(out + ["}"]) + "\n"


def member(name, prefix):
    name = name.removeprefix(prefix)
    return f"{name}_" if keyword.iskeyword(name) or name[0].isdigit() else name


def chosen(api, prefix, group):
    found = [c for c in api["constants"] if c["name"].startswith(prefix) and c["group"].startswith(group)]
    if not found:
        raise SystemExit(f"emit_cffi.py: no constant {prefix}* has a comment that begins with '{group}'")
    return found


def enum_lines(api, name, base, prefix, group, doc):
    boundary = ", boundary=enum.KEEP" if base == "IntFlag" else ""
    lines = [f"\n\nclass {name}(enum.{base}{boundary}):", f'    """{doc}"""\n']
    for c in chosen(api, prefix, group):
        value = f"1 << {c['value']}" if prefix in BIT_NUMBERS else c["value"]
        lines.append(f"    {member(c['name'], prefix)} = {value}" + (f"  # {c['doc']}" if c["doc"] else ""))
    return lines


def record_lines(struct):
    lines = [f"\n\n@dataclasses.dataclass(frozen=True)\nclass {camel(struct['name'])}:",
             f'    """{struct["doc"][0].upper()}{struct["doc"][1:]}"""\n']
    for f in struct["fields"]:
        if f["name"] in ("size", "reserved"):
            continue
        if f["array"] or f["type"]["pointers"]:
            raise SystemExit(f"emit_cffi.py: {struct['name']}.{f['name']} is no number, which is all a record can hold")
        doc = f"  # {f['doc']}" if f["doc"] else ""
        lines.append(f"    {f['name']}: int = 0{doc}")
    return lines


def model_py(api):
    out = [HEAD + '"""Constants by their C names without VH_, enumerations, and records that the library fills."""',
           "import dataclasses", "import enum\n"]
    version = {c["name"]: c["value"] for c in api["constants"] if c["name"].startswith("VH_VERSION_")}
    out += ['__version__ = "{VH_VERSION_MAJOR}.{VH_VERSION_MINOR}.{VH_VERSION_PATCH}"'.format(**version)]
    out += [f"{member(c['name'], 'VH_')} = {c['value']}" for c in api["constants"]]
    for row in ENUMS:
        out += enum_lines(api, *row)
    structs = {s["name"]: s for s in api["structs"]}
    for name in RECORDS:
        out += record_lines(structs[name])
    return "\n".join(out) + "\n"
