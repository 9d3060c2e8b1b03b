# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `grow`: the interface can grow as abi/POLICY.md says. Two libraries are built: today's, and one with a version node
VH_1.1 that has a new function, an option, a callback and a counter more.

tests/abi/grow/older.c, built against today's headers, runs on both; newer.c, built against the newer ones, runs on both
as long as it uses nothing new, and is told clearly when it does and the library is the older one.
"""
import os
import shutil
import sys
import tempfile

from breaks import LAST_OF_MAP, NODE_1_1
from scratch import Failed, Scratch, run

INC = "include/vh/"
FUNCTION = """/**
 * vh_slave_greet() - call what wants to be greeted
 * @s: the back-end
 *
 * @since: VH_1.1
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_slave_greet(struct vh_slave *s);

VH_END_DECLS
"""
SOURCE = """vh_rc vh_slave_greet(struct vh_slave *s)
{
	if (!s)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_greet: NULL");
	if (s->trace.ops.greeted)
		s->trace.ops.greeted(s->trace.ctx, s->opts.greeting);
	return 0;
}

void vh_slave_free("""
CALLBACK = """void (*message)(void *ctx, const struct vh_msg_info *info);
	/**
	 * greeted() - vh_slave_greet() was called
	 * @ctx: what was given with the ops
	 * @greeting: the option
	 *
	 * @since: VH_1.1
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*greeted)(void *ctx, uint64_t greeting);
"""
GROWTH = (
    (INC + "slave.h", "see vh_queue_set_coalescing(); 0 = a call for each push */\n",
     "see vh_queue_set_coalescing(); 0 = a call for each push */\n\tuint64_t greeting;\n"),
    (INC + "slave.h", "\tuint64_t oldest_in_flight_ns; /* of all queues, now */\n",
     "\tuint64_t oldest_in_flight_ns; /* of all queues, now */\n\tuint64_t greeting;\n"),
    (INC + "slave.h", "VH_END_DECLS\n", FUNCTION),
    (INC + "log.h", "void (*message)(void *ctx, const struct vh_msg_info *info);\n", CALLBACK),
    (INC + "version.h", "#define VH_VERSION_MINOR 1", "#define VH_VERSION_MINOR 2"),
    ("src/slave/slave.c", "void vh_slave_free(", SOURCE),
    ("src/slave/slave.c", "if (o->require_seal > 1 || ", "if (o->greeting > 1000 || o->require_seal > 1 || "),
    ("src/slave/stats.c", "\tst.connected = s->conn.open;\n", "\tst.connected = s->conn.open;\n\tst.greeting = s->opts.greeting;\n"),
    ("abi/libvh.map", LAST_OF_MAP, NODE_1_1 % "vh_slave_greet"),
)
# A library that looks behind what the caller said it has; the older program must notice.
BAD_GROWTH = (
    ("an option is read without asking for its size", "src/base/base.c",
     "memcpy(dst, src, VHI_MIN(dst_size, (size_t)size));", "memcpy(dst, src, dst_size);"),
    ("a counter is written without asking for room", "src/base/base.c",
     "VHI_MIN((size_t)size, src_size) - sizeof(size));", "src_size - sizeof(size));"),
)


def compile_program(s, name, include, lib, *options):
    program = os.path.join(s.build, "-".join([name, *options]).replace("-D", ""))
    run("gcc", "-std=c11", "-D_GNU_SOURCE", "-g", "-Wall", "-Wextra", "-I", include, *options, "-o", program,
        os.path.join(s.top, "tests", "abi", "grow", name + ".c"), "-L", lib, "-lvh", "-ldl", "-lpthread")
    return program


def expect(what, program, args, library, code, words):
    got, output = run("timeout", "60", program, *args, env={"LD_LIBRARY_PATH": library}, ok=False)
    if got == code and all(word in output for word in words):
        return []
    return [f"{what}: exit code {got}, {output.strip()[-300:]}"]


def grown(s):
    """Every promise still holds, and abidiff sees nothing but additions."""
    wrong = []
    code, output = s.python("tests/gates/abi.py", "layout")
    if code:
        wrong.append(f"gate layout refuses the growth: {output.strip()[-600:]}")
    code, output = s.python("tests/gates/abi.py", "library", s.build)
    if not code or "incompatible" in output:
        wrong.append(f"gate abidiff: {output.strip()[-600:]}")
    return wrong


def main():
    with tempfile.TemporaryDirectory() as folder:
        s = Scratch(folder)
        s.configure("-DVH_PYTHON=OFF", "-DVH_TOOLS=OFF")
        s.make()
        old = os.path.join(folder, "old")
        include = os.path.join(old, "include")
        shutil.copytree(os.path.join(s.top, "include"), include)
        for name in ("libvh.so.1", "libvh.so"):
            shutil.copy2(os.path.join(s.build, name), os.path.join(old, name))
        older = compile_program(s, "older", include, old)
        for edit in GROWTH:
            s.replace(*edit)
        s.make()
        newer = compile_program(s, "newer", os.path.join(s.top, "include"), s.build)
        linked = compile_program(s, "newer", os.path.join(s.top, "include"), s.build, "-DLINKED")
        wrong = grown(s)
        for case in (
                ("older on older", older, (), old, 0, ("ok with library 0.1",)),
                ("older on newer", older, (), s.build, 0, ("ok with library 0.2",)),
                ("newer on newer", newer, ("all",), s.build, 0, ("ok with all new",)),
                ("newer on older, nothing new used", newer, ("nothing",), old, 0, ("ok with nothing new",)),
                ("newer on older, an option", newer, ("option",), old, 1,
                 ("option: EINVAL", "vh_slave_opts: byte 80 is not zero", "use a newer libvh")),
                ("newer on older, a callback", newer, ("callback",), old, 1,
                 ("callback: EINVAL, destroyed 1:", "vh_trace_ops: byte 24", "use a newer libvh")),
                ("linked to the new function, newer", linked, ("all",), s.build, 0, ("ok with all new",)),
                ("linked to the new function, older", linked, ("all",), old, 1, ("VH_1.1", "not found"))):
            wrong += expect(*case)
        for name, path, before, after in BAD_GROWTH:
            s.replace(path, before, after)
            s.make()
            if not expect(name, older, (), s.build, 0, ()):
                wrong.append(f"{name}: the older program does not notice")
            s.replace(path, after, before)
    for line in wrong:
        print(line)
    print(f"8 pairs of program and library, {len(BAD_GROWTH)} libraries that grew wrongly: {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        sys.exit(str(e))
