# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Sizes and offsets of the public structs on every architecture, evaluated by its compiler; nothing is run."""
import re
import subprocess

# The compilers of Debian; without a C library, which the headers do not need.
COMPILERS = {
    "x86_64": ("gcc", "-m64"),
    "i386": ("gcc", "-m32"),
    "aarch64": ("aarch64-linux-gnu-gcc",),
}


def program(structs):
    """@structs: [(name, [fields])]. Each answer is a line '->name number' in the assembly."""
    lines = ['#include "vh/vh.h"', "void vh_layout(void);", "void vh_layout(void)", "{"]

    def ask(name, value):
        lines.append(f'\t__asm__ volatile("\\n->{name} %c0" : : "i"({value}));')
    for struct, fields in structs:
        ask(f"{struct}:size", f"sizeof(struct {struct})")
        ask(f"{struct}:align", f"__alignof__(struct {struct})")
        for field in fields:
            ask(f"{struct}.{field}", f"__builtin_offsetof(struct {struct}, {field})")
    return "\n".join(lines + ["}", ""])


def layouts(structs, include, compilers=None):
    """{struct: {arch: {"size", "align", "offsets": {field: bytes}}}}"""
    source = program(structs)
    found = {name: {} for name, _ in structs}
    for arch, argv in (compilers or COMPILERS).items():
        got = subprocess.run([*argv, "-std=c11", "-ffreestanding", "-O0", "-I", include, "-x", "c", "-S", "-o", "-", "-"],
                             input=source.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if got.returncode:
            raise SystemExit(f"{argv[0]} for {arch}: {got.stderr.decode(errors='replace').strip()}")
        answers = dict(re.findall(r"^->(\S+) \$?(\d+)$", got.stdout.decode(), flags=re.M))
        for name, fields in structs:
            found[name][arch] = {
                "size": int(answers[f"{name}:size"]),
                "align": int(answers[f"{name}:align"]),
                "offsets": {field: int(answers[f"{name}.{field}"]) for field in fields},
            }
    return found
