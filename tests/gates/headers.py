# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `headers`: the public headers are written in the dialect on which C, C++ and every binding generator agree.

Each header compiles alone as C99, C11, C++11 and C++17 with gcc and clang; only the constructs that the rules below
let through appear in it; every function is documented with all tags. Each rule is first shown to be able to fail.
"""
import os
import re
import subprocess
import sys
import tempfile

import dialect
import parse

COMPILERS = [(tool, std, lang) for c, cxx in (("gcc", "g++"), ("clang", "clang++"))
             for tool, std, lang in ((c, "c99", "c"), (c, "c11", "c"), (cxx, "c++11", "c++"), (cxx, "c++17", "c++"))]


def check_compiles(path, report, compilers=tuple(COMPILERS)):
    rel = os.path.relpath(path, os.path.dirname(os.path.dirname(path)))
    for tool, std, lang in compilers:
        source = f'#include "{rel}"\n#include "{rel}"\nextern int vh_unit;\n'
        got = subprocess.run([tool, "-x", lang, f"-std={std}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                              "-I", os.path.dirname(os.path.dirname(path)), "-I", parse.INCLUDE, "-"],
                             input=source.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if got.returncode:
            report("compiles", f"{tool} -std={std}: {got.stdout.decode(errors='replace').strip().splitlines()[0]}")


def check(path, compilers=tuple(COMPILERS)):
    """[(rule, line, text)] of everything that is wrong with one header."""
    found = dialect.check(path)
    check_compiles(path, lambda rule, what: found.append((rule, 0, what)), compilers)
    return found


GOOD = '''#ifndef T_H
#define T_H
#include "vh/types.h"
VH_BEGIN_DECLS
#define VH_T_MOST 0x20u /* things */
/** struct vh_t - a thing. @frozen, 16 bytes. */
struct vh_t {
	uint64_t a;
	uint32_t b;
	uint32_t c;
};
/** struct vh_t_opts - options. Sized. */
struct vh_t_opts {
	uint32_t size;
	uint32_t n;
	char name[20];
	/**
	 * done() - it was done
	 * @ctx: as given
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*done)(void *ctx);
};
/**
 * vh_t_do() - do it
 * @t: the thing
 * @n: how often
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_t_do(struct vh_t *t, uint32_t n);
VH_END_DECLS
#endif
'''
# rule -> replacements in GOOD, each of which alone must make that rule fail
RED = {
    "types": (("uint32_t n);", "long n);"), ("uint32_t n);", "unsigned n);"), ("uint32_t n);", "_Bool n);"),
              ("uint32_t n;", "double n;"), ("uint32_t n);", "char n);"), ("vh_rc vh_t_do", "int vh_t_do")),
    "enum": (("VH_BEGIN_DECLS", "VH_BEGIN_DECLS\nenum vh_e { VH_E };"), ("uint32_t n);", "enum vh_e n);")),
    "union": (("uint32_t n;", "union { uint32_t n; uint32_t m; } u;"),),
    "bitfield": (("uint32_t n;", "uint32_t n : 4;"),),
    "by-value": (("struct vh_t *t,", "struct vh_t t,"), ("vh_rc vh_t_do", "struct vh_t vh_t_do")),
    "variadic": (("uint32_t n);", "uint32_t n, ...);"),),
    "inline": (("uint32_t n);", "uint32_t n) { (void)t; return (vh_rc)n; }"),
               ("VH_API vh_rc vh_t_do", "inline VH_API vh_rc vh_t_do")),
    "variable": (("VH_END_DECLS", "extern uint32_t vh_v;\nVH_END_DECLS"),),
    "array": (("struct vh_t *t,", "const uint8_t t[4],"),),
    "export": (("VH_API vh_rc", "vh_rc"),),
    "names": (("vh_t_do", "do_t"), ("VH_T_MOST", "T_MOST")),
    "constant": (("0x20u", "(1 << 5)"), ("0x20u", "VH_F_VERSION_1"), ("0x20u", "'a'"), ("VH_T_MOST 0x20u", "VH_T_MOST(n) 0x20u")),
    "words": (("@n: how often", "@n: (out) how often"), ("struct vh_t *t,", "uint64_t *t,")),
    "doc": (("/**\n * vh_t_do() - do it", "/*\n * vh_t_do() - do it"), ("vh_t_do() - do it", "vh_t_did() - do it")),
    "tags": tuple((f" * @{tag}: ", f" * {tag}: ") for tag in dialect.TAGS),
    "tag-values": (("@since: VH_1.0", "@since: VH_9.9"), ("@thread: any", "@thread: some"), ("@blocks: no", "@blocks: maybe"),
                   ("@errors: EINVAL", "@errors: if wrong")),
    "params": (("@n: how", "@m: how"), (" * @n: how often\n", ""), ("@n: how often", "@n: how often\n * @x: more")),
    "callback-doc": (("/**\n\t * done() - it", "/*\n\t * done() - it"), ("done() - it", "did() - it"),
                     ("void (*done)(void *ctx);", "void (*gap)(void *ctx);\n\tvoid (*done)(void *ctx);")),
    "struct-doc": (("/** struct vh_t - a", "/* struct vh_t - a"),),
    "struct-shape": (("@frozen, 16 bytes", "Whatever"), ("options. Sized.", "options."), ("uint32_t size;", "uint64_t size;")),
    "frozen-size": (("@frozen, 16 bytes", "@frozen, 24 bytes"), ("uint32_t c;", "uint64_t c;")),
    "frozen-pointer": (("uint64_t a;", "void *a;"),),
    "opts-fd": (("uint32_t n;", "int32_t kick_fd;"),),
    "include": (('#include "vh/types.h"', '#include "vh/types.h"\n#include <stdbool.h>'),),
    "compiles": (("uint32_t n);", "uint32_t class);"), ("uint32_t n;", "struct { uint32_t n; };"),
                 ("uint32_t c;", "uint32_t c;;"), ('#include "vh/types.h"', ""), ("#define T_H", "#define U_H")),
    "parses": (("uint32_t n);", "uint32_t n)"),),
}


def self_test():
    """Names of the rules that let their own red case through, and what GOOD is blamed for."""
    wrong, count = [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vh", "t.h")
        os.mkdir(os.path.dirname(path))

        def problems(text, compilers):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            return check(path, compilers)
        for rule, _, what in problems(GOOD, COMPILERS):
            wrong.append(f"self-test: a good header is refused by {rule}: {what}")
        for rule, changes in RED.items():
            for old, new in changes:
                if old not in GOOD:
                    wrong.append(f"self-test of {rule}: '{old}' is not in the good header")
                compilers = COMPILERS[:4] if rule == "compiles" else ()
                told = problems(GOOD.replace(old, new), compilers)
                found = {r for r, _, _ in told}
                count += 1
                if rule not in ("compiles", "parses") and not all(line for r, line, _ in told if r == rule):
                    wrong.append(f"self-test: rule {rule} does not say the line of {new!r}")
                if rule not in found:
                    wrong.append(f"self-test: rule {rule} let through: {new!r} (found: {sorted(found)})")
    return wrong, count


def main():
    wrong, reds = self_test()
    for path in parse.headers():
        wrong += [f"{os.path.relpath(path, parse.TOP)}:{line}: [{rule}] {what}" for rule, line, what in check(path)]
    for line in wrong:
        print(line)
    print(f"{len(parse.headers())} headers, {len(RED)} rules, {reds} red cases, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
