# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `mutants`: tests/abi notices a library that is wrong. Each mutant is a change of the source in a scratch copy; the
program must fail with it, by a check or by dying. The gate makes those marked quick, VH_FULL=1 all of them.
"""
import os
import sys
import tempfile

from scratch import Failed, Scratch, chosen, run, verdict

BASE, LOG, DEVICE = "src/base/base.c", "src/base/log.c", "src/device/device.c"
MAP_END = "local:\n\t*;\n};\n"
QUICK = True
# name, quick, edits
MUTANTS = (
    ("a dirty tail is accepted", QUICK, ((BASE, "if (((const unsigned char *)src)[i])", "if (0)"),)),
    ("only the last byte of a tail is looked at", False,
     ((BASE, "for (size_t i = dst_size; i < size; i++)", "for (size_t i = size > dst_size ? size - 1 : size; i < size; i++)"),)),
    ("size 0 is accepted", QUICK, ((BASE, "if (size < 2 * sizeof(uint32_t) || size > 4096)", "if (size > 4096)"),)),
    ("any size is accepted", False, ((BASE, "if (size < 2 * sizeof(uint32_t) || size > 4096)", "if (size < 2 * sizeof(uint32_t))"),)),
    ("options are read past their size", False,
     ((BASE, "memcpy(dst, src, VHI_MIN(dst_size, (size_t)size));", "memcpy(dst, src, dst_size);"),)),
    ("a short out struct is filled", QUICK,
     ((BASE, "memcpy(&size, dst, sizeof(size));\n\tif (size < 2 * sizeof(uint32_t))\n\t\treturn vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "
             "\"%s: size is %u; set it to sizeof the struct\", what,\n\t\t\t\tsize);\n\treturn 0;\n}", "(void)size;\n\treturn 0;\n}"),)),
    ("an out struct is filled past its size", False,
     ((BASE, "VHI_MIN((size_t)size, src_size) - sizeof(size));", "src_size - sizeof(size));"),)),
    ("the tail of an out struct stays", False,
     ((BASE, "memset((char *)dst + src_size, 0, size - src_size);", "(void)size;"),)),
    ("no destroy when a device fails", QUICK, ((DEVICE, "\t\tvhi_free(dev);\n\t\tvhi_ops_destroy(ops, ctx);\n", "\t\tvhi_free(dev);\n"),)),
    ("no destroy when a trace fails", False,
     ((LOG, "rc = check_outside(trace->inside, \"vh_trace_ops\");\n\tif (rc) {\n\t\tvhi_ops_destroy(ops, ctx);",
       "rc = check_outside(trace->inside, \"vh_trace_ops\");\n\tif (rc) {"),)),
    ("no destroy when a log is replaced", False,
     ((LOG, "\t\tlog->ctx = ctx;\n\t}\n\tvhi_ops_destroy(&old, old_ctx);", "\t\tlog->ctx = ctx;\n\t}\n\t(void)old_ctx;"),)),
    ("destroy twice", QUICK,
     ((LOG, "\t\ttrace->ctx = ctx;\n\t}\n\tvhi_ops_destroy(&old, old_ctx);",
       "\t\ttrace->ctx = ctx;\n\t}\n\tvhi_ops_destroy(&old, old_ctx);\n\tvhi_ops_destroy(&old, old_ctx);"),)),
    ("destroy while the ops are still set", QUICK,
     ((LOG, "\tmemset(trace, 0, sizeof(*trace));\n", "\tvhi_ops_destroy(&old, old_ctx);\n\tmemset(trace, 0, sizeof(*trace));\n"),
      (LOG, "\t\ttrace->ctx = ctx;\n\t}\n\tvhi_ops_destroy(&old, old_ctx);", "\t\ttrace->ctx = ctx;\n\t}\n"))),
    ("no destroy when a device is freed", False, (("src/device/device.c", "\tif (destroy)\n", "\tif (0)\n"),)),
    ("a pointer is not checked", QUICK,
     (("src/queue/data.c", "(!q || q->role != VH_QUEUE_DEVICE || (!reqs && max))", "(!q || q->role != VH_QUEUE_DEVICE)"),)),
    ("a handle is not checked", False,
     (("src/driver/blk.c", "\tif (!b)\n\t\treturn vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, \"vh_blk_get_info: NULL block driver\");\n", ""),)),
    ("an error is positive", QUICK,
     (("src/mem/mem.c", "return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, \"vh_mem_new: out is NULL\");",
       "return -vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, \"vh_mem_new: out is NULL\");"),)),
    ("an error without its details", False,
     (("src/mem/mem.c", "return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, \"vh_mem_new: out is NULL\");", "return -EINVAL;"),)),
    ("another error", False, (("src/mem/mem.c", "vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, \"vh_mem_new: out", "vhi_fail(-EFAULT, VH_ERROR_ARGUMENT, 0, \"vh_mem_new: out"),)),
    ("an out-parameter is touched on failure", QUICK,
     (("src/slave/slave.c", "\t\treturn vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, \"vh_slave_queue: slave or out is NULL\");\n",
       "\t\treturn vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, \"vh_slave_queue: slave or out is NULL\");\n\t*out = NULL;\n"),)),
    ("a symbol in another node", QUICK,
     (("abi/libvh.map", "\tvh_queue_arm;\n", ""),
      ("abi/libvh.map", MAP_END, MAP_END + "VH_1.1 {\nglobal:\n\tvh_queue_arm;\n} VH_1.0;\n"))),
    ("a symbol is gone", False, (("abi/libvh.map", "\tvh_queue_arm;\n", ""),)),
    ("fields of an out struct in another order", False,
     (("include/vh/event.h", "\tuint32_t kind;\t/* VH_EVENT_* */\n", ""),
      ("include/vh/event.h", "\tint32_t reason; /* by kind */\n", "\tint32_t reason; /* by kind */\n\tuint32_t kind;\n"))),
    ("a callback's result is ignored", False,
     (("src/master/channel.c", "return m->ops.backend_request(m->ctx, &req);", "m->ops.backend_request(m->ctx, &req);\n\treturn 0;"),)),
    ("callbacks get another ctx", False,
     (("src/device/device.c", "\tdev->ctx = ctx;\n\t*out = dev;", "\tdev->ctx = NULL;\n\t*out = dev;"),)),
)
# And one in what the program is told, not in the library.
GOLDEN = ("tests/abi/vectors.def", 'FIELD("vh_cpl", "written", T_U32, 1, ARCHS(8, 8, 8))', 'FIELD("vh_cpl", "written", T_U32, 1, ARCHS(12, 12, 12))')
SECONDS = "60"


# What plays device files of the kernel's: tests/ioctl/CMakeLists.txt makes the same.
PLAYED = ("tests/ioctl/preload.c", "tests/ioctl/fake_copy.c", "tests/ioctl/fake_vhost.c", "tests/ioctl/fake_vdpa.c", "src/uapi/uapi.c")


def compile_program(s):
    sources = os.path.join(s.top, "tests", "abi")
    _, libs = run("pkg-config", "--libs", "--cflags", "libffi")
    program, played = os.path.join(s.build, "abi"), os.path.join(s.build, "libvh_played.so")
    flags = ("-std=c11", "-D_GNU_SOURCE", "-g")
    run("gcc", *flags, "-shared", "-fPIC", '-DPLAYED="net"', *(f"-I{os.path.join(s.top, f)}" for f in ("include", "src/uapi", "tests/ioctl")),
        "-o", played, *(os.path.join(s.top, name) for name in PLAYED), "-ldl")
    run("gcc", *flags, "-rdynamic", "-o", program,
        *(os.path.join(sources, name) for name in sorted(os.listdir(sources)) if name.endswith(".c")),
        "-Wl,--no-as-needed", played, "-Wl,--as-needed", *libs.split(), "-ldl", "-lpthread")
    return program


def runs(s, program):
    """Whether the program is content with the library."""
    return run("timeout", SECONDS, program, env={"LD_LIBRARY_PATH": s.build, "VH_ONE_IS_ENOUGH": "1"}, ok=False)


def notices(s, program):
    """Whether the program fails with the library as it is now."""
    s.make()
    code, _ = runs(s, program)
    if code == 124:
        raise Failed("no end")
    return bool(code)


def main():
    made = chosen(MUTANTS)
    with tempfile.TemporaryDirectory() as folder:
        s = Scratch(folder)
        s.configure("-DVH_PYTHON=OFF", "-DVH_TOOLS=OFF")
        s.make()
        program = compile_program(s)
        code, output = runs(s, program)
        if code:
            print(f"the program is red without a mutant:\n{output[-3000:]}")
            return 1
        wrong = s.survivors(made, lambda: notices(s, program))
        s.make()
        s.replace(*GOLDEN)
        if not runs(s, compile_program(s))[0]:
            wrong.append("a golden that is wrong: nobody notices")
    return verdict(wrong, len(made) + 1, len(MUTANTS) + 1)


if __name__ == "__main__":
    sys.exit(main())
